"""The agent's vital signs, told at a socket in its folder: also when the disk is full or the broker is gone.

Nothing is written for it, so it wears out no flash. Whoever may enter the folder may ask; there is no personal data
in the answer.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Struct

from edge_agent import __version__
from edge_agent.errors import StoreUnavailable
from edge_agent.shell import measures
from edge_agent.shell.clock import monotonic_s
from edge_agent.shell.measures import Measures
from firmware_configs.histogram import Histogram

if TYPE_CHECKING:
    from edge_agent.shell.run import Loop

FILE = "agent.sock"
ANSWER_BYTES_MAX = 1_048_576
ASK_S = 1.0


class LineVitals(Struct, frozen=True, kw_only=True):
    """The line to the broker."""

    url: str
    state: str
    """down, dialling, greeting or up."""
    code: str = ""
    """Why there is none: error code, what is wrong, and the fix."""
    what: str = ""
    fix: str = ""


class StoreVitals(Struct, frozen=True, kw_only=True):
    """The database."""

    degraded: str = ""
    """Why nothing can be written at present; the agent goes on in memory. Empty: all is well."""
    backlog_bytes: int = 0
    """What waits in memory to be written."""
    overflowing: bool = False
    """The backlog is full: no more is read from the broker."""


class Vitals(Struct, frozen=True, kw_only=True):
    """How a running agent is."""

    agent: str
    device: str
    pid: int
    uptime_s: float
    profile: str
    profile_hash: str
    line: LineVitals
    store: StoreVitals
    learning: bool
    """A learner runs."""
    updating: bool
    """A bundle is being fetched."""
    memory_mib: float
    memory_mib_max: int
    """What the profile allows; more is reported, not enforced (systemd's MemoryMax enforces)."""
    written_bytes: int
    """Bytes that this process has had the system write to media since its start: wear."""
    written_bytes_per_1000_events: float
    signal_to_decision_ms: dict[str, Histogram]
    """Placement → from the signal's event time until the decision was handed to the socket, since the start."""
    arrival_to_decision_ms: dict[str, Histogram]
    """The same from the reading of the event."""
    watermarks_ms: dict[str, int]
    """Source → its watermark, unix ms: what comes later is late; 0: nothing came yet."""
    complete_to_ms: int
    """The combined watermark of the sources that are not idle, unix ms; 0: unknown."""
    counters: dict[str, int]
    measures: Measures
    """What else the agent measures of itself."""


class Porthole:
    """Listens at the socket; answers are sent by the run loop, one a visit."""

    file: ClassVar[str] = FILE

    def __init__(self, state_dir: Path) -> None:
        """Begin to listen; on a read-only medium there is nothing to listen at, and the agent goes on without.

        Raises:
            StoreUnavailable: another agent answers here.
        """
        if self.file == FILE and (other := ask(state_dir)) is not None:
            raise StoreUnavailable(
                f"{state_dir} is in use by another agent (process {other.pid})",
                hint="one agent a `state_dir`: stop the other one, or name another folder",
            )
        self._since_s = monotonic_s()
        self._path = state_dir / self.file
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._path.unlink(missing_ok=True)
            with short(state_dir, self.file) as path:
                self._socket.bind(path)
            self._path.chmod(0o660)
            self._socket.listen(4)
        except OSError:
            self._socket.close()
            self._socket = None

    @property
    def descriptor(self) -> int:
        """To wait on; -1 when nobody can ask."""
        return self._socket.fileno() if self._socket is not None else -1

    def answer(self, loop: "Loop") -> None:
        """Tell those who have asked, without waiting for anyone."""
        while self._socket is not None:
            try:
                asking, _ = self._socket.accept()
            except OSError:
                return
            with asking, contextlib.suppress(OSError):
                asking.setblocking(False)
                self.tell(asking, loop)

    def tell(self, asking: socket.socket, loop: "Loop") -> None:
        """One answer.

        Raises:
            OSError: whoever asked does not listen any more.
        """
        asking.sendall(msgspec.json.encode(of(loop, monotonic_s() - self._since_s)))

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()


def ask(state_dir: Path) -> Vitals | None:
    """How the agent of a folder is; None when none runs there, or it does not answer within a second."""
    heard = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line, short(state_dir, FILE) as path:
            line.settimeout(ASK_S)
            line.connect(path)
            while (data := line.recv(65_536)) and len(heard) < ANSWER_BYTES_MAX:
                heard += data
        return msgspec.json.decode(heard, type=Vitals)
    except (OSError, msgspec.MsgspecError):
        return None


def of(loop: "Loop", uptime_s: float) -> Vitals:
    """A running loop's vital signs."""
    link, store, profile, fault = loop.link, loop.store, loop.loaded.profile, loop.link.fault
    line = LineVitals(
        url=loop.settings.broker.url,
        state=link.state,
        code=fault.code if fault is not None else "",
        what=fault.what if fault is not None else "",
        fix=fault.hint if fault is not None else "",
    )
    signal, arrival = loop.lags.told()
    written, events = written_bytes(), loop.agent.counters.get("events", 0) - loop.events_before
    return Vitals(
        agent=__version__,
        device=loop.settings.device,
        pid=os.getpid(),
        uptime_s=round(uptime_s, 1),
        profile=f"{profile.name} {profile.version}",
        profile_hash=loop.loaded.hash,
        line=line,
        store=StoreVitals(degraded=store.degraded, backlog_bytes=store.backlog_bytes, overflowing=store.overflowing),
        learning=loop.errands.children.busy("learner"),
        updating=loop.errands.children.busy("updater"),
        memory_mib=resident_mib(),
        memory_mib_max=profile.device.memory_mib_max,
        written_bytes=written,
        written_bytes_per_1000_events=round(1_000 * written / events, 1) if events else 0.0,
        signal_to_decision_ms=signal,
        arrival_to_decision_ms=arrival,
        watermarks_ms={name: source.watermark.at_ms for name, source in loop.agent.sources.items()},
        complete_to_ms=loop.agent.combined.at(loop.now_ms()),
        counters=dict(loop.agent.counters),
        measures=measures.of(loop),
    )


@contextlib.contextmanager
def short(state_dir: Path, file: str) -> Iterator[str]:
    """A socket's path by way of the folder's descriptor: an address holds 107 bytes at most."""
    descriptor = os.open(state_dir, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{file}"
    finally:
        os.close(descriptor)


def resident_mib() -> float:
    """This process's resident memory, MiB; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def written_bytes() -> int:
    """Bytes that this process has had written to media; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    except (OSError, ValueError, StopIteration):
        return 0
