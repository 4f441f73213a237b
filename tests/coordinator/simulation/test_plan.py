"""`simulation.toml`: what it may say, and what is said of a mistake in it."""

import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import SimulationError, SimulationInconsistent, SimulationMalformed, SimulationUnreadable
from coordinator.simulation.plan import EXAMPLE, Plan, example_text, json_schema, load, parse

TEXT = EXAMPLE.read_text()


def test_the_example_is_the_same_plan_wherever_it_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "simulation.toml"
    path.write_text(example_text(), encoding="utf-8")
    assert load(path) == load(EXAMPLE)
    assert "../" not in example_text()


def test_the_example_is_a_plan() -> None:
    plan = load(EXAMPLE)
    assert plan.rounds is not None
    assert Path(plan.profile).is_file()
    assert all(Path(path).is_file() for path in plan.bundles)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("drop_out = 0.1", "dropout = 0.1", "population.dropout: unknown key `dropout`"),
        ("drop_out = 0.1", "drop_out = 1.1", "population.drop_out: "),
        ('kind = "taste"', 'kind = "tast"', "event[0].fields[...].kind: invalid value 'tast'"),
        ("per_day = 12.0", 'per_day = "12"', "event[0].per_day: "),
        ("start = 2026-01-05", "start = 2026-13-05", "not TOML"),
        ("schema = 1", "schema = 2", "schema: "),
    ],
)
def test_a_mistake_is_named_with_its_place(old: str, new: str, said: str) -> None:
    with pytest.raises((SimulationMalformed, SimulationUnreadable)) as caught:
        parse(TEXT.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("share = 0.7", "share = 0.8", "line: the shares sum to 1.1"),
        ("hours = [10, 13, 16, 19]", "hours = [10, 9]", "rounds.hours: the hours do not rise"),
        ("version_every = 4", "version_every = 0", "rollout: no version is ever made"),
        ('source = "room"', 'source = "interaction"', "event[1].source: `interaction` stands there twice"),
        ('rule = "multi-krum"', 'rule = "krum"\n[privacy]\nepsilon_max = 8.0\nnoise_multiplier = 1.0\n[x]', ""),
        ('rule = "multi-krum"', 'strategy = "scaffold"', "rounds.strategy: `scaffold` keeps state on devices"),
        (
            "share_max = 0.02",
            "share_max = 0.02\n[rollout.guard.latency]\n",
            "rollout.guard.latency: calls take no time",
        ),
    ],
)
def test_parts_that_contradict_each_other_are_told_together(old: str, new: str, said: str) -> None:
    with pytest.raises(SimulationError) as caught:
        parse(TEXT.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('source = "room"', 'source = "rooms"', "event[1].source: the profile has no source `rooms`"),
        ("fields = { item =", "fields = { thing =", "event[0].fields.thing: `interaction` has no such field"),
        ('{ kind = "flag", share = 0.5 }', '{ kind = "normal" }', "event[1].fields.occupied: the profile says flag"),
        ('placement = "next-pick"', 'placement = "next"', "feedback.placement: the profile has no placement `next`"),
        ('bundle = "affinity"', 'bundle = "context"', "rounds.bundle: the profile does not federate `context`"),
    ],
)
def test_a_plan_that_does_not_fit_its_profile_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = TEXT.replace(old, new, 1).replace('"../../', f'"{EXAMPLE.parents[2]}/')
    path = tmp_path / "simulation.toml"
    path.write_text(text)
    with pytest.raises(SimulationInconsistent) as caught:
        load(path)
    assert said in str(caught.value)


LEAVES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value is not None)
KEYS = st.sampled_from([*Plan.__struct_fields__, "unknown"])


@given(KEYS, LEAVES)
def test_any_value_anywhere_is_a_plan_or_an_error_that_says_where(key: str, value: object) -> None:
    document = tomllib.loads(TEXT)
    document[key] = value
    try:
        text = tomli_w.dumps(document)
    except (TypeError, ValueError):
        return
    try:
        parse(text)
    except SimulationError as error:
        assert str(error)
        assert error.hint


def test_the_schema_names_every_part() -> None:
    assert set(Plan.__struct_fields__) <= set(json_schema()["$defs"]["Plan"]["properties"])  # type: ignore[index]
