"""`simulation.png`, and `simulation.html`: one page with every picture and every number, that fetches nothing."""

from pathlib import Path

from coordinator.errors import PlotFailed
from coordinator.shell.simulation import charts
from coordinator.simulation.devices import Cost
from coordinator.simulation.result import Result
from firmware_configs.report import pages
from firmware_configs.report.pages import Bullets, Heading, Page, Paragraph, Part, Table

PNG, HTML = "simulation.png", "simulation.html"
TITLES = {
    "devices": ("Who was there", "Devices online, by hour"),
    "decisions": ("What happened on devices", "Events and decisions in each hour"),
    "taken": ("How well it served", "Share of answered decisions that were taken, by hour"),
    "loss": ("What rounds learned", "Loss of the devices that took part, before and after training"),
    "reports": ("Who took part", "Devices asked, reports used, late and dropped out, by round"),
    "answers": ("How long answers took", "Seconds until the median and the 90th of 100 reports"),
    "bytes": ("What crossed the wire", "Megabytes in each hour, by kind"),
    "versions": ("Which version decided", "Decisions in each hour, by version of a bundle"),
    "epsilon": ("What privacy cost", "ε spent by round, and the budget"),
}
STYLE = """
  .picture { overflow-x: auto; } .picture svg { min-width: 36rem; }
  .wide td, .wide th { white-space: nowrap; }
"""


def write(found: Result, cost: Cost, folder: Path) -> list[Path]:
    """Draw a simulation; returns the files.

    Raises:
        PlotFailed: matplotlib is not installed, or a file cannot be written.
    """
    made = {PNG: charts.png(found), HTML: page(found, cost).encode()}
    try:
        for name, content in made.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise PlotFailed(f"{folder} cannot be written: {error.strerror}", hint="choose another --out") from error
    return [folder / name for name in made]


def page(found: Result, cost: Cost) -> str:
    """The page."""
    names = charts.panels(found)
    days = f"{found.days} day{'s' if found.days > 1 else ''}"
    title = f"{found.devices:,} virtual devices, {days}, seed {found.seed}"
    parts: list[Part] = [Paragraph(_summary(found)), Heading("What this rests on"), Bullets(found.assumed)]
    for name in names:
        parts += [Heading(TITLES[name][0]), Paragraph(_mark(name))]
    parts += _arms(found)
    parts += [Heading("Rounds"), _rounds(found), *_rollouts(found), Heading("By hour"), _hours(found)]
    parts += [Heading("What it took of the machine"), Paragraph(_cost(found, cost))]
    text = pages.html(Page(title=title, parts=tuple(parts))).replace("</style>", f"{STYLE}</style>", 1)
    for name in names:
        picture = charts.svg(found, name, f"{TITLES[name][1]}. The tables below have every number.")
        text = text.replace(f"<p>{_mark(name)}</p>", f'<figure class="picture" tabindex="0">\n{picture}\n</figure>', 1)
    return text


def _mark(name: str) -> str:
    return f"@{name}@"


def _summary(found: Result) -> str:
    total = found.totals
    accounted = [one for one in found.rounds if one.row.state in {"accounted", "published"}]
    text = f"{total['events']:,} events, {total['decisions']:,} decisions"
    text += f", {total['clicks']:,} of {total['answered']:,} answered ones taken" if total["answered"] else ""
    text += f". {len(accounted)} of {len(found.rounds)} rounds accounted"
    text += f"; ε = {max(found.epsilon.values()):.3f} of {found.epsilon_max:g}" if found.epsilon else ""
    return f"{text}. Nothing of a real fleet was touched."


def _arms(found: Result) -> list[Part]:
    if not found.arms:
        return []
    rows = []
    for arm, of in found.arms.items():
        share = f"{of['clicks'] / of['answered']:.1%}" if of["answered"] else "–"
        rows.append((arm, *(f"{of[what]:,}" for what in ("decisions", "answered", "clicks")), share))
    return [Heading("Arms"), Table(columns=("arm", "decisions", "answered", "taken", "share"), rows=tuple(rows))]


def _rounds(found: Result) -> Table:
    columns = (
        "round", "hour", "state", "online", "asked", "dropped out", "reports", "refused", "left out", "late",
        "loss before", "loss after", "median answer, s", "attackers asked", "attackers used", "bytes up", "bytes down",
        "why",
    )  # fmt: skip
    rows = []
    for one in found.rounds:
        row = one.row
        median = f"{one.answer_s[1]:.1f}" if one.answer_s else "–"
        why = row.reason or "; ".join(f"{name} {count}" for name, count in one.refusals.items())
        counts = (one.online, row.asked, one.dropped, row.reports, row.refused, one.left_out, row.late)
        rows.append(
            (
                f"{row.number}",
                f"{one.hour:g}",
                row.state,
                *(f"{count:,}" for count in counts),
                f"{row.loss_before:.4f}",
                f"{row.loss_after:.4f}",
                median,
                f"{one.attackers_asked}",
                f"{one.attackers_used}",
                f"{row.bytes_up:,}",
                f"{row.bytes_down:,}",
                why,
            )
        )
    return Table(columns=columns, rows=tuple(rows))


def _rollouts(found: Result) -> list[Part]:
    parts: list[Part] = []
    for one in found.rollouts:
        parts.append(Heading(f"Rollout of {one.bundle} {one.version}: {one.state}"))
        parts.append(Paragraph(f"{one.touched:,} devices were asked.{f' {one.reason}' if one.reason else ''}"))
        rows = tuple((f"{line.hour:g}", line.what, f"{line.devices:,}", line.why) for line in one.log)
        parts.append(Table(columns=("hour", "what", "devices", "why"), rows=rows))
    return parts


def _hours(found: Result) -> Table:
    names = [name for name, total in found.totals.items() if total]
    rows = tuple(
        (f"{hour}", f"{found.online[hour]:,}", *(f"{found.hours[name][hour]:,}" for name in names))
        for hour in range(len(found.online))
    )
    return Table(columns=("hour", "online", *(name.replace("_", " ") for name in names)), rows=rows)


def _cost(found: Result, cost: Cost) -> str:
    each = 1_000 * cost.cpu_s / (found.devices * found.days)
    processes = f"{cost.processes} process{'es' if cost.processes != 1 else ''}"
    return (
        f"Engine {cost.engine}, {processes}: {cost.wall_s:,.1f} s, {cost.cpu_s:,.1f} s of CPU, which is "
        f"{each:.1f} ms a device and day; {cost.agent_steps:,} agent steps; {cost.trained:,} clients trained in "
        f"{cost.train_cpu_s:.1f} s of CPU; {cost.rss_bytes / 2**20:,.0f} MiB resident at most."
    )
