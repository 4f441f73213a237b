"""A simulation as pictures: who was there, what was decided and liked, rounds, bytes, versions, ε."""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from coordinator.errors import PlotFailed
from coordinator.shell.charts import BLUE, GREEN, GREY, ORANGE
from coordinator.simulation.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL = 7.8, 2.3
HEADROOM = 1.06
"""So that marks at the top are whole."""
DASHES = ("-", "--", ":", "-.")
COLOURS = (BLUE, ORANGE, GREEN, GREY)
MILLION = 1e6


def panels(found: Result) -> tuple[str, ...]:
    """What there is to draw, top down."""
    names = ["devices", "decisions"]
    names += ["taken"] if found.totals["answered"] else []
    names += ["loss", "reports", "answers"] if _accounted(found) else []
    names += ["bytes", "versions"]
    return (*names, "epsilon") if found.epsilon else tuple(names)


def png(found: Result) -> bytes:
    """All panels as one PNG.

    Raises:
        PlotFailed: matplotlib is not installed.
    """
    return _saved(found, panels(found), "png", dpi=120, metadata={"Software": None})


def svg(found: Result, name: str, told: str) -> str:
    """One panel as an `svg` element for a page.

    Args:
        told: what it shows, for those who do not see it.
    Raises:
        PlotFailed: matplotlib is not installed.
    """
    from html import escape

    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    text = _saved(found, (name,), "svg", metadata=empty).decode()
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1)


def _saved(found: Result, names: Sequence[str], kind: str, **more: Any) -> bytes:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise PlotFailed("a plot needs matplotlib", hint="pip install 'edgeward[coordinator]'") from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Ids in the file would differ from run to run, and from panel to panel of one page they must.
    settings: Any = {
        "svg.hashsalt": f"edgeward {' '.join(names)}",
        "svg.fonttype": "path",
        "font.size": 10,
        "text.parse_math": False,
    }
    with mpl.rc_context(settings), io.BytesIO() as held:
        figure = Figure(figsize=(WIDTH, 0.3 + PANEL * len(names)), layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, found, names)
        figure.savefig(held, format=kind, facecolor="white", **more)
        return held.getvalue()


def _fill(figure: "Figure", found: Result, names: Sequence[str]) -> None:
    draw: dict[str, Callable[[Axes, Result], None]] = {
        "devices": _devices,
        "decisions": _decisions,
        "taken": _taken,
        "loss": _loss,
        "reports": _reports,
        "answers": _answers,
        "bytes": _bytes,
        "versions": _versions,
        "epsilon": _epsilon,
    }
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        draw[name](axes, found)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(0.0, HEADROOM * (axes.get_ylim()[1] or 1.0))
        axes.set_xlim(0.0, float(len(found.online)))
        axes.set_xlabel("hours since the start")
        axes.margins(x=0.01)
        if len(axes.lines) > 1:
            place: Any = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderpad": 0.0}
            axes.legend(frameon=False, fontsize=9, ncols=min(4, len(axes.lines)), **place)


def _hourly(axes: "Axes", values: Sequence[float | None], place: int, label: str) -> None:
    x = [hour + 0.5 for hour in range(len(values))]
    y = [float("nan") if value is None else value for value in values]
    axes.plot(x, y, color=COLOURS[place % 4], linestyle=DASHES[place % 4], linewidth=1.6, label=label)


def _by_round(axes: "Axes", found: Result, values: Sequence[float], place: int, label: str) -> None:
    x = [one.hour for one in found.rounds]
    axes.plot(x, values, "os^D"[place % 4], color=COLOURS[place % 4], linestyle=DASHES[place % 4], label=label)


def _accounted(found: Result) -> bool:
    return any(one.row.state in {"accounted", "published"} for one in found.rounds)


def _devices(axes: "Axes", found: Result) -> None:
    _hourly(axes, found.online, 0, "online")
    axes.set_ylabel("devices online")


def _decisions(axes: "Axes", found: Result) -> None:
    _hourly(axes, found.hours["events"], 3, "events")
    _hourly(axes, found.hours["decisions"], 0, "decisions")
    if found.totals["dropped"]:
        _hourly(axes, found.hours["dropped"], 1, "dropped, no consent")
    axes.set_ylabel("in an hour")


def _taken(axes: "Axes", found: Result) -> None:
    _hourly(axes, found.share("clicks", "answered"), 0, "taken, of those answered")
    axes.set_ylabel("share taken")


def _loss(axes: "Axes", found: Result) -> None:
    _by_round(axes, found, [one.row.loss_before or float("nan") for one in found.rounds], 3, "before training")
    _by_round(axes, found, [one.row.loss_after or float("nan") for one in found.rounds], 0, "after training")
    axes.set_ylabel("loss (mean of devices)")


def _reports(axes: "Axes", found: Result) -> None:
    _by_round(axes, found, [one.row.asked for one in found.rounds], 3, "asked")
    _by_round(axes, found, [one.row.reports for one in found.rounds], 0, "reports used")
    _by_round(axes, found, [one.row.late for one in found.rounds], 1, "late")
    _by_round(axes, found, [one.dropped for one in found.rounds], 2, "dropped out")
    axes.set_ylabel("devices")


def _answers(axes: "Axes", found: Result) -> None:
    none = (float("nan"),) * 4
    _by_round(axes, found, [(one.answer_s or none)[1] for one in found.rounds], 0, "median")
    _by_round(axes, found, [(one.answer_s or none)[2] for one in found.rounds], 1, "90 of 100")
    axes.set_ylabel("seconds to answer")


def _bytes(axes: "Axes", found: Result) -> None:
    for place, (name, label) in enumerate(
        (
            ("bytes_decision", "decisions"),
            ("bytes_status", "status"),
            ("bytes_update", "updates"),
            ("bytes_fetched", "bundles, down"),
        )
    ):
        _hourly(axes, [value / MILLION for value in found.hours[name]], place, label)
    axes.set_ylabel("MB in an hour")


def _versions(axes: "Axes", found: Result) -> None:
    for place, (version, hours) in enumerate(found.versions.items()):
        _hourly(axes, hours, place, version)
    axes.set_ylabel("decisions by version")


def _epsilon(axes: "Axes", found: Result) -> None:
    hours = {str(one.row.number): one.hour for one in found.rounds}
    axes.plot([hours[n] for n in found.epsilon], list(found.epsilon.values()), "o-", color=BLUE, label="spent")
    axes.axhline(found.epsilon_max, color=ORANGE, linestyle="--", label="budget")
    axes.set_ylabel(f"ε (δ = {found.delta:g})")
