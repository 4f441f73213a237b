"""Real processes: started, watched, and stopped again whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class DemoFailed(Exception):
    """A step of the demo did not do what it should; `hint` says where to look."""

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def wait_until(what: str, ready: Callable[[], bool], *, seconds: float, hint: str) -> None:
    """Poll `ready` until it holds.

    Raises:
        DemoFailed: it did not hold within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what}: not after {seconds:.0f} s", hint=hint)
        time.sleep(0.05)


@dataclass
class Stack:
    """All child processes of one demo, with a log file each."""

    root: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process whose output goes to `logs/NAME.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [_script(command[0]), *command[1:]],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=_environment(),
            )

    def check(self) -> None:
        """Raise when a process that should run has ended."""
        for name, process in self.running.items():
            if (code := process.poll()) is not None:
                raise DemoFailed(f"{name} ended with exit code {code}", hint=f"read {self.logs / name}.log")

    def stop(self) -> list[str]:
        """Stop everything, newest first; returns the names of those that had to be killed."""
        killed = []
        for name, process in reversed(self.running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed.append(name)
        self.running.clear()
        return killed


def call(*command: str, seconds: float = 120) -> str:
    """Run one of our commands to its end and return what it printed.

    Raises:
        DemoFailed: exit code other than 0, or it took longer than `seconds`.
    """
    try:
        done = subprocess.run(
            [_script(command[0]), *command[1:]],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"`{' '.join(command)}` took longer than {seconds:.0f} s", hint="try it by hand") from None
    if done.returncode != 0:
        text = (done.stderr.strip() or done.stdout.strip())[-2_000:]
        raise DemoFailed(f"`{' '.join(command)}` exited with {done.returncode}:\n{text}", hint="try it by hand")
    return done.stdout


def call_json(*command: str, seconds: float = 120) -> Any:
    """`call` with `--json`, parsed."""
    return json.loads(call(*command, "--json", seconds=seconds))


def _script(name: str) -> str:
    """The console script beside this interpreter, so that no activated venv is needed."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }
