"""The differences of a comparison as a picture. Needs the [bench] extra."""

from pathlib import Path

from models.compare import Comparison
from models.errors import BuildUnavailable


def save_plot(found: Comparison, path: Path) -> None:
    """Each measure's difference with its interval, around the line of no difference.

    Args:
        path: PNG or SVG, by its suffix.
    Raises:
        BuildUnavailable: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise BuildUnavailable(
            "a plot needs matplotlib", hint="pip install 'edgeward[bench]' (devices never need it)"
        ) from error
    # Ids and dates in the file would differ from run to run.
    mpl.rcParams["svg.hashsalt"] = "edgeward"
    lines = found.lines[::-1]
    figure, axes = plt.subplots(figsize=(7.0, 1.2 + 0.5 * len(lines)), layout="constrained")
    for at, line in enumerate(lines):
        d = line.difference
        axes.plot([d.low, d.high], [at, at], color="C0" if line.better else "0.6", linewidth=2.0)
        axes.plot([d.value], [at], "o", color="C0" if line.better else "0.6")
    axes.axvline(0.0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(lines)), [line.measure for line in lines])
    axes.set_ylim(-0.5, len(lines) - 0.5)
    axes.set_xlabel(f"{found.costs[1].name} minus {found.costs[0].name}, 95 % interval, n = {found.n}")
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=150, metadata=metadata)
    plt.close(figure)
