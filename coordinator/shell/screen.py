"""A run on a terminal: one table that is drawn again when something has changed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coordinator.progress import Standing, flat, loss_text, run_text, size, spent_text
from coordinator.rounds import Round

AROUND = 9
"""Lines of a screen that are not rounds."""
NARROW = 90
"""Columns below which refused and late reports, and bytes, are left out."""
COLOURS = {"published": "green", "failed": "red", "abandoned": "red", "cut off": "yellow", "open": "cyan"}


def picture(now: Standing, width: int, height: int, clock_ms: int) -> Group:
    """What is drawn.

    Args:
        width, height: of the terminal, in characters.
        clock_ms: unix ms.
    """
    shown = now.rounds[-max(1, height - AROUND) :]
    table = Table(box=None, pad_edge=False, header_style="bold")
    wide = width >= NARROW
    for name in _names(wide):
        table.add_column(name, justify="left" if name in {"state", "loss"} else "right", no_wrap=True)
    for row in shown:
        table.add_row(*_cells(row, wide))
    head = Text(run_text(now), style=COLOURS.get(now.state, ""))
    parts: list[Text | Table] = [head]
    if len(shown) < len(now.rounds):
        parts.append(Text(f"… {len(now.rounds) - len(shown):,} earlier rounds: edge-coordinator rounds show {now.key}"))
    parts.append(table if shown else Text("no round yet", style="dim"))
    failed = next((row.reason for row in reversed(shown) if row.reason), "")
    if failed and failed != now.failure:
        parts.append(Text(f"abandoned: {flat(failed)}", style="red"))
    parts.append(Text(_total(now, clock_ms)))
    if now.spent is not None:
        parts.append(Text(spent_text(now.spent), style="bold"))
    return Group(*parts)


@contextmanager
def live(console: Console) -> Iterator[Callable[[Standing], None]]:
    """What draws a run on a terminal; the last picture stays there."""
    with Live(console=console, auto_refresh=False) as screen:

        def draw(now: Standing) -> None:
            screen.update(picture(now, console.width, console.height, int(time.time() * 1_000)), refresh=True)

        yield draw


def _names(wide: bool) -> list[str]:
    names = ["round", "state", "reports", "refused", "late", "loss", "up", "down", "s"]
    return names if wide else [name for name in names if name not in {"refused", "late", "up", "down"}]


def _cells(row: Round, wide: bool) -> list[str | Text]:
    cells: dict[str, str | Text] = {
        "round": f"{row.number}.{row.attempt}" if row.attempt > 1 else str(row.number),
        "state": Text(row.state, style=COLOURS.get(row.state, "")),
        "reports": f"{row.reports}/{row.asked}",
        "refused": str(row.refused),
        "late": str(row.late),
        "loss": loss_text(row),
        "up": size(row.bytes_up),
        "down": size(row.bytes_down),
        "s": f"{row.seconds:.1f}" if row.seconds else "…",
    }
    return [cells[name] for name in _names(wide)]


def _total(now: Standing, clock_ms: int) -> str:
    done = sum(row.state in {"accounted", "published"} for row in now.rounds)
    of = f" of {now.wanted}" if now.wanted else ""
    up, down = sum(row.bytes_up for row in now.rounds), sum(row.bytes_down for row in now.rounds)
    since = "" if now.over or not now.started_ms else f"; {max(0, clock_ms - now.started_ms) / 1_000:,.0f} s"
    return f"{done}{of} rounds done; {size(up)} up, {size(down)} down{since}"
