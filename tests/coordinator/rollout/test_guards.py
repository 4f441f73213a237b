"""Guards: chance alone seldom sets one off however often one looks, and what is wrong does soon."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.rollout import guards
from coordinator.rollout.guards import band_of, devices, quantile_bounds, statistical
from coordinator.rollout.plan import Plan, parse
from coordinator.rollout.pools import Band, Earned, Pair, Pools, Served, since, with_more
from coordinator.rollout.state import Finding, Member
from firmware_configs.histogram import bucket_of, quantile
from firmware_configs.messages import Sums, Tally
from models.experiments import sequences
from tests.coordinator.rollout.plans import TEXT, plan, tally

LOOSE = plan(drop_max="0.0")


def breached(made: Plan, pools: Pools) -> list[str]:
    return [finding.guard for finding in statistical(made, pools) if finding.breached]


def lives(dice: np.random.Generator, looks: int, *, slow: float = 1.0, worse: float = 0.0, errors: float = 0.0) -> str:
    """Which guard is set off by a version that is so much slower and worse, looking after every 10 decisions."""
    pools = Pools()
    for _ in range(looks):
        new = drawn(dice, 10, 3.0 * slow, 0.5 - worse, errors)
        pools = with_more(pools, Sums(new=new, old=drawn(dice, 10, 3.0, 0.5, 0.0)), 0, ())
        if found := breached(LOOSE, pools):
            return found[0]
    return ""


def drawn(dice: np.random.Generator, count: int, ms: float, reward: float, errors: float) -> Tally:
    rewards = dice.random(count) < reward
    calls: dict[int, int] = {}
    for took in dice.lognormal(math.log(ms), 0.5, count):
        calls[bucket_of(float(took))] = calls.get(bucket_of(float(took)), 0) + 1
    earned = float(rewards.sum())
    failed = int((dice.random(count) < errors).sum())
    return Tally(decisions=count, errors=failed, calls=calls, rewards=count, reward=earned, squares=earned)


def test_a_version_that_is_as_good_seldom_sets_a_guard_off_however_often_one_looks() -> None:
    """`drop_max = 0`: at most 1 % (alpha) is claimed."""
    dice = np.random.default_rng(1)
    assert [lives(dice, 30) for _ in range(15)] == [""] * 15


@pytest.mark.parametrize(
    ("wrong", "guard"), [({"slow": 3.0}, "latency"), ({"worse": 0.4}, "reward"), ({"errors": 0.3}, "errors")]
)
def test_what_is_wrong_sets_its_guard_off(wrong: dict[str, float], guard: str) -> None:
    assert lives(np.random.default_rng(2), 40, **wrong) == guard


def test_a_quantile_lies_within_its_bounds_at_every_look() -> None:
    dice, missed = np.random.default_rng(3), 0
    for _ in range(30):
        calls: dict[int, int] = {}
        for _ in range(20):
            for took in dice.lognormal(1.0, 0.6, 10):
                calls[bucket_of(float(took))] = calls.get(bucket_of(float(took)), 0) + 1
            low, high = quantile_bounds(calls, 0.5, 0.01)
            missed += not low < math.e <= high
    assert missed == 0


@given(st.dictionaries(st.integers(0, 148), st.integers(1, 1_000), min_size=1, max_size=8), st.floats(0.5, 0.99))
@settings(max_examples=40, deadline=None)
def test_bounds_of_a_quantile_hold_the_one_that_was_seen(calls: dict[int, int], share: float) -> None:
    low, high = quantile_bounds(calls, share, 0.01)
    assert low <= quantile(calls, share) <= high


def test_limits_of_latency_and_errors_rise_with_the_load_as_the_plan_says() -> None:
    more = "[[guard.latency.load]]\nabove = 5.0\nratio_max = 4.0\n"
    made = parse(TEXT.replace("[guard.reward]", more + "[guard.reward]"))
    assert [band_of(made, load) for load in (0.0, 5.0, 5.1)] == [0, 0, 1]
    slow = Band(new=Served(decisions=400, calls={26: 400}), old=Served(decisions=400, calls={20: 400}))
    assert breached(made, Pools(bands={0: slow})) == ["latency"]
    assert breached(made, Pools(bands={1: slow})) == []


@given(st.integers(1, 500), st.floats(0.0, 1.0), st.floats(0.05, 0.95))
@settings(max_examples=60, deadline=None)
def test_a_limit_is_refuted_where_the_bounds_of_the_mean_leave_it_out(people: int, part: float, mean: float) -> None:
    hits = np.array([float(round(part * people))])
    low, high = sequences._tilted(np.array([float(people)]), hits, 0.01)
    if min(abs(mean - low[0]), abs(mean - high[0])) > 1e-6:
        assert guards._below(people, hits, mean, 0.01)[0] == (mean > high[0])
        assert guards._above(people, hits, mean, 0.01)[0] == (mean < low[0])


def test_what_is_quick_enough_is_never_too_slow() -> None:
    slow = Band(new=Served(calls={12: 900}), old=Served(calls={2: 900}))  # 0.5 ms against 0.09
    assert breached(plan(), Pools(bands={0: slow})) == []


def test_a_gap_between_groups_is_found_where_the_mean_of_all_is_fine() -> None:
    more = '[guard.subgroup]\ngap_max = 0.1\ngroups = { a = ["device-0"], b = ["device-1"] }\n'
    made = parse(TEXT + more)
    up, down = earned(0.7), earned(0.3)
    pools = Pools(groups={"a": Pair(new=up, old=earned(0.5)), "b": Pair(new=down, old=earned(0.5))})
    assert breached(made, pools) == ["subgroup"]
    assert breached(made, Pools(groups={"a": Pair(new=up, old=earned(0.5))})) == []


def earned(mean: float, count: int = 2_000) -> Earned:
    return Earned(rewards=count, reward=mean * count, squares=mean * count)


def test_versions_that_disagree_are_drift() -> None:
    made = parse(TEXT.replace('"canary"', '"shadow"') + "[guard.drift]\nagreement_min = 0.9\n")
    assert breached(made, Pools(compared=300, agreed=150)) == ["drift"]
    assert breached(made, Pools(compared=300, agreed=280)) == []


def test_no_cohort_is_passed_until_the_drop_is_surely_small_where_the_plan_asks_for_it() -> None:
    made = parse(TEXT.replace("drop_max = 0.05", "drop_max = 0.05\nmargin_max = 0.1"))

    def passes(count: int) -> bool:
        pools = Pools(earned=Pair(new=earned(0.5, count), old=earned(0.5, count)))
        return all(finding.passed for finding in statistical(made, pools))

    assert not passes(50)
    assert passes(3_000)


def member(number: int, state: str = "trying", *, silent: bool = False) -> Member:
    return Member(device=f"d{number}", cohort=0, before="1", state=state, silent=silent)  # type: ignore[arg-type]


def finding(failed: int, silent: int, asked: int) -> Finding:
    made = [member(n, "failed") for n in range(failed)]
    made += [member(n, silent=True) for n in range(failed, failed + silent)]
    made += [member(n) for n in range(failed + silent, asked)]
    return devices(plan(), made, "first")


def test_failed_and_silent_devices_have_a_budget() -> None:
    assert not finding(0, 0, 3).breached
    assert finding(1, 0, 3).breached, "the plan allows no failure"
    assert not finding(0, 1, 3).breached, "one may always go silent where some may"
    assert finding(0, 2, 3).breached
    assert not finding(0, 20, 100).breached
    assert finding(0, 21, 100).breached


_TALLIES = st.builds(
    lambda decisions, rewards, earned, buckets: Tally(
        decisions=decisions, rewards=rewards, reward=earned, squares=earned, calls=buckets
    ),
    st.integers(-5, 500),
    st.integers(-5, 500),
    st.floats(-5, 900),
    st.dictionaries(st.integers(-3, 300), st.integers(-2, 50), max_size=5),
)
_SUMS = st.builds(lambda new, old: Sums(new=new, old=old), _TALLIES, _TALLIES)


@given(st.lists(st.tuples(_SUMS, st.booleans()), max_size=8))
@settings(max_examples=30, deadline=None)
def test_whatever_a_device_reports_the_sums_stay_possible_and_the_guards_can_look(
    reports: list[tuple[Sums, bool]],
) -> None:
    pools, before = Pools(), None
    for sums, same in reports:
        pools = with_more(pools, since(sums, before, same_stage=same), 0, ("a",))
        before = sums
    new = pools.earned.new
    assert 0 <= new.squares <= new.reward <= new.rewards
    assert all(count >= 0 for band in pools.bands.values() for count in band.new.calls.values())
    statistical(plan(), pools)


def test_what_is_counted_twice_by_a_repeated_report_counts_once() -> None:
    first = Sums(new=tally(10), old=tally(12))
    again = since(first, first, same_stage=True)
    assert (again.new.decisions, again.new.rewards, again.new.calls, again.old.rewards) == (0, 0, {}, 0)


def test_a_new_stage_counts_the_new_version_again_and_the_old_ones_rewards_on() -> None:
    before = Sums(new=tally(50), old=tally(60))
    after = Sums(new=tally(70), old=Tally(decisions=3, rewards=64, reward=33.0, squares=33.0, calls={20: 63}))
    more = since(after, before, same_stage=False)
    assert (more.new.decisions, more.new.rewards) == (70, 70)
    assert (more.old.decisions, more.old.rewards, more.old.calls) == (3, 4, {20: 3})
