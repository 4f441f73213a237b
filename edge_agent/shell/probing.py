"""The parent's side of the probe: starts it on one file, waits, and turns whatever comes of it into a verdict."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from edge_agent.errors import FrameMalformed, ProbeFailed
from edge_agent.shell.pipe import Ended, Frames, ProbeTask, frame

WALL_FACTOR = 1.5
"""Wall clock that a probe may take, in its CPU seconds: it waits for nothing but the processor and the disk."""
REASON_MAX = 500
"""Characters of a finding that are passed on; it may quote a stranger's file."""


def probed(task: ProbeTask) -> None:
    """Run the probe process on a file.

    Raises:
        ProbeFailed: it found something, crashed, took too much memory or too long, or could not be started.
    """
    path = Path(task.path)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.shell.probe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(frame(task), timeout=task.cpu_s * WALL_FACTOR)
    except subprocess.TimeoutExpired:
        raise ProbeFailed(
            f"{path.name}: the probe did not end in {task.cpu_s * WALL_FACTOR:.0f} s",
            hint="the graph hangs; do not deploy it",
        ) from None
    finally:
        _end(process)
    ended = _last_word(said)
    if ended is None:
        raise ProbeFailed(f"{path.name}: {_how(process.returncode, task)}", hint="do not deploy it")
    if ended.code:
        reason = " ".join(ended.reason.split())[:REASON_MAX]
        raise ProbeFailed(f"{path.name}: {reason}", hint="build or publish it again")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing of the probe stays, whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _last_word(said: bytes) -> Ended | None:
    try:
        words = Frames().feed(said)
    except FrameMalformed:
        return None
    return words[-1] if words and isinstance(words[-1], Ended) else None


def _how(code: int, task: ProbeTask) -> str:
    if -code == signal.SIGXCPU:
        return f"the probe took more than {task.cpu_s} s of processor time"
    return f"the probe crashed ({f'signal {signal.Signals(-code).name}' if code < 0 else f'exit {code}'})"
