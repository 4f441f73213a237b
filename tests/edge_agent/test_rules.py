"""Rules: the index says what evaluating every rule for every candidate would say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide.rules import Rules
from edge_agent.decide.touched import RULES_TOLD_MAX
from firmware_configs.cel.fragment import conjuncts, constants, reads
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression, tree_of
from firmware_configs.profile import Rule

ITEMS = ("a", "b", "c", "d", "1")
INDEX = {item: n for n, item in enumerate(ITEMS)}
REASON = "Because it is so."

NUMBERS = st.sampled_from(["0", "1", "1.0", "2", "2.5", "-1", "9007199254740993"])
CONSTANTS = st.one_of(NUMBERS, st.sampled_from(["'a'", "'b'", '"x y"', "true", "false", "null", r"'\u0061'", "1u"]))
READ = st.sampled_from(["fields.n", "fields.t", "fields.b", "fields.gone", "hour", "item", "session.events", "item"])
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
ATOMS = st.one_of(
    st.builds("{} {} {}".format, READ, SIGNS, CONSTANTS),
    st.builds("{} {} {}".format, CONSTANTS, SIGNS, READ),
    st.builds("{} {} {}".format, READ, SIGNS, READ),
    st.builds(lambda read, ones: f"{read} in [{', '.join(ones)}]", READ, st.lists(CONSTANTS, max_size=3)),
    st.builds("has({})".format, st.sampled_from(["fields.n", "fields.gone"])),
    READ,
    st.sampled_from(["true", "false", "item.startsWith('a')", "size(item) == 1", "fields.n + 1.0 > 2.0"]),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda below: st.one_of(
        st.builds("{} && {}".format, below, below),
        st.builds("({} || {})".format, below, below),
        st.builds("!({})".format, below),
        st.builds("({} ? {} : {})".format, below, below, below),
    ),
    max_leaves=6,
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 2.5, -1.0, 1e300, float("inf")]),
    st.sampled_from(["a", "b", "x y", ""]),
    st.booleans(),
)
EVENTS = st.fixed_dictionaries(
    {
        "fields": st.dictionaries(st.sampled_from(["n", "t", "b"]), VALUES, max_size=3),
        "hour": st.integers(0, 23),
        "session": st.just({"events": 1.0}),
    }
)
EFFECTS = st.sampled_from(["deny", "allow-only", "boost", "stop"])


def _rule(when: str, effect: str = "deny", value: float = 0.0, name: str = "r") -> Rule:
    return Rule(name=name, when=when, effect=effect, value=value, reason=REASON)  # type: ignore[arg-type]


def _alone(rule: Rule, item: str, event: dict[str, Any]) -> bool | None:
    """What the library says of one rule and one candidate."""
    try:
        value = compile_expression(rule.when).evaluate({**event, "item": item})
    except ExpressionError:
        return None
    return value if isinstance(value, bool) else None


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(CONDITIONS, EFFECTS), min_size=1, max_size=6), EVENTS)
def test_the_index_says_what_each_rule_says_of_each_candidate(
    written: list[tuple[str, str]], event: dict[str, Any]
) -> None:
    rules = [_rule(when, effect, 0.5 + n, f"r{n}") for n, (when, effect) in enumerate(written)]
    compiled = Rules(rules)
    for _hot in range(2):
        verdict = compiled.apply(ITEMS, INDEX, event)
        told = compiled.tell(ITEMS, INDEX, event)
        eligible, boost = [True] * len(ITEMS), np.zeros(len(ITEMS))
        for n, rule in enumerate(rules):
            for at, item in enumerate(ITEMS):
                alone = _alone(rule, item, event)
                assert (bool(told[n].true >> at & 1), bool(told[n].failed >> at & 1)) == (alone is True, alone is None)
                if rule.effect == "boost":
                    boost[at] += rule.value if alone is True else 0.0
                elif (alone is not True) if rule.effect == "allow-only" else (alone is not False):
                    eligible[at] = False
        assert verdict.eligible.tolist() == eligible
        # Values are halves: their sums are exact in any order.
        assert verdict.boost.tobytes() == boost.astype(np.float32).tobytes()
        assert verdict.boosted or not boost.any()


@settings(max_examples=200, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=4), EVENTS)
def test_a_stop_without_item_stops_when_it_is_true_or_fails(written: list[str], event: dict[str, Any]) -> None:
    rules = [_rule(when, "stop", name=f"r{n}") for n, when in enumerate(written)]
    about_the_event = [rule for rule in rules if "item" not in compile_expression(rule.when).names]
    stopped = Rules(rules).stopped(event)
    first = next((rule.name for rule in about_the_event if _alone(rule, "", event) is not False), None)
    assert (stopped.name if stopped else None) == first


def test_what_is_not_a_number_fails_closed() -> None:
    verdict = Rules([_rule("fields.n < 1.0")]).apply(ITEMS, INDEX, {"fields": {"n": float("nan")}})
    assert not verdict.eligible.any()
    assert "could not be evaluated" in verdict.fired[0].reason


def test_hours_past_midnight_and_lists_are_indexed() -> None:
    for when in ("hour < 6 || hour >= 22", "fields.t in ['a', 'b']", "!(has(fields.t))", "fields.b", "1.0 < fields.n"):
        (part,) = conjuncts(tree_of(when))
        read = reads(part)
        assert read is not None
        assert len(read) == 1


def test_a_trail_names_a_bounded_number_of_rules_and_counts_the_rest() -> None:
    rules = [_rule("hour >= 0", "boost", 0.001, f"r{n}") for n in range(RULES_TOLD_MAX + 36)]
    verdict = Rules(rules).apply(ITEMS, INDEX, {"hour": 3})
    assert (len(verdict.fired), verdict.untold) == (RULES_TOLD_MAX, 36)
    assert verdict.boost[0] == pytest.approx(0.1)


def test_all_constants_of_a_condition_are_found() -> None:
    assert sorted(constants(tree_of("fields.n > 1.0 || fields.n in [3, 5]"))) == [1.0, 3, 5]
