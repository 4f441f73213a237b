"""Intervals hold the truth about as often as they say, over seeded repetitions."""

import msgspec
import numpy as np
import pytest

from models.offpolicy.confidence import Confidence, estimates, relative, resampled, standard_error, valued
from models.offpolicy.estimators import ips, on_policy, snips
from tests.models.offpolicy.world import lived, true_value

QUICK = Confidence(samples=300)
REPEATS = 300


def _covered() -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for seed in range(REPEATS):
        for name, found in estimates(lived(400, seed), None, QUICK).items():
            intervals = {"normal": found.normal, "bootstrap": found.bootstrap, "bernstein": found.bernstein}
            for kind, interval in intervals.items():
                if interval is not None:
                    held = interval.low <= true_value() <= interval.high
                    hits.setdefault(f"{name} {kind}", []).append(held)
    return {name: float(np.mean(held)) for name, held in hits.items()}


def test_intervals_hold_the_truth_at_about_their_level() -> None:
    covered = _covered()
    # 300 repetitions of a 95 % interval: three standard errors are 3.8 points.
    for name in ("ips", "snips", "dr"):
        assert 0.90 <= covered[f"{name} normal"] <= 0.99, covered
        assert 0.90 <= covered[f"{name} bootstrap"] <= 0.99, covered
    assert covered["ips bernstein"] == 1.0
    assert covered["dr bernstein"] == 1.0


def test_bernstein_narrows_with_the_log_and_is_the_widest() -> None:
    small, large = (estimates(lived(n, 1), None, QUICK)["ips"] for n in (200, 20_000))
    for found in (small, large):
        assert found.bernstein is not None
        assert found.bernstein.low < found.normal.low < found.value < found.normal.high < found.bernstein.high
    assert small.bernstein is not None
    assert large.bernstein is not None
    assert large.bernstein.high - large.bernstein.low < 0.1 * (small.bernstein.high - small.bernstein.low)


def test_the_delta_method_agrees_with_resampling() -> None:
    rounds = lived(2_000, 5)
    for terms in (ips(rounds), snips(rounds)):
        drawn = resampled([terms], None, Confidence(samples=2_000))[0]
        assert standard_error(terms, None) == pytest.approx(float(drawn.std()), rel=0.1)


def test_rounds_that_belong_together_are_not_counted_as_many() -> None:
    rounds = lived(200, 6)
    often = {name: np.tile(getattr(rounds, name), 10) for name in ("reward", "logged", "evaluated")}
    tenfold = msgspec.structs.replace(rounds, fitted=None, cluster=np.tile(np.arange(200), 10), **often)
    alone = standard_error(snips(rounds), None)
    assert standard_error(snips(tenfold), tenfold.cluster) == pytest.approx(alone)
    assert standard_error(snips(tenfold), None) < 0.4 * alone


def test_the_same_log_gives_the_same_interval() -> None:
    rounds = lived(300, 7)
    assert estimates(rounds, None, QUICK) == estimates(rounds, None, QUICK)
    assert estimates(rounds, None, QUICK) != estimates(rounds, None, Confidence(samples=300, seed=1))


def test_a_policy_is_worth_exactly_itself() -> None:
    rounds = lived(300, 8)
    ratio, interval = relative(on_policy(rounds), on_policy(rounds), None, QUICK)
    assert (ratio, interval.low, interval.high) == (1.0, 1.0, 1.0)


def test_a_single_round_has_a_value_and_no_certainty() -> None:
    rounds = lived(1, 9)
    found = valued(ips(rounds), None, QUICK, width=1.0)
    assert np.isnan(found.standard_error)
    assert found.bernstein is None
