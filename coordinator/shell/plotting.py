"""What is drawn of a run, taken from the database, and written as a PNG or as a page that stands by itself."""

import os
from pathlib import Path

from coordinator import progress
from coordinator.errors import PlotFailed
from coordinator.rounds import Round
from coordinator.shell import charts
from coordinator.shell.charts import Drawn
from coordinator.shell.store import Run, Store
from coordinator.shell.told import account_of, epsilon_by_round
from coordinator.shell.watching import chosen
from firmware_configs.report import pages
from firmware_configs.report.pages import Heading, Page, Paragraph, Table

SUFFIXES = (".png", ".html")
PICTURE = "@picture@"
EPSILONS = 24
"""Rounds at which ε is reckoned, evenly over the run; each takes a third of a second."""
STYLE = """
  .picture { max-width: 36rem; }
  .wide td, .wide th { white-space: nowrap; }
"""


def plot(home: Path, key: str, path: Path) -> tuple[Run, Drawn]:
    """Draw a run; the file is there whole or not at all.

    Args:
        key: of the run.
        path: ends in `.png` or `.html`.
    Raises:
        UnknownRun: there is none of this key.
        PlotFailed: another ending, no round yet, no matplotlib, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise PlotFailed(f"`{path.name}` ends in neither .png nor .html", hint="--out rounds.png or --out rounds.html")
    store = Store(home)
    run = store.run(chosen(home, key))
    if run is None:
        raise PlotFailed(f"run {key} is gone", hint="edge-coordinator rounds ls")
    attempts, rows = store.attempts(run.key), store.rounds(run.key)
    if not rows:
        raise PlotFailed(f"run {run.key} has no round yet", hint="wait for one: edge-coordinator watch")
    account = account_of(home, run)
    drawn = Drawn(
        title=f"{run.bundle} {run.version}{f' → {run.result}' if run.result else ''}\nrun {run.key}",
        rounds=tuple(rows),
        abandoned=tuple(sorted({row.number for row in attempts if row.state == "abandoned"})),
        epsilon=epsilon_by_round(home, run, EPSILONS),
        epsilon_max=account.budget.epsilon if account else 0.0,
        delta=account.budget.delta if account else 0.0,
    )
    content = charts.png(drawn) if path.suffix == ".png" else page(drawn, attempts).encode()
    _write(path, content)
    return run, drawn


def page(drawn: Drawn, attempts: list[Round]) -> str:
    """The picture and the same as a table, in one file without scripts and without anything that is fetched."""
    lacking, title = charts.missing(drawn), ", ".join(drawn.title.splitlines())
    told = f"Of {title}: {', '.join(charts.panels(drawn))} by round. The table below has every number."
    parts = (
        Paragraph(f"{_summary(drawn)}{f' Not drawn: {lacking}.' if lacking else ''}"),
        Paragraph(PICTURE),
        Heading("The same as a table"),
        Table(columns=_columns(drawn), rows=tuple(_cells(drawn, row) for row in attempts)),
    )
    text = pages.html(Page(title=title, parts=parts))
    figure = f'<figure class="picture">\n{charts.svg(drawn, told)}\n</figure>'
    return text.replace("</style>", f"{STYLE}</style>", 1).replace(f"<p>{PICTURE}</p>", figure, 1)


def _summary(drawn: Drawn) -> str:
    rows = drawn.rounds
    up, down = sum(row.bytes_up for row in rows), sum(row.bytes_down for row in rows)
    rounds = f"{len(rows):,} round{'s' if len(rows) > 1 else ''}"
    text = f"{rounds}, {sum(row.reports for row in rows):,} reports; "
    text += f"{progress.size(up)} up, {progress.size(down)} down."
    if drawn.epsilon:
        text += f" ε = {max(drawn.epsilon.values()):.3f} of {drawn.epsilon_max:g} at δ = {drawn.delta:g}."
    return text


def _columns(drawn: Drawn) -> tuple[str, ...]:
    names = ("round", "state", "asked", "reports", "refused", "late", "loss", "bytes up", "bytes down", "seconds")
    return (*names, *(("ε",) if drawn.epsilon else ()), "reason")


def _cells(drawn: Drawn, row: Round) -> tuple[str, ...]:
    newest = {one.number: one.attempt for one in drawn.rounds}
    number = f"{row.number}.{row.attempt}" if row.attempt > 1 else f"{row.number}"
    counts = [f"{count:,}" for count in (row.asked, row.reports, row.refused, row.late)]
    spent = drawn.epsilon.get(row.number) if row.attempt == newest.get(row.number) else None
    epsilon = (f"{spent:.3f}" if spent is not None else "–",) if drawn.epsilon else ()
    up, down = f"{row.bytes_up:,}", f"{row.bytes_down:,}"
    return (
        number,
        row.state,
        *counts,
        progress.loss_text(row),
        up,
        down,
        f"{row.seconds:.1f}",
        *epsilon,
        progress.flat(row.reason),
    )


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PlotFailed(
            f"{path} cannot be written: {error.strerror}", hint="choose another place for --out"
        ) from error
