"""The least that serves: within the stated loss, with everything that was tried, on what the device would keep."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.intake.minimise import Minimiser
from firmware_configs.cli import main
from firmware_configs.coarseness import Comparison, compare_transforms
from firmware_configs.lineage import derive
from firmware_configs.loader import load
from firmware_configs.minimising import Setting, ladder, search
from firmware_configs.profile import Bucket, Keep, Round, Source, SourceField, Transform
from firmware_configs.proposal import pinned
from models import datasets
from models.worth import changed
from models.zoo.context import FIELDS

ROOT = Path(__file__).parents[2]
HOME = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
NAMES = ("a", "b", "c", "d")


def _worth(weights: dict[str, float]) -> object:
    """A quality that adds up what each field is worth, less what its rounding takes, less what is forgotten."""

    def quality(setting: Setting) -> float:
        told = sum(
            weights[name] - (t.step * 0.01 if isinstance(t, Round) else 0.0) for name, t in setting.fields.items()
        )
        return told - 1.0 / setting.days

    return quality


@given(
    st.dictionaries(st.sampled_from(NAMES), st.floats(0.0, 3.0), min_size=1),
    st.floats(0.0, 4.0),
    st.sets(st.sampled_from(NAMES)),
)
def test_the_result_loses_no_more_than_it_may_and_keeps_what_is_pinned(
    weights: dict[str, float], loss: float, fixed: set[str]
) -> None:
    start = Setting(fields={name: Round(step=1.0) for name in weights}, days=30.0)
    values = {name: [float(n) for n in range(200)] for name in weights}
    quality = _worth(weights)
    found = search(start, quality, loss, pinned=sorted(fixed), values=values, days=(14.0, 7.0, 1.0))  # type: ignore[arg-type]
    assert quality(start) - quality(found.least) <= loss + 1e-9  # type: ignore[operator]
    assert fixed & set(weights) <= set(found.least.fields)
    assert all(found.least.fields[name] == start.fields[name] for name in fixed & set(weights))
    assert found.least.fields
    assert all(trial.loss <= loss + 1e-9 for trial in found.trials if trial.is_taken)


def test_what_is_worth_nothing_goes_first_and_the_rest_is_made_coarse() -> None:
    start = Setting(fields={"a": Round(step=1.0), "b": Round(step=1.0)}, days=30.0)
    values = {name: [float(n) for n in range(200)] for name in "ab"}
    found = search(start, _worth({"a": 5.0, "b": 0.0}), 0.3, values=values, days=(7.0, 1.0))  # type: ignore[arg-type]
    assert list(found.least.fields) == ["a"]
    assert compare_transforms(start.fields["a"], found.least.fields["a"]) != Comparison.SAME
    assert found.least.days == 7.0
    assert [trial.what for trial in found.trials][:2] == ["without a", "without b"]


@given(st.lists(st.floats(-1e4, 1e4), max_size=60), st.sampled_from([Keep(), Round(step=0.5), Round(step=20.0)]))
def test_the_ladder_holds_transforms_that_a_profile_may_have(values: list[float], start: Transform) -> None:
    for transform in ladder(start, sorted(values)):
        assert compare_transforms(start, transform) != Comparison.SAME
        if isinstance(transform, Bucket):
            assert list(transform.edges) == sorted(set(transform.edges))


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20),
    st.sampled_from(
        [Keep(), Round(step=0.5), Round(step=5.0), Bucket(edges=(0.0, 10.0, 100.0)), Bucket(edges=(-5.0, 5.0))]
    ),
)
def test_readings_are_measured_as_the_device_would_keep_them(values: list[float], transform: Transform) -> None:
    field = SourceField(name="x", category="user.sensor", purposes=("comfort",), transform=transform)
    device = Minimiser(Source(name="s", topic="t", field=(field,)), (), b"k" * 32)
    kept = []
    for value in values:
        event = device.minimise({"x": value}, "e", 0, "h", ())
        assert event is not None
        kept.append(event.fields["x"])
    assert np.allclose(changed(np.asarray(values, np.float32), transform), np.asarray(kept, np.float32), rtol=1e-6)


def test_fields_that_rules_and_examples_read_are_pinned() -> None:
    assert pinned(derive(load(HOME).profile), "context") == ["item", "occupied", "light"]


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth minute of the training days, with a head line."""
    path = tmp_path_factory.mktemp("readings") / "readings.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*FIELDS, "occupied"])
        for row in datasets.read_occupancy("training")[::4]:
            out.writerow([*(getattr(row, name) for name in FIELDS), int(row.occupied)])
    return path


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, ["minimise", str(HOME), *(str(word) for word in words)])


def test_the_home_gateway_needs_fewer_fields_and_the_proposal_loads(readings: Path, tmp_path: Path) -> None:
    out, evidence = tmp_path / "smaller.toml", tmp_path / "evidence.html"
    words = ("--data", readings, "--seeds", 1, "--row-s", 240, "--loss", 0.5, "--out", out, "--evidence", evidence)
    done = _run(*words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["fields_after"] < told["fields_before"] == 4
    assert "light" in told["least"]["fields"]
    assert all(trial["loss"] <= 0.5 for trial in told["trials"] if trial["is_taken"])
    smaller = load(out).profile
    kept = {field.name for source in smaller.source for field in source.field}
    assert kept == {"item", "occupied", *told["least"]["fields"]}
    assert smaller.version == "1.1.0"
    page = evidence.read_text()
    assert all(trial["what"] in page for trial in told["trials"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column `temperature`"),
        ("temperature,humidity,light,co2,occupied\n1,2,3,4,x\n", ":2: not a row of numbers"),
        ("temperature,humidity,light,co2,occupied\n1,2,3,inf,1\n", "not finite"),
        ("temperature,humidity,light,co2,occupied\n1,2,3,4,1\n", "has 1 rows"),
        ("", "no column"),
    ],
)
def test_rows_that_cannot_be_used_are_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    done = _run("--data", path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "fix:" in done.stderr


def test_a_model_that_the_profile_does_not_run_is_said(readings: Path) -> None:
    done = _run("--data", readings, "--model", "oracle")
    assert done.exit_code == 2
    assert "affinity, context" in done.stderr
