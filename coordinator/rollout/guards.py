"""What stops a rollout, and what it waits for. Each guard looks at sums alone, at any time, as often as it likes.

Rewards are values in [0, 1], so the bounds of `models.experiments.sequences.bounded_difference` hold for their means at
every number of samples at once; errors and agreements are yes or no, where the same mixture tests the limit itself. A
quantile lies above t just when the share of calls up to t lies below it, so a test of that share is one of the quantile
(Howard and Ramdas 2022, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification", use the same inversion). They are exact while the means stand still, whatever the order of samples and
the moments of looking; where days and nights earn differently, both versions are counted side by side, in the same
hours.

`Plan.alpha` is shared out evenly among the statistical guards that the plan has, within a guard among its bands of load
or its groups. Failed and silent devices are counted against a budget, without statistics.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coordinator.rollout.plan import Drift, Errors, Latency, Plan, Reward, Subgroup
from coordinator.rollout.pools import Band, Pair, Pools
from coordinator.rollout.state import Finding, Member
from firmware_configs.histogram import BOUNDS_MS
from models.experiments.sequences import F64, bounded_difference

LAST = len(BOUNDS_MS) - 1
Hits = NDArray[np.bool_]
_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def devices(plan: Plan, members: Sequence[Member], named: str) -> Finding:
    """Whether too many devices of a cohort failed or went silent; members: those of it that were asked."""
    limits, asked = plan.guard.devices, len(members)
    failed = [member for member in members if member.state == "failed"]
    silent = [member for member in members if member.silent]
    evidence = {"asked": float(asked), "failed": float(len(failed)), "silent": float(len(silent))}
    text = f"{len(failed)} of {asked} devices of {named} failed, {len(silent)} went silent"
    # At least one may go silent where a share of a small cohort would allow none at all but the plan allows some.
    silent_max = max(1, math.floor(limits.silent_max * asked)) if limits.silent_max else 0
    if len(failed) > math.floor(limits.failed_max * asked):
        reason = failed[0].reason or "it did not take the version"
        return Finding(guard="devices", breached=True, text=f"{text}: {failed[0].device}: {reason}", evidence=evidence)
    if len(silent) > silent_max:
        who = ", ".join(member.device for member in silent[:3])
        return Finding(guard="devices", breached=True, text=f"{text}: {who}", evidence=evidence)
    return Finding(guard="devices", breached=False, text=text, evidence=evidence)


def statistical(plan: Plan, pools: Pools) -> list[Finding]:
    """What the other guards of the plan say of everything that was counted so far."""
    guard, found = plan.guard, []
    share = plan.alpha_each / (len(plan.bands) + 1)
    for number, band in sorted(pools.bands.items()):
        if guard.errors is not None:
            found.append(_errors(plan, guard.errors, number, band, share))
        if guard.latency is not None:
            found.append(_latency(plan, guard.latency, number, band, share))
    if guard.reward is not None:
        found.append(_reward(plan, guard.reward, pools.earned))
    if guard.drift is not None:
        found.append(_drift(plan, guard.drift, pools))
    if guard.subgroup is not None:
        found.append(_subgroup(plan, guard.subgroup, pools.groups))
    return found


def band_of(plan: Plan, load: float) -> int:
    """Number of the band of a load in decisions a second and device; 0 below all of them."""
    return sum(load > above for above in plan.bands)


def _at(plan: Plan, number: int) -> str:
    if not plan.bands:
        return ""
    return f" above {plan.bands[number - 1]:g} decisions a second" if number else f" up to {plan.bands[0]:g} a second"


def _errors(plan: Plan, limits: Errors, number: int, band: Band, alpha: float) -> Finding:
    above = plan.bands[number - 1] if number else 0.0
    share_max = next((one.share_max for one in reversed(limits.load) if one.above <= above), limits.share_max)
    decisions, errors = max(band.new.decisions, band.new.errors), band.new.errors
    share = errors / decisions if decisions else 0.0
    return Finding(
        guard="errors",
        breached=bool(_above(decisions, np.array([float(errors)]), share_max, alpha)[0]),
        text=f"{errors} of {decisions} decisions failed or overran{_at(plan, number)}; "
        f"a share of {share_max:g} is allowed",
        evidence={"decisions": decisions, "errors": errors, "share": share, "max": share_max},
    )


def _latency(plan: Plan, limits: Latency, number: int, band: Band, alpha: float) -> Finding:
    above = plan.bands[number - 1] if number else 0.0
    ratio_max = next((one.ratio_max for one in reversed(limits.load) if one.above <= above), limits.ratio_max)
    low = quantile_bounds(band.new.calls, limits.quantile, alpha / 2.0)[0]
    high = quantile_bounds(band.old.calls, limits.quantile, alpha / 2.0)[1]
    allowed = max(limits.floor_ms, ratio_max * high)
    named = f"quantile {limits.quantile:g} of a call's time{_at(plan, number)}"
    return Finding(
        guard="latency",
        breached=low > allowed,
        text=f"{named}: surely above {low:.3g} ms, the old version's surely at most {high:.3g} ms; "
        f"{ratio_max:g} times that is allowed",
        evidence={
            "calls": sum(band.new.calls.values()),
            "calls_old": sum(band.old.calls.values()),
            "low_ms": low,
            "old_high_ms": high if math.isfinite(high) else -1.0,
            "ratio_max": ratio_max,
        },
    )


def _reward(plan: Plan, limits: Reward, earned: Pair) -> Finding:
    low, high = -1.0, 1.0
    # The bounds lie around the means: nothing can be wrong where those differ by less, and they cost milliseconds.
    if limits.margin_max < 1.0 or earned.old.mean - earned.new.mean > limits.drop_max:
        low, high = bounded_difference(earned.old.triple, earned.new.triple, plan.alpha_each)
    return Finding(
        guard="reward",
        breached=high < -limits.drop_max,
        passed=limits.margin_max >= 1.0 or low > -limits.margin_max,
        text=f"the mean reward changed from {earned.old.mean:.3f} to {earned.new.mean:.3f} ({earned.old.rewards:,} and "
        f"{earned.new.rewards:,} rewards), surely by {low:+.3f} to {high:+.3f}; "
        f"a drop of {limits.drop_max:g} is allowed",
        evidence={
            "rewards": earned.new.rewards,
            "rewards_old": earned.old.rewards,
            "mean": earned.new.mean,
            "mean_old": earned.old.mean,
            "low": low,
            "high": high,
        },
    )


def _drift(plan: Plan, limits: Drift, pools: Pools) -> Finding:
    agreed = np.array([float(pools.agreed)])
    return Finding(
        guard="drift",
        breached=bool(_below(pools.compared, agreed, limits.agreement_min, plan.alpha_each)[0]),
        text=f"both versions agreed in {pools.agreed} of {pools.compared} decisions; a share of "
        f"{limits.agreement_min:g} is needed",
        evidence={"compared": pools.compared, "agreed": pools.agreed, "min": limits.agreement_min},
    )


def _subgroup(plan: Plan, limits: Subgroup, groups: Mapping[str, Pair]) -> Finding:
    names = sorted({*limits.groups, *limits.tags})
    alpha = plan.alpha_each / len(names)
    bounds = {
        name: bounded_difference(pair.old.triple, pair.new.triple, alpha)
        for name in names
        for pair in [groups.get(name, Pair())]
    }
    best = max(names, key=lambda name: bounds[name][0])
    worst = min(names, key=lambda name: bounds[name][1])
    gap = bounds[best][0] - bounds[worst][1] if best != worst else -1.0
    return Finding(
        guard="subgroup",
        breached=gap > limits.gap_max,
        text=f"the mean reward changed by {bounds[best][0]:+.3f} or more for {best}, by {bounds[worst][1]:+.3f} or "
        f"less for {worst}; a gap of {limits.gap_max:g} is allowed",
        evidence={"gap": gap, "max": limits.gap_max},
    )


def quantile_bounds(calls: Mapping[int, int], share: float, alpha: float) -> tuple[float, float]:
    """Bounds for a quantile of calls' times, ms, each of which is wrong at most with probability alpha, ever.

    Args:
        calls: bucket → how many.
        share: which quantile.
    Returns:
        (low, high): the quantile is above low, and at most high; 0 and infinity where nothing is known.
    """
    filled = sorted(number for number, count in calls.items() if count)
    counts = np.array([calls[number] for number in filled], np.float64)
    if not filled:
        return 0.0, math.inf
    up_to = np.cumsum(counts)
    # Each bound says that the share of calls up to an end of a bucket is not `share`. One that is wrong at some end is
    # wrong at the end nearest to the quantile too, so there is one event, however many ends are looked at.
    starts = np.array([BOUNDS_MS[min(number, LAST + 1) - 1] if number > 0 else 0.0 for number in filled])
    ends = np.array([BOUNDS_MS[min(max(number, 0), LAST)] for number in filled])
    below = starts[_below(up_to[-1], up_to - counts, share, alpha)]
    over = ends[_above(up_to[-1], up_to, share, alpha)]
    return (float(below.max()) if below.size else 0.0), (float(over.min()) if over.size else math.inf)


def _refuted(people: float, hits: F64, mean: float, alpha: float) -> Hits:
    """Where a mean of values that are 0 or 1 is refuted, at any time of looking: the beta mixture of likelihood ratios
    (Robbins 1970, as in `models.experiments.sequences`), against one mean at a time, which needs no search."""
    rest = people - hits
    beta = _lgamma(hits + 0.5) + _lgamma(rest + 0.5) - math.lgamma(people + 1.0) - math.log(math.pi)
    inner = min(max(mean, 1e-12), 1.0 - 1e-12)
    return np.asarray(beta - hits * math.log(inner) - rest * math.log1p(-inner) >= -math.log(alpha))


def _below(people: float, hits: F64, mean: float, alpha: float) -> Hits:
    """Where the share is surely below `mean`."""
    return np.asarray(_refuted(people, hits, mean, alpha) & (hits < mean * people))


def _above(people: float, hits: F64, mean: float, alpha: float) -> Hits:
    """Where the share is surely above `mean`."""
    return np.asarray(_refuted(people, hits, mean, alpha) & (hits > mean * people))
