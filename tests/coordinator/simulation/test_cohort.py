"""An experiment tried on people who do not exist: from ratings to a cohort, a bundle, a plan, and who took what."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from coordinator.cli import main as coordinator
from coordinator.errors import SimulationInconsistent
from coordinator.shell.simulation import report
from coordinator.shell.simulation.run import simulate
from coordinator.simulation.plan import EXAMPLE, Plan, load
from firmware_configs.virtual import Feedback
from models.cli import main as models
from models.cohort.sampling import write
from tests.models.cohort.town import town

EXPERIMENT = """
[placement.experiment]
name = "explore-or-not"
layer = "ranking"
window_s = 86400.0
arms = [{ name = "steady" }, { name = "random", policy = { kind = "epsilon-greedy", epsilon = 1.0 } }]
metric = [{ name = "reward" }]
"""
LAYER = '\n[[experiments.layer]]\nname = "ranking"\n'
AFTER = 'reward = [{ outcome = "click", value = 1.0 }, { outcome = "dismiss", value = 0.0 }]\n'
"""Of the profile's first placement."""
DEVICES, DAYS = 30, 7


def _call(command: Any, *words: str) -> Result:
    done = CliRunner().invoke(command, list(words))
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, the bundle that it taught, and a profile with an experiment."""
    folder = tmp_path_factory.mktemp("cohort")
    ratings = str(write(town(120), folder / "real")[0])
    _call(models, "cohort", "fit", "--ratings", ratings, "--topics", "4", "--out", str(folder / "people.cohort"))
    _call(models, "cohort", "sample", str(folder / "people.cohort"), "--people", "30", "--out", str(folder / "new"))
    drawn = str(folder / "new" / "ratings.csv")
    _call(models, "build", "affinity", "--ratings", drawn, "--epochs", "3", "--out", str(folder))
    text = Path(load(EXAMPLE).profile).read_text(encoding="utf-8")
    assert AFTER in text
    (folder / "profile.toml").write_text(text.replace(AFTER, AFTER + EXPERIMENT, 1) + LAYER, encoding="utf-8")
    return folder


def _plan(folder: Path, **changes: Any) -> Plan:
    """The example with the folder's profile, bundle and people."""
    plan = load(EXAMPLE)
    (bundle,) = folder.glob("affinity-*.edgeward")
    given: dict[str, Any] = {
        "profile": str(folder / "profile.toml"),
        "bundles": (str(bundle),),
        "cohort": str(folder / "new" / "ratings.csv"),
        "event": plan.event[:1],
        "drift": type(plan.drift)(),
        "rounds": None,
        "rollout": None,
    }
    return msgspec.structs.replace(plan, **(given | changes))


def test_an_experiment_on_a_cohort_ends_with_what_each_arm_was_worth(place: Path, tmp_path: Path) -> None:
    people = msgspec.structs.replace(load(EXAMPLE).people, consent=1.0)
    frank = Feedback(placement="next-pick", answered=1.0, liked=1.0, other=0.0)
    consenting = _plan(place, people=people, feedback=frank)
    done = simulate(consenting, DEVICES, DAYS, 7, tmp_path, count=1)
    found = done.result
    assert sorted(found.arms) == ["next-pick random", "next-pick steady"]
    assert sum(one["decisions"] for one in found.arms.values()) == found.totals["decisions"]
    assert sum(one["clicks"] for one in found.arms.values()) == found.totals["clicks"] > 0
    worth = {arm: one["clicks"] / one["answered"] for arm, one in found.arms.items()}
    assert worth["next-pick steady"] > worth["next-pick random"]
    rows = [line.split(",") for line in Path(consenting.cohort).read_text(encoding="utf-8").splitlines()[1:]]
    assert 0 < found.totals["events"] <= len(rows)
    assert any("a cohort's" in line for line in found.assumed)
    assert all(f"{arm}</td>" in report.page(found, done.cost) for arm in found.arms)


def test_the_same_cohort_gives_the_same_bytes_in_three_processes(place: Path, tmp_path: Path) -> None:
    for count in (1, 3):
        simulate(_plan(place), 4, 2, 7, tmp_path / str(count), count=count)
    one, three = ((tmp_path / n / "result.json").read_bytes() for n in ("1", "3"))
    assert one == three


def test_the_command_tells_arms_and_reads_a_path_beside_the_plan(place: Path) -> None:
    text = f"""
schema = 1
profile = "profile.toml"
bundles = ["{next(place.glob("affinity-*.edgeward")).name}"]
cohort = "new/ratings.csv"

[[event]]
source = "interaction"
per_day = 1.0
fields = {{ item = {{ kind = "taste" }} }}

[feedback]
placement = "next-pick"
answered = 1.0
"""
    (place / "simulation.toml").write_text(text, encoding="utf-8")
    words = ["--plan", str(place / "simulation.toml"), "--devices", "12", "--days", "4", "--processes", "1"]
    told = _call(coordinator, "simulate", *words, "--no-plots", "--out", str(place / "out")).output
    assert "arm next-pick steady: " in told
    assert "arm next-pick random: " in told
    result = json.loads((place / "out" / "result.json").read_text(encoding="utf-8"))
    assert len(result["contents"]["cohort"]) == 64


def test_a_cohort_that_does_not_fit_is_refused_with_what_to_do(place: Path, tmp_path: Path) -> None:
    strange = tmp_path / "ratings.csv"
    strange.write_text("user,item,rating,time\na,nowhere,5,0\n", encoding="utf-8")
    with pytest.raises(SimulationInconsistent, match=r"no item of .* is in a catalogue") as refused:
        simulate(_plan(place, cohort=str(strange)), 1, 1, 7, tmp_path, count=1)
    assert "edge-models build affinity" in refused.value.hint
    crowd = msgspec.structs.replace(load(EXAMPLE).people, count=2)
    with pytest.raises(SimulationInconsistent, match=r"people\.count: 2 people"):
        simulate(_plan(place, cohort=str(strange), people=crowd), 1, 1, 7, tmp_path, count=1)


def test_a_plan_says_what_contradicts_a_cohort(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for path in ("../../firmware_configs", "../../models"):
        text = text.replace(path, str((EXAMPLE.parent / path).resolve()))
    text = text.replace("schema = 1\n", 'schema = 1\ncohort = "ratings.csv"\n')
    text = text.replace('fields = { item = { kind = "taste" } }', "fields = {}")
    (tmp_path / "simulation.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SimulationInconsistent) as refused:
        load(tmp_path / "simulation.toml")
    assert "cohort: no event says what a person picks" in refused.value.what
    assert "drift.share: people of a cohort do not change their taste" in refused.value.what
