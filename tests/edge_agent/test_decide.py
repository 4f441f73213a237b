"""Rules, choices, experiments, caps and fallbacks, one room at a time."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide import channel, experiment, fallback, moment
from edge_agent.decide.decision import decision_id
from edge_agent.decide.rules import Rules, Verdict
from edge_agent.decide.score import Scores, probabilities
from firmware_configs import profile as p

ITEMS = ("a", "b", "c", "d")
INDEX = {item: n for n, item in enumerate(ITEMS)}
REASON = "Because it is so."


def _rule(when: str, effect: str = "deny", value: float = 0.0) -> p.Rule:
    return p.Rule(name="r", when=when, effect=effect, value=value, reason=REASON)  # type: ignore[arg-type]


def _eligible(when: str, effect: str = "deny", **values: object) -> list[str]:
    given_values = {"fields": {"light": 5.0, "item": "b"}, "hour": 10, **values}
    verdict = Rules([_rule(when, effect)]).apply(ITEMS, INDEX, given_values)
    return [item for item, ok in zip(ITEMS, verdict.eligible, strict=True) if ok]


@pytest.mark.parametrize(
    ("when", "left"),
    [
        ("hour == 10", []),
        ("hour == 11", ["a", "b", "c", "d"]),
        ("item == 'a'", ["b", "c", "d"]),
        ("item == fields.item", ["a", "c", "d"]),
        ("fields.item == item", ["a", "c", "d"]),
        ("item != 'a'", ["a"]),
        ("item in ['a', 'd']", ["b", "c"]),
        ("hour == 10 && item == 'a'", ["b", "c", "d"]),
        ("hour == 11 && item == 'a'", ["a", "b", "c", "d"]),
        ("item == 'a' || item == 'b'", ["c", "d"]),
        ("item == 'a' && fields.light > 4.0 || item == 'c'", ["b", "d"]),
        ("item.startsWith('a') && hour > 9", ["b", "c", "d"]),
        ("item == 'a && b'", ["a", "b", "c", "d"]),
        ("(item == 'a') ? true : false", ["b", "c", "d"]),
        ("item in ['a'] && item != 'a'", ["a", "b", "c", "d"]),
    ],
)
def test_a_deny_rule_removes_exactly_the_candidates_for_which_it_is_true(when: str, left: list[str]) -> None:
    assert _eligible(when) == left


def test_allow_only_keeps_exactly_the_candidates_for_which_it_is_true() -> None:
    assert _eligible("item in ['a', 'b']", "allow-only") == ["a", "b"]


def test_a_rule_that_cannot_be_evaluated_fails_closed_and_says_so() -> None:
    assert _eligible("fields.missing > 1.0") == []
    assert _eligible("fields.missing > 1.0", "allow-only") == []
    verdict = Rules([_rule("fields.missing > 1.0")]).apply(ITEMS, INDEX, {"fields": {}})
    assert "could not be evaluated" in verdict.fired[0].reason
    boosted = Rules([_rule("fields.missing > 1.0", "boost", 2.0)]).apply(ITEMS, INDEX, {"fields": {}})
    assert boosted.boost.sum() == 0.0


def test_boosts_add_up() -> None:
    rules = Rules([_rule("item == 'a'", "boost", 1.0), _rule("true", "boost", 0.5)])
    assert rules.apply(ITEMS, INDEX, {}).boost.tolist() == [1.5, 0.5, 0.5, 0.5]


CONDITIONS = st.sampled_from(
    ["item == 'a'", "item != 'b'", "hour > 9", "hour > 12", "item in ['c', 'd']", "item > 'b'"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=4), st.integers(0, 23))
def test_looking_up_gives_what_evaluating_each_candidate_gives(parts: list[str], hour: int) -> None:
    from firmware_configs.expressions import compile_expression

    when = " && ".join(parts)
    whole = compile_expression(when)
    expected = [item for item in ITEMS if not whole.holds({"item": item, "hour": hour, "fields": {}})]
    assert _eligible(when, hour=hour) == expected


def test_candidate_scores_come_from_their_expression_or_the_first_model() -> None:
    candidates = [p.Candidate(item="on"), p.Candidate(item="off", score="1.0 - room_model")]
    scores = Scores(candidates, ["room-model"]).of({"room-model": np.array([0.75], np.float32)}, {"on": 0, "off": 1})
    assert scores.tolist() == [0.75, 0.25]


def test_logits_become_probabilities_in_the_same_order() -> None:
    logits = np.array([-100.0, -1.0, 0.0, 3.0, 1e9], np.float32)
    found = probabilities(logits, "rank")
    assert found[2] == pytest.approx(0.5)
    assert all(a <= b for a, b in pairwise(found))
    assert probabilities(np.array([-1.0, 0.3, 2.0], np.float32), "probability").tolist() == pytest.approx([0, 0.3, 1])


def test_decision_ids_depend_on_everything_that_can_change_the_decision() -> None:
    base = ("e", "place", "profile", {"m": "1"})
    ids = {
        decision_id(*base),
        decision_id("f", *base[1:]),
        decision_id("e", "other", *base[2:]),
        decision_id("e", "place", "profile2", {"m": "1"}),
        decision_id("e", "place", "profile", {"m": "2"}),
    }
    assert len(ids) == 5
    assert decision_id(*base) == decision_id(*base)


EXPERIMENT = p.Experiment(name="x", arms=(p.Arm(name="a"), p.Arm(name="b", weight=3.0)), share=0.5)


def test_assignment_is_stable_and_follows_weights_and_share() -> None:
    subjects = [f"u{n}" for n in range(8_000)]
    arms = [experiment.assign(EXPERIMENT, s, b"k") for s in subjects]
    assert arms == [experiment.assign(EXPERIMENT, s, b"k") for s in subjects]
    counts = Counter(arm.name if arm else "" for arm in arms)
    assert counts[""] / 8_000 == pytest.approx(0.5, abs=0.03)
    assert counts["b"] / (counts["a"] + counts["b"]) == pytest.approx(0.75, abs=0.03)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 20))
def test_a_cap_is_never_exceeded(waits: list[int], count: int, per_s: int) -> None:
    cap, now, history, made = p.Cap(count=count, per_s=float(per_s)), 0, list[int](), list[int]()
    for wait in waits:
        now += wait
        if channel.capped(history, [cap], now) is None:
            history = channel.remember(history, now)
            made.append(now)
    for start in made:
        assert sum(1 for t in made if start <= t < start + per_s * 1_000) <= count


@pytest.mark.parametrize(("hour", "is_quiet"), [(21, False), (22, True), (23, True), (0, True), (6, True), (7, False)])
def test_quiet_hours_reach_past_midnight(hour: int, is_quiet: bool) -> None:
    assert moment.quiet(p.QuietHours(start=22, end=7), hour) == is_quiet


def _verdict(eligible: list[bool], boost: list[float]) -> Verdict:
    return Verdict(np.array(eligible), np.array(boost, np.float32))


def test_the_fallback_ladder_goes_cached_rules_default_and_never_to_what_is_denied() -> None:
    plain = _verdict([True] * 4, [0.0, 0.0, 1.0, 0.0])
    assert fallback.step_down("b", (), ITEMS, INDEX, plain, "d") == ("b", "cached")
    assert fallback.step_down(None, (), ITEMS, INDEX, plain, "d") == ("c", "rules")
    assert fallback.step_down(None, (), ITEMS, INDEX, _verdict([True] * 4, [0.0] * 4), "d") == ("d", "default")
    denied = _verdict([True, False, False, False], [0.0, 0.0, 5.0, 0.0])
    assert fallback.step_down("b", ("b",), ITEMS, INDEX, denied, "d") == ("", "default")
    assert fallback.step_down(None, ("z", "a", "b"), ITEMS, INDEX, plain, "d") == ("a", "popular")
