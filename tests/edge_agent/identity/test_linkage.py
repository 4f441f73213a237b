"""Scores: what agreement weighs, what is learned, and that a chain of likely links is not enough."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.memory.identity import linkage
from edge_agent.memory.identity.linkage import DEFAULTS, Linkage, Tally, log_odds, probability
from edge_agent.memory.identity.persons import CERTAIN, Known, Link, persons
from edge_agent.memory.identity.sightings import Pair, Seen, couple
from firmware_configs.profile import Evidence

DAY_MS = 86_400_000
KINDS = [Evidence(name=kind, kind=kind, field="f" if kind in {"same-value", "habit"} else "") for kind in DEFAULTS]  # type: ignore[arg-type]
LEVELS = st.fixed_dictionaries({}, optional={kind: st.integers(0, 3) for kind in DEFAULTS})


def _linkage() -> Linkage:
    return Linkage(KINDS, 0.1, 30.0 * DAY_MS)


def test_by_hand_two_levels_weigh_their_likelihood_ratios() -> None:
    one = Evidence(name="one", kind="hand-over", edges=(0.5,), same=(0.2, 0.8), different=(0.9, 0.1))
    two = Evidence(name="two", kind="turns", edges=(0.5,), same=(0.4, 0.6), different=(0.5, 0.5))
    scored = Linkage([one, two], 0.1, DAY_MS)
    assert scored.odds({"one": 1, "two": 1}) == pytest.approx(math.log(0.1 / 0.9) + math.log(8) + math.log(1.2))
    assert scored.odds({}) == pytest.approx(log_odds(0.1))
    assert probability(scored.odds({"one": 1, "two": 1})) == pytest.approx(0.1 * 0.8 * 0.6 / (0.048 + 0.9 * 0.1 * 0.5))


@settings(max_examples=100, deadline=None)
@given(LEVELS, st.sampled_from(sorted(DEFAULTS)))
def test_more_agreement_never_speaks_against(levels: dict[str, int], name: str) -> None:
    scored = _linkage()
    odds = [scored.odds({**levels, name: level}) for level in range(4)]
    assert odds == sorted(odds)


TALLIES = st.dictionaries(
    st.tuples(*(st.integers(-1, 3) for _ in DEFAULTS)),
    st.builds(Tally, open=st.integers(0, 500), same=st.integers(0, 50), different=st.integers(0, 500)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(TALLIES)
def test_whatever_is_learned_are_probabilities_that_come_back_as_they_were(
    tallies: dict[tuple[int, ...], Tally],
) -> None:
    scored, again = _linkage(), _linkage()
    scored.learn(tallies)
    assert 0.0 < scored.prior < 1.0
    for chances in scored._now.values():
        for levels in (chances.same, chances.different):
            assert sum(levels) == pytest.approx(1.0)
            assert all(0.0 < level < 1.0 for level in levels)
    again.restore(scored.pack())
    assert again.pack() == scored.pack()
    other = _linkage()
    other.learn(dict(reversed(tallies.items())))
    assert other.pack() == scored.pack()


def test_learning_finds_what_was_there_when_there_is_much_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkage, "STRENGTH", 20.0)
    prng = Random(5)  # noqa: S311 - it makes data, it keeps no secret
    truth = {True: (0.05, 0.95), False: (0.8, 0.2)}
    kinds = [
        Evidence(name=n, kind="turns", edges=(0.5,), same=(0.3, 0.7), different=(0.6, 0.4)) for n in ("a", "b", "c")
    ]
    scored = Linkage(kinds, 0.5, DAY_MS)
    tallies: dict[tuple[int, ...], Tally] = {}
    for _ in range(5_000):
        same = prng.random() < 0.3
        pattern = tuple(int(prng.random() >= truth[same][0]) for _ in kinds)
        tallies.setdefault(pattern, Tally()).open += 1
    for _ in range(10):
        scored.learn(tallies)
    assert scored.prior == pytest.approx(0.3, abs=0.03)
    assert scored._now["a"].same[1] == pytest.approx(0.95, abs=0.03)
    assert scored._now["a"].different[1] == pytest.approx(0.2, abs=0.03)


def test_learned_figures_of_other_levels_than_today_are_not_taken_up() -> None:
    old = Linkage([Evidence(name="n", kind="turns", edges=(0.5,), same=(0.3, 0.7), different=(0.6, 0.4))], 0.2, DAY_MS)
    new = Linkage([Evidence(name="n", kind="turns")], 0.1, DAY_MS)
    before = new.weight("n", 3)
    new.restore(old.pack())
    assert new.weight("n", 3) == before
    assert new.prior == 0.2


def test_what_has_too_few_chances_is_not_compared() -> None:
    one, other = (Seen(first_ms=0, heard_ms=0, order=0, chances={"turns": n}) for n in (7.9, 100.0))
    scored = Linkage([Evidence(name="turns", kind="turns", least=8.0)], 0.1, DAY_MS)
    pair = Pair(order=0, since_ms=0, differed={"turns": 1.0})
    assert scored.rates(pair, one, other, 0) == {}
    one.chances["turns"] = 10.0
    assert scored.rates(pair, one, other, 0) == {"turns": pytest.approx(0.9)}


# ---- persons --------------------------------------------------------------------------------------------------


def _persons(odds: dict[tuple[str, str], float], *, apart: set[tuple[str, str]] = set()) -> list[tuple[str, ...]]:  # noqa: B006
    """Persons of subjects named by letters: pairs with odds of 3 or more are links."""
    subjects = sorted({subject for pair in odds for subject in pair})
    links = [
        Link(one=a, other=b, kind="likely", odds=n, since_ms=0, until_ms=0) for (a, b), n in odds.items() if n >= 3.0
    ]
    known = Known(
        first_ms={subject: n for n, subject in enumerate(subjects)},
        accounts={},
        apart=lambda pair: pair in apart,
        odds=odds,
        least=0.0,
    )
    return sorted({one.subjects for one in persons(links, known).values()})


def test_a_chain_joins_only_when_its_ends_are_likely_too() -> None:
    assert _persons({("a", "b"): 5.0, ("b", "c"): 4.0, ("a", "c"): 1.0}) == [("a", "b", "c")]
    assert _persons({("a", "b"): 5.0, ("b", "c"): 3.0, ("a", "c"): -9.0}) == [("a", "b")]


def test_who_is_as_likely_one_of_two_people_belongs_to_neither() -> None:
    two = {("a", "b"): 6.0, ("c", "d"): 6.0, ("a", "c"): -5.0, ("a", "d"): -5.0, ("b", "c"): -5.0, ("b", "d"): -5.0}
    tv = {("a", "tv"): 4.0, ("b", "tv"): 4.0, ("c", "tv"): 4.2, ("d", "tv"): 3.8}
    assert _persons({**two, **tv}) == [("a", "b"), ("c", "d")]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")).filter(lambda p: p[0] < p[1]),
        st.floats(-8.0, 8.0),
        max_size=15,
    ),
    st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")).filter(lambda p: p[0] < p[1]), max_size=4),
    st.randoms(use_true_random=False),
)
def test_nobody_is_in_two_persons_or_with_whom_something_keeps_them_apart(
    odds: dict[tuple[str, str], float], apart: set[tuple[str, str]], prng: Random
) -> None:
    found = _persons(odds, apart=apart)
    members = [subject for one in found for subject in one]
    assert len(members) == len(set(members))
    assert not any({a, b} <= set(one) for one in found for a, b in apart)
    shuffled = list(odds.items())
    prng.shuffle(shuffled)
    assert _persons(dict(shuffled), apart=apart) == found


def test_a_certain_link_counts_for_more_than_any_evidence() -> None:
    links = [
        Link(one="a", other="c", kind="login", odds=CERTAIN, since_ms=0, until_ms=0),
        Link(one="a", other="b", kind="likely", odds=9.0, since_ms=0, until_ms=0),
    ]
    odds = {couple("a", "b"): 9.0, couple("a", "c"): -9.0, couple("b", "c"): -9.5}
    known = Known(first_ms={"a": 2, "b": 1, "c": 0}, accounts={}, apart=lambda _: False, odds=odds, least=0.0)
    found = persons(links, known)
    assert found["a"].subjects == ("c", "a")
    assert found["a"].name == "c"
    assert "b" not in found
