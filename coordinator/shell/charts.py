"""A run's rounds as pictures: loss, participation, bytes and ε. Colours are told apart by those who see few of them.

Source of the colours: Okabe and Ito 2002, "Color Universal Design".
"""

import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from coordinator.errors import PlotFailed
from coordinator.rounds import Round

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5a5a5a"
WIDTH, PANEL = 3.9, 2.2
"""Inches. So wide, a picture on a phone has letters of 11 to 13 CSS pixels."""
MARKED_MAX = 60
"""Rounds up to which each is marked."""
SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Drawn(Struct, frozen=True, kw_only=True):
    """What is drawn of a run."""

    title: str
    rounds: tuple[Round, ...]
    """The newest attempt of each round."""
    abandoned: tuple[int, ...] = ()
    """Numbers of the rounds of which an attempt was abandoned."""
    epsilon: dict[int, float] = {}
    """Round → ε of the population once it was entered; empty: the run is not private."""
    epsilon_max: float = 0.0
    delta: float = 0.0


def panels(drawn: Drawn) -> tuple[str, ...]:
    """What there is to draw, top down."""
    found = ["loss"] if _with_loss(drawn) else []
    found += ["participation", "bytes"]
    return (*found, "epsilon") if drawn.epsilon else tuple(found)


def missing(drawn: Drawn) -> str:
    """What is not drawn, and why; empty: nothing."""
    there = panels(drawn)
    told = [] if "loss" in there else ["loss, because none was told (private rounds and secret sums collect none)"]
    told += [] if "epsilon" in there else ["ε, because no private round was entered"]
    return "; ".join(told)


def png(drawn: Drawn) -> bytes:
    """The panels as one PNG, 780 pixels wide.

    Raises:
        PlotFailed: matplotlib is not installed.
    """
    return _saved(drawn, "png", dpi=200, metadata={"Software": None})


def svg(drawn: Drawn, told: str) -> str:
    """The same as an `svg` element for a page, without anything that is fetched or run.

    Args:
        told: title and description of the picture, for those who do not see it.
    Raises:
        PlotFailed: matplotlib is not installed.
    """
    from html import escape

    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    text = _saved(drawn, "svg", metadata=empty).decode()
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    head = f'<svg role="img" aria-label="{escape(told)}"'
    return body.replace("<svg", head, 1)


def _saved(drawn: Drawn, kind: str, **more: Any) -> bytes:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise PlotFailed("a plot needs matplotlib", hint="pip install 'edgeward[coordinator]'") from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Ids in the file would differ from run to run.
    settings: Any = {"svg.hashsalt": "edgeward", "svg.fonttype": "path", "font.size": 10, "text.parse_math": False}
    with mpl.rc_context(settings), io.BytesIO() as held:
        figure = Figure(figsize=(WIDTH, 0.45 + PANEL * len(panels(drawn))), layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, drawn, titled=kind == "png")  # a page has a heading
        figure.savefig(held, format=kind, facecolor="white", **more)
        return held.getvalue()


def _fill(figure: "Figure", drawn: Drawn, *, titled: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    draw = {"loss": _loss, "participation": _participation, "bytes": _bytes, "epsilon": _epsilon}
    names = panels(drawn)
    if titled:
        figure.suptitle(drawn.title, fontsize=10.5)
    numbers = [row.number for row in drawn.rounds]
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        draw[name](axes, drawn)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
        axes.set_xlabel("round")
        if len(axes.lines) > 1:
            columns = min(3, len(axes.lines))
            place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderpad": 0.0}
            axes.legend(frameon=False, fontsize=9, ncols=columns, columnspacing=1.2, **place)


def _with_loss(drawn: Drawn) -> list[Round]:
    return [row for row in drawn.rounds if row.loss_before or row.loss_after]


def _line(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str, mark: str, **more: Any) -> None:
    y = [value if math.isfinite(value) else math.nan for value in y]
    marker = mark if len(x) <= MARKED_MAX else None
    axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.6, clip_on=False, **more)


def _loss(axes: "Axes", drawn: Drawn) -> None:
    rows = _with_loss(drawn)
    x = [row.number for row in rows]
    _line(axes, x, [row.loss_before for row in rows], GREY, "o", label="before training", linestyle="--")
    _line(axes, x, [row.loss_after for row in rows], BLUE, "s", label="after training")
    axes.set_ylabel("loss (mean of devices)")


def _participation(axes: "Axes", drawn: Drawn) -> None:
    rows = drawn.rounds
    x = [row.number for row in rows]
    _line(axes, x, [row.asked for row in rows], GREY, "o", label="asked", linestyle="--")
    _line(axes, x, [row.reports for row in rows], BLUE, "s", label="reports")
    if any(row.late for row in rows):
        _line(axes, x, [row.late for row in rows], ORANGE, "^", label="late", linestyle=":")
    if any(row.refused for row in rows):
        _line(axes, x, [row.refused for row in rows], GREEN, "D", label="refused", linestyle="-.")
    if drawn.abandoned:
        axes.plot(drawn.abandoned, [0.0] * len(drawn.abandoned), "x", color="black", label="abandoned", clip_on=False)
    axes.set_ylabel("devices")
    axes.set_ylim(bottom=0.0)
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _bytes(axes: "Axes", drawn: Drawn) -> None:
    rows = drawn.rounds
    x, most = [row.number for row in rows], max(max(row.bytes_up, row.bytes_down) for row in rows)
    scale, unit = next((pair for pair in SCALES if most >= pair[0]), (1.0, "B"))
    _line(axes, x, [row.bytes_up / scale for row in rows], BLUE, "s", label="up")
    _line(axes, x, [row.bytes_down / scale for row in rows], ORANGE, "^", label="down", linestyle="--")
    axes.set_ylabel(f"bytes a round ({unit})")
    axes.set_ylim(bottom=0.0)


def _epsilon(axes: "Axes", drawn: Drawn) -> None:
    x = sorted(drawn.epsilon)
    _line(axes, x, [drawn.epsilon[number] for number in x], BLUE, "s", label="spent")
    if drawn.epsilon_max:
        axes.axhline(drawn.epsilon_max, color=ORANGE, linewidth=1.6, linestyle="--", label="budget")
    axes.set_ylabel(f"ε (δ = {drawn.delta:g})")
    axes.set_ylim(bottom=0.0)
