"""Who comes into which arm: stable, as declared, exclusive within a layer, independent across layers."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide.experiment import Assignment, assign, keyed
from firmware_configs import profile as p

PEOPLE = [f"u{n}" for n in range(6_000)]
KEY = b"k" * 32
NOBODY = p.Experiments()
ARMS = (p.Arm(name="a"), p.Arm(name="b", weight=3.0))


def _experiment(name: str = "x", **more: object) -> p.Experiment:
    return p.Experiment(**{"name": name, "arms": ARMS, **more})  # type: ignore[arg-type]


def _arms(experiment: p.Experiment, common: p.Experiments = NOBODY, key: bytes = KEY) -> dict[str, str]:
    one = Assignment(experiment, common, key)
    return {person: one.seat(person, 0).arm for person in PEOPLE}


def _is_plausible(counts: list[int], shares: list[float]) -> bool:
    """Pearson's chi-square at a level of 1e-6; quantiles for 1 to 4 degrees of freedom."""
    total = sum(counts)
    square = sum((n - total * s) ** 2 / (total * s) for n, s in zip(counts, shares, strict=True))
    return square < {1: 23.9, 2: 27.6, 3: 30.7, 4: 33.4}[len(counts) - 1]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.2, 5.0), min_size=2, max_size=5),
    st.floats(0.2, 1.0),
    st.text("abcdefgh", min_size=1, max_size=8),
)
def test_shares_are_as_declared_and_assignment_is_stable(weights: list[float], share: float, name: str) -> None:
    arms = tuple(p.Arm(name=f"arm-{n}", weight=weight) for n, weight in enumerate(weights))
    experiment = _experiment(name, arms=arms, share=share)
    first = _arms(experiment)
    assert first == _arms(experiment)
    counts = Counter(first.values())
    inside = [counts[arm.name] for arm in arms]
    assert _is_plausible(inside, [weight / sum(weights) for weight in weights])
    if share < 1.0:
        assert _is_plausible([sum(inside), counts[""]], [share, 1.0 - share])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.6), st.floats(0.05, 0.3), st.floats(0.0, 0.1))
def test_experiments_of_a_layer_never_meet_in_a_person(first: float, second: float, holdout: float) -> None:
    common = p.Experiments(layer=(p.Layer(name="l", holdout=holdout),))
    one = _arms(_experiment("one", layer="l", position=0.0, share=first), common)
    two = _arms(_experiment("two", layer="l", position=first, share=second), common)
    assert not any(one[person] and two[person] for person in PEOPLE)


def test_layers_are_independent_of_each_other() -> None:
    common = p.Experiments(layer=(p.Layer(name="l"), p.Layer(name="m")))
    one, two = _arms(_experiment("one", layer="l"), common), _arms(_experiment("two", layer="m"), common)
    pairs = Counter(zip(one.values(), two.values(), strict=True))
    shares = {"a": 0.25, "b": 0.75}
    cells = [(x, y) for x in shares for y in shares]
    assert _is_plausible([pairs[cell] for cell in cells], [shares[x] * shares[y] for x, y in cells])


def test_adding_an_arm_moves_nobody_between_the_others_and_nobody_elsewhere() -> None:
    common = p.Experiments(layer=(p.Layer(name="l"), p.Layer(name="m")))
    before, elsewhere = _arms(_experiment(layer="l"), common), _arms(_experiment("other", layer="m"), common)
    after = _arms(_experiment(layer="l", arms=(*ARMS, p.Arm(name="c"))), common)
    moved = {(before[person], after[person]) for person in PEOPLE if before[person] != after[person]}
    assert moved == {("a", "c"), ("b", "c")}
    assert elsewhere == _arms(_experiment("other", layer="m"), common)


def test_a_share_that_grows_takes_nobody_out() -> None:
    small, large = _arms(_experiment(share=0.3)), _arms(_experiment(share=0.6))
    assert all(large[person] == arm for person, arm in small.items() if arm)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_who_is_held_out_is_never_treated(everywhere: float, in_layer: float) -> None:
    common = p.Experiments(holdout=everywhere, layer=(p.Layer(name="l", holdout=in_layer),))
    one = Assignment(_experiment(layer="l", share=1.0 - in_layer), common, KEY)
    other = Assignment(_experiment("other"), common, KEY)
    seats = [one.seat(person, 0) for person in PEOPLE]
    held = [person for person, seat in zip(PEOPLE, seats, strict=True) if seat.left_out.startswith("held out of all")]
    assert _is_plausible([len(held), len(PEOPLE) - len(held)], [everywhere, 1.0 - everywhere])
    assert all(not other.seat(person, 0).arm for person in held)
    assert not any(seat.arm and seat.left_out for seat in seats)
    assert {bool(seat.arm) for seat in seats} == {True, False}


def test_moving_shares_moves_only_whom_it_must() -> None:
    one = Assignment(_experiment(arms=(*ARMS, p.Arm(name="c"))), NOBODY, KEY)
    before = {person: one.seat(person, 0) for person in PEOPLE}
    assert one.allocate(1, {"a": 0.0, "b": 0.6, "c": 0.4})
    after = {person: one.seat(person, 0) for person in PEOPLE}
    moved = {(before[x].arm, after[x].arm) for x in PEOPLE if before[x].arm != after[x].arm}
    assert moved <= {("a", "b"), ("a", "c"), ("b", "c")}, "c doubles, a ends, b keeps its share"
    assert {seat.arm for seat in after.values()} == {"b", "c"}
    assert {(seat.arm, seat.probability, seat.allocation) for seat in after.values()} == {("b", 0.6, 1), ("c", 0.4, 1)}
    counts = Counter(seat.arm for seat in after.values())
    assert _is_plausible([counts["b"], counts["c"]], [0.6, 0.4])


@pytest.mark.parametrize(
    ("number", "shares"),
    [(0, {"a": 0.5, "b": 0.5}), (1, {"a": 1.0}), (1, {"a": 0.5, "c": 0.5}), (1, {"a": 0.9, "b": 0.9})],
)
def test_shares_that_are_not_ours_change_nothing(number: int, shares: dict[str, float]) -> None:
    one = Assignment(_experiment(), NOBODY, KEY)
    assert not one.allocate(number, shares)
    assert (one.allocation, one.shares) == (0, (0.25, 0.75))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "z"]), st.floats(allow_nan=True, allow_infinity=True)), st.integers())
def test_whatever_the_coordinator_says_shares_stay_probabilities(shares: dict[str, float], number: int) -> None:
    one = Assignment(_experiment(), NOBODY, KEY)
    one.allocate(number, shares)
    assert math.isclose(sum(one.shares), 1.0, abs_tol=1e-4)
    assert one.seat("u1", 0).arm in {"a", "b"}


def test_the_devices_of_a_home_agree_and_homes_do_not() -> None:
    one, two = keyed(b"device one", "a secret of our home"), keyed(b"device two", "a secret of our home")
    other = keyed(b"device one", "a secret of another")
    assert _arms(_experiment(), key=one) == _arms(_experiment(), key=two)
    assert _arms(_experiment(), key=one) != _arms(_experiment(), key=other)
    assert keyed(b"device one", "") != keyed(b"device two", "")


def test_before_it_starts_and_after_it_ends_nobody_takes_part() -> None:
    one = Assignment(_experiment(starts="2026-12-01T00:00Z", ends="2026-12-02T00:00+00:00"), NOBODY, KEY)
    start = 1_796_083_200_000
    seats = [one.seat("u1", start + hours * 3_600_000) for hours in (-1, 0, 23, 24)]
    assert [bool(seat.arm) for seat in seats] == [False, True, True, False]
    assert (seats[0].left_out, seats[3].left_out) == ("x has not begun", "x is over")


def test_the_arm_of_a_person_can_be_asked_without_an_agent() -> None:
    arm = assign(_experiment(), "u1", KEY)
    assert arm is not None
    assert arm.name == _arms(_experiment())["u1"]
