"""The live view: the newest decisions of every home while events flow."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firmware_configs.messages import DecisionMade

ROWS = 10


class View:
    """Shows decisions as they come; on something that is not a terminal, a line now and then instead."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._rows: deque[tuple[str, ...]] = deque(maxlen=ROWS)
        self._live: Live | None = None
        self.sent = self.decided = self.joined = 0

    @contextmanager
    def running(self) -> Iterator["View"]:
        """Redraw until the block ends."""
        if not self._console.is_terminal:
            yield self
            self._console.print(f"  {self._counts()}")
            return
        with Live(self._draw(), console=self._console, refresh_per_second=8) as live:
            self._live = live
            yield self
            live.update(self._draw())
        self._live = None

    def decision(self, device: str, made: DecisionMade, outcome: str) -> None:
        """One more decision; `outcome` is the feedback that was given, if any."""
        self.decided += 1
        bundles = " ".join(f"{name} {version}" for name, version in made.bundles.items())
        row = (device, made.placement, made.items[0] if made.items else "-", f"{made.score:.2f}")
        self._rows.append((*row, f"{made.propensity:.4f}", made.fallback or bundles, outcome))
        if self._live is not None:
            self._live.update(self._draw())
        elif self.decided % 250 == 1:
            self._console.print(f"  {self._counts()}; newest: {device} {made.placement} → {row[2]}")

    def _counts(self) -> str:
        return f"{self.sent}/{self._total} events, {self.decided} decisions, {self.joined} feedback"

    def _draw(self) -> Group:
        table = Table(expand=True)
        for heading in ("home", "placement", "decided", "score", "propensity", "by", "feedback"):
            table.add_column(heading, no_wrap=True)
        for row in self._rows:
            table.add_row(*row)
        return Group(Text(self._counts(), style="bold"), table)
