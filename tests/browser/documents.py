"""The documents that commands write as pages that stand by themselves: a profile for people, a run for engineers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from coordinator.cli import main as coordinator
from coordinator.simulation.plan import EXAMPLE
from firmware_configs.cli import main as audit
from tests.browser.screenshots import Shot, World
from tests.coordinator.written import PRIVATE, begin, row, spend

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
RUN = "20270115-080000-abcdef"


@contextmanager
def written(folder: Path) -> Iterator[str]:
    """The documents in a folder; the address is its own."""
    home = folder / "home"
    store = begin(home, RUN, PRIVATE)
    for number in (1, 2, 3):
        store.put_round(row(RUN, number, loss_before=0.0, loss_after=0.0))
    spend(home, RUN, [1, 2, 3])
    _run(coordinator, "rounds", "plot", RUN, "--out", str(folder / "rounds.html"), "--home", str(home))
    simulation = ("--plan", str(EXAMPLE), "--devices", "60", "--processes", "1")
    _run(coordinator, "simulate", *simulation, "--out", str(folder))
    _run(audit, "write", "notice", str(PROFILE), "--out", str(folder / "notice.html"))
    _run(audit, "lineage", str(PROFILE), "--format", "html", "--out", str(folder / "lineage.html"))
    yield f"file://{folder}"


def _run(command: "object", *words: str) -> None:
    done = CliRunner().invoke(command, words)  # type: ignore[arg-type]
    assert done.exit_code == 0, done.output


WORLD = World(
    start=written,
    shots=(
        Shot("rounds", "/rounds.html"),
        Shot("simulation", "/simulation.html"),
        Shot("notice", "/notice.html"),
        Shot("lineage", "/lineage.html"),
    ),
)
