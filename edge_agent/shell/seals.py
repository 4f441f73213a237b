"""The ledger's seals: made once a day by a child, kept as files beside the database, the newest told with status."""

from pathlib import Path

from edge_agent.errors import ChildError
from edge_agent.limits import DAY_MS
from edge_agent.shell.children import Children
from edge_agent.shell.pipe import SealTask
from edge_agent.shell.say import Tell

FOLDER = "seals"
CHILD_S = 120.0
AGAIN_S = 3_600.0
"""How soon a day that could not be sealed is tried again."""


class Seals:
    """Sends the sealer when a day (UTC) is over.

    Attributes:
        newest: the newest seal as its file holds it; empty: there is none.
    """

    def __init__(self, state_dir: Path, device: str, node_key: str, children: Children, say: Tell) -> None:
        self._folder = state_dir / FOLDER
        self._task = SealTask(device=device, state_dir=str(state_dir), node_key=node_key, now_ms=0)
        self._children, self._say = children, say
        self._due_day, self._due_s = 0, 0.0
        self.newest = b""
        self._read()

    def tend(self, now_ms: int, now_s: float) -> None:
        """Send the sealer, where there is a key and something to seal; take up what it has written.

        Args:
            now_ms: unix ms.
            now_s: monotonic seconds.
        """
        day = now_ms // DAY_MS
        if not self._task.node_key or day == self._due_day or now_s < self._due_s or self._children.busy("sealer"):
            return
        self._read()
        if self._is_sealed(day - 1):
            self._due_day = day
            return
        self._due_s = now_s + AGAIN_S
        task = SealTask(
            device=self._task.device, state_dir=self._task.state_dir, node_key=self._task.node_key, now_ms=now_ms
        )
        try:
            self._children.start("sealer", task, now_s + CHILD_S)
        except ChildError as error:
            self._say("warning", error.code, error.what)

    def ended(self, code: str, reason: str) -> None:
        """The sealer is done; code: why it could not."""
        if code:
            self._say("warning", code, f"the ledger's day was not sealed: {reason}")
        self._read()

    def _read(self) -> None:
        found = sorted(self._folder.glob("*.seal"))
        try:
            self.newest = found[-1].read_bytes() if found else b""
        except OSError as error:
            self._say("warning", "seals", f"{found[-1]}: {error.strerror}")

    def _is_sealed(self, day: int) -> bool:
        import datetime

        name = (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
        return (self._folder / f"{name}.seal").exists()
