"""Child processes (learner, updater, probe, sender, sealer): started, spoken with, watched, and ended when overdue."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from msgspec import Struct, field

from edge_agent.errors import ChildDied, ChildError, ChildOverdue, ChildTooLarge, FrameMalformed
from edge_agent.shell.clock import monotonic_s
from edge_agent.shell.pipe import (
    EgressAnswer,
    Ended,
    FetchTask,
    Frames,
    LearnTask,
    ProbeTask,
    SealTask,
    SendTask,
    ToChild,
    ToParent,
    frame,
)

if TYPE_CHECKING:
    import subprocess

Kind = Literal["learner", "updater", "probe", "sender", "sealer"]
Task = LearnTask | FetchTask | ProbeTask | SendTask | SealTask
READ_BYTES = 65_536
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LINE_MAX = 1_000
"""Characters of a child's stderr line that go to the log."""
OUTGOING_BYTES_MAX = 16 * 1024 * 1024


class Child(Struct):
    """One running child.

    Attributes:
        kind: which program.
        task: what it was started for.
        deadline_s: monotonic seconds at which it is killed.
        memory_mib: resident memory above which it is killed; 0: not looked at.
        ended: whether its last word has come.
    """

    kind: Kind
    task: Task
    process: "subprocess.Popen[bytes]"
    deadline_s: float
    memory_mib: int = 0
    frames: Frames = field(default_factory=Frames)
    outgoing: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    ended: bool = False
    fault: ChildError | None = None


class Children:
    """All children of the agent; at most one of each kind, so their number is bounded."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        """Args:
        say: takes (child's name, a line of its stderr).
        """
        self._say = say
        self.running: dict[Kind, Child] = {}
        """Those that live; they are started and buried here only."""

    def busy(self, kind: Kind) -> bool:
        """Whether a child of this kind runs."""
        return kind in self.running

    @property
    def watched(self) -> dict[int, bool]:
        """File descriptor → whether to wait for writing too (else for reading)."""
        found: dict[int, bool] = {}
        for child in self.running.values():
            for stream in (child.process.stdout, child.process.stderr):
                if stream is not None and not stream.closed:
                    found[stream.fileno()] = False
            if child.outgoing and child.process.stdin is not None and not child.process.stdin.closed:
                found[child.process.stdin.fileno()] = True
        return found

    def start(self, kind: Kind, task: Task, deadline_s: float, memory_mib: int = 0) -> None:
        """Start a child and hand it its task.

        Raises:
            ChildDied: the system does not start it.
        """
        import subprocess  # most agents never start a child in their first seconds

        try:
            process = subprocess.Popen(
                [sys.executable, "-m", f"edge_agent.shell.{kind}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Its own session: a Ctrl-C at the terminal is the agent's to pass on.
                start_new_session=True,
            )
        except OSError as error:
            raise ChildDied(f"{kind} was not started: {error}", hint="is there memory left?") from error
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
        child = Child(kind, task, process, deadline_s, memory_mib)
        self.running[kind] = child
        self._say_to(child, task)

    def answer(self, word: EgressAnswer) -> None:
        """Pass the ledger's answer to the learner; without one there is nobody to tell."""
        child = self.running.get("learner")
        if child is not None:
            self._say_to(child, word)

    def listen(self, now_s: float) -> list[tuple[Child, ToParent]]:
        """What children have said; for one that is gone, its `Ended` last, made up where it said none."""
        heard: list[tuple[Child, ToParent]] = []
        for child in list(self.running.values()):
            self._write(child)
            self._read_stderr(child)
            heard += [(child, word) for word in self._read_words(child)]
            if now_s >= child.deadline_s and child.fault is None:
                child.fault = ChildOverdue(f"{child.kind} did not end in time and was killed", hint=_OVERDUE)
                _kill(child)
            if child.memory_mib and child.fault is None and (used := _resident_mib(child)) > child.memory_mib:
                what = f"{child.kind} used {used:.0f} MiB, {child.memory_mib} are allowed, and was killed"
                child.fault = ChildTooLarge(what, hint=_TOO_LARGE)
                _kill(child)
            if child.process.poll() is not None:
                heard += [(child, word) for word in self._read_words(child)]
                self._bury(child)
                if not child.ended:
                    heard.append((child, _made_up(child)))
        return heard

    def stop(self, seconds: float) -> None:
        """End all: close their input, wait for all of them together, kill what is left."""
        if not self.running:
            return
        import subprocess

        for child in self.running.values():
            if child.process.stdin is not None:
                with contextlib.suppress(OSError):
                    child.process.stdin.close()
        deadline_s = monotonic_s() + seconds
        for child in self.running.values():
            try:
                child.process.wait(max(0.0, deadline_s - monotonic_s()))
            except subprocess.TimeoutExpired:
                _kill(child)
                child.process.wait()
        self.running.clear()

    def _say_to(self, child: Child, word: ToChild) -> None:
        child.outgoing += frame(word)
        if len(child.outgoing) > OUTGOING_BYTES_MAX:
            child.fault = ChildOverdue(f"{child.kind} does not listen and was killed", hint=_OVERDUE)
            _kill(child)
        self._write(child)

    def _write(self, child: Child) -> None:
        stdin = child.process.stdin
        if not child.outgoing or stdin is None or stdin.closed:
            return
        try:
            del child.outgoing[: os.write(stdin.fileno(), child.outgoing)]
        except BlockingIOError:
            return
        except OSError:
            child.outgoing.clear()  # it is gone: `listen` finds its exit code

    def _read_words(self, child: Child) -> list[ToParent]:
        words: list[ToParent] = []
        while data := _read(child.process.stdout):
            try:
                words += child.frames.feed(data)
            except FrameMalformed as error:
                child.fault = child.fault or error
                _kill(child)
                break
        said = [word for word in words if not child.ended]
        child.ended = child.ended or any(isinstance(word, Ended) for word in said)
        return said

    def _read_stderr(self, child: Child) -> None:
        while data := _read(child.process.stderr):
            child.stderr += data
            *lines, rest = child.stderr.split(b"\n")
            child.stderr = bytearray(rest[-LINE_MAX:])
            for line in lines:
                self._say(child.kind, line.decode(errors="replace")[:LINE_MAX].rstrip())

    def _bury(self, child: Child) -> None:
        self._read_stderr(child)
        for stream in (child.process.stdin, child.process.stdout, child.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        del self.running[child.kind]


_OVERDUE = "is the network slow, or the device too small for this? It is tried again when it is asked for again"


_TOO_LARGE = "raise memory_mib_max in the model's [model.check_in], or train with smaller batches"


def _resident_mib(child: Child) -> float:
    try:
        return int(Path(f"/proc/{child.process.pid}/statm").read_bytes().split()[1]) * PAGE_BYTES / 2**20
    except (OSError, IndexError, ValueError):
        return 0.0  # it is gone, or this system does not tell


def _made_up(child: Child) -> Ended:
    code = child.process.returncode
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    fault = child.fault or ChildDied(f"{child.kind} ended by {how} without a word", hint="read the log above")
    return Ended(code=fault.code, reason=fault.what)


def _read(stream: IO[bytes] | None) -> bytes:
    """What is there; empty when there is nothing now, or nothing more."""
    if stream is None or stream.closed:
        return b""
    try:
        return os.read(stream.fileno(), READ_BYTES)
    except BlockingIOError:
        return b""


def _kill(child: Child) -> None:
    # It leads its own session, so whatever it started goes with it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, signal.SIGKILL)
