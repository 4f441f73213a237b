"""The child of `edge-coordinator up` that carries rollouts on: there while there is one, and gone otherwise."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from coordinator.shell.leash import leashed
from coordinator.shell.rollout_store import RolloutStore

LOOK_S = 1.0
AGAIN_S = 5.0
"""Between two starts: a child that dies at once must not be started as fast as that."""
STOP_S = 5.0


class RolloutChild:
    """Starts `coordinator.shell.rollout_loop` when a rollout is open, and again when it dies."""

    def __init__(self, home: Path, broker: str, logs: Path) -> None:
        self._home, self._broker, self._logs = home.resolve(), broker, logs
        self._store = RolloutStore(self._home)
        self._process: subprocess.Popen[bytes] | None = None
        self._due_s = 0.0

    def tend(self) -> None:
        """Look whether it is needed; a failure of rollouts stops neither broker nor rounds."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + LOOK_S
        if self._process is not None and self._process.poll() is None:
            return
        self._process = None
        if self._store.busy():
            self._process = self._start()
            self._due_s = now_s + AGAIN_S

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "coordinator.shell.rollout_loop", str(self._home), self._broker]
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / "rollout.log").open("ab") as log:
            return subprocess.Popen(
                leashed(command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def stop(self) -> None:
        """Stop it; what it was about to do, the next one does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._store.close()
