"""Reports that count as they come."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import StrategyRefused
from coordinator.shell.choosing import asynchronous_of, strategy_of
from coordinator.shell.request import Request
from coordinator.strategies.asynchronous import Arrival, Staleness, buffered, read_staleness
from coordinator.strategies.combine import Occasion, combine
from coordinator.strategies.settings import chosen
from tests.coordinator.strategies.fleet import reports, start

OCCASION = Occasion(lr=0.1, rounds=4)
KINDS = st.sampled_from(["constant", "poly:0.5", "poly:0", "poly:2", "hinge:1,3", "hinge:0.2,0"]).map(read_staleness)


@given(KINDS, st.integers(0, 500), st.integers(0, 500))
def test_an_older_report_never_counts_for_more_and_a_fresh_one_counts_whole(kind: Staleness, a: int, b: int) -> None:
    young, old = kind.weight(min(a, b)), kind.weight(max(a, b))
    assert 0.0 < old <= young <= 1.0 == kind.weight(0)


def test_weights_are_those_of_the_papers() -> None:
    assert read_staleness("poly:0.5").weight(3) == 0.5
    assert read_staleness("hinge:2,4").weight(4) == 1.0
    assert read_staleness("hinge:2,4").weight(5) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["fedavg", "fedadam", "fedavgm", "adam", "fedprox", "fedrep"])
def test_a_buffer_of_fresh_reports_is_an_ordinary_round(name: str) -> None:
    shared, sent = start(1), reports(7, 1)
    fresh = [Arrival(report=one, age=0) for one in sent]
    ours, _ = buffered(chosen(name), shared, fresh, read_staleness("poly:0.5"), {}, OCCASION)
    round_, _ = combine(chosen(name), shared, sent, {}, OCCASION)
    for key in shared:
        np.testing.assert_allclose(ours[key], round_[key], rtol=0, atol=1e-6)


def test_an_old_report_moves_the_model_by_its_weight() -> None:
    shared, (one,) = start(2), reports(1, 2)
    moves = []
    for age in (0, 3):
        after, _ = buffered(
            chosen("fedavg"), shared, [Arrival(report=one, age=age)], read_staleness("poly:0.5"), {}, OCCASION
        )
        moves.append(float(sum(((after[k] - shared[k]) ** 2).sum() for k in shared)) ** 0.5)
    assert moves[1] == pytest.approx(0.5 * moves[0], rel=1e-4)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 99))
def test_the_order_of_arrival_within_a_buffer_makes_no_difference(order: object, seed: int) -> None:
    shared = start(seed)
    arrivals = [Arrival(report=one, age=n % 4) for n, one in enumerate(reports(8, seed))]
    mixed = list(arrivals)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (buffered(chosen("fedavg"), shared, some, Staleness(), {}, OCCASION)[0] for some in (arrivals, mixed))
    for key in shared:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=1e-6)


@given(st.text(max_size=12) | st.from_regex(r"(poly|hinge|constant):?[-0-9.,einfa]{0,8}", fullmatch=True))
def test_any_word_is_a_staleness_or_refused(word: str) -> None:
    try:
        kind = read_staleness(word)
    except StrategyRefused as error:
        assert error.hint
        return
    assert 0.0 < kind.weight(7) <= 1.0


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"secret_sum": True}, "online together"),
        ({"epsilon_max": 8.0}, "account would be wrong"),
        ({"rule": "median"}, "honest reason"),
        ({"strategy": "krum"}, "same parameters"),
        ({"strategy": "scaffold"}, "same parameters"),
        ({"strategy": "ifca"}, "same parameters"),
        ({"staleness": "poly"}, "no staleness"),
    ],
)
def test_what_needs_a_common_round_is_refused_with_the_reason(other: dict[str, object], why: str) -> None:
    with pytest.raises(StrategyRefused, match=why):
        strategy_of(msgspec.convert({"bundle": "context", "asynchronous": True, **other}, Request))


def test_a_buffer_that_can_never_fill_is_refused() -> None:
    asked = Request(bundle="context", asynchronous=True, buffer=5)
    with pytest.raises(StrategyRefused, match="never fills"):
        asynchronous_of(asked, 4)
    made = asynchronous_of(asked, 5)
    assert made is not None
    assert made.buffer == 5
