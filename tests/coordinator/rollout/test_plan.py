"""A plan says what is wrong with it, where, and what to write instead; nothing crashes its reader."""

import json

import msgspec
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import PlanInconsistent, PlanMalformed, PlanUnreadable, RolloutError
from coordinator.rollout.plan import Plan, json_schema, parse
from tests.coordinator.rollout.plans import TEXT, plan


def test_a_plan_is_read() -> None:
    made = plan()
    assert made.cohort[0].share == 0.25
    assert made.guard.latency is not None
    assert made.guard.drift is None
    assert made.statistical == ("errors", "latency", "reward")
    assert made.alpha_each == pytest.approx(0.01 / 3)


@pytest.mark.parametrize(
    ("wrong", "where", "fix"),
    [
        (TEXT.replace("soak_s = 60.0\ndec", "soak = 60.0\ndec"), "cohort[0].soak", "did you mean `soak_s`?"),
        (TEXT.replace("ratio_max", "ratio_mx"), "guard.latency.ratio_mx", "did you mean `ratio_max`?"),
        (TEXT.replace("[guard.errors]", "[guard.error]"), "guard.error", "did you mean `errors`?"),
        (TEXT.replace("share = 0.25", "share = 1.5"), "cohort[0].share", "write a value of the expected kind"),
        (TEXT.replace('bundle = "context"\n', ""), "bundle: required and missing", "add `bundle"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place_and_the_fix(wrong: str, where: str, fix: str) -> None:
    with pytest.raises(PlanMalformed) as caught:
        parse(wrong, "rollout.toml")
    assert where in caught.value.what
    assert fix in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": '"one"'}, "no version"),
        ({"start": '"full"'}, "guard.latency: a version that starts in full"),
        ({"silent_after_s": "15.0"}, "allow two reports at least"),
        ({"share": "0.0"}, "cohort[0]: it names nobody"),
        ({"name": '"everyone"'}, "`everyone` stands there twice"),
    ],
)
def test_parts_that_contradict_each_other_are_told_together(changes: dict[str, str], said: str) -> None:
    with pytest.raises(PlanInconsistent) as caught:
        plan(**changes)
    assert said in str(caught.value)


def test_shares_must_rise() -> None:
    with pytest.raises(PlanInconsistent, match="let shares rise"):
        parse(TEXT.replace("share = 1.0", "share = 0.25"))


def test_drift_needs_a_version_that_scores_beside_the_old_one() -> None:
    drift = TEXT + "[guard.drift]\nagreement_min = 0.9\n"
    with pytest.raises(PlanInconsistent, match=r"guard\.drift"):
        parse(drift)
    assert parse(drift.replace('"canary"', '"shadow"')).guard.drift is not None


def test_limits_of_a_load_must_rise() -> None:
    twice = "[[guard.latency.load]]\nabove = 5.0\nratio_max = 2.0\n" * 2
    with pytest.raises(PlanInconsistent, match=r"guard\.latency\.load"):
        parse(TEXT.replace("[guard.reward]", twice + "[guard.reward]"))


def test_what_is_not_toml_is_told_with_its_line() -> None:
    with pytest.raises(PlanUnreadable, match="line 2"):
        parse("schema = 1\nbundle = \n")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(["schema", "bundle", "version", "start", "cohort", "guard", "alpha", "at_risk_max", "share"])


@given(st.dictionaries(_KEYS, _VALUES, max_size=6), st.text(max_size=60))
@settings(max_examples=50, deadline=None)
def test_whatever_stands_there_a_plan_is_read_or_refused(document: dict[str, object], noise: str) -> None:
    bare = msgspec.to_builtins(plan())
    for text in (noise, TEXT + noise, _toml(document), _toml({**bare, **document})):
        try:
            assert isinstance(parse(text), Plan)
        except RolloutError as error:
            assert error.hint


def _toml(document: dict[str, object]) -> str:
    try:
        return tomli_w.dumps(document)
    except (TypeError, ValueError):
        return ""


@given(st.floats(0.001, 0.5), st.integers(1, 10_000), st.floats(1.0, 900.0))
@settings(max_examples=15)
def test_what_a_plan_says_survives_being_written_and_read_again(alpha: float, most: int, every: float) -> None:
    made = plan(alpha=str(alpha), at_risk_max=str(most)) if "alpha = " in TEXT else plan(at_risk_max=str(most))
    again = parse(_toml(_without_none(msgspec.to_builtins(made))))
    assert again == made


def _without_none(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list | tuple) else value


def test_the_schema_names_every_key_of_the_plan() -> None:
    text = json.dumps(json_schema())
    assert all(f'"{key}"' in text for key in ("at_risk_max", "silent_after_s", "agreement_min", "gap_max", "soak_s"))
