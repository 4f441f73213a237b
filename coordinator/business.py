"""What decisions bring over a fleet: conversion, retention and value, by arm and by segment, under DP.

Devices tell sums of their metrics (`firmware_configs.measured`); here they are bounded a device, added up, blurred as
the profile promises, and read with intervals that count both what chance does and what the noise does. The unit is
the device throughout: it is what the noise hides, and observations of one device are not taken to be independent of
each other (Liang and Zeger 1986, "Longitudinal data analysis using generalized linear models", for such variances).

`models.business` has the sums of a group's row. Mean and interval are those of the ratio t / n (Fieller 1954, "Some
Problems in Interval Estimation").
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator.errors import TooFewDevices
from firmware_configs.business import SUMS, BusinessShape, Group, business_shape_of
from firmware_configs.measured import Measured
from firmware_configs.profile import Egress, LifetimeValue, Metric, Profile, Rate, ReturnVisit, Worth
from models.business import bounded, halves, row_of

F64 = NDArray[np.float64]
Noise = Callable[[tuple[int, ...]], F64]
"""Shape → standard normal numbers."""
COUNT_MAX = 10_000_000
CONFIDENCE = 0.95


class Plan(Struct, frozen=True, kw_only=True):
    """What is told of a profile's metrics; it follows from the profile alone, never from the data."""

    profile: str
    version: str
    metrics: tuple[Metric, ...]
    egress: Egress
    groups: tuple[Group, ...]

    @property
    def shape(self) -> BusinessShape:
        """What the sums stand for."""
        return BusinessShape(metrics=self.metrics, groups=self.groups)

    @property
    def in_secret(self) -> bool:
        """Whether devices add their sums up under masks, and let them out in no other way."""
        return self.egress.privacy is not None and self.egress.privacy.secret_sum

    @property
    def clip(self) -> float:
        """L2 norm that a device's rows are bounded to; infinite where no privacy is declared."""
        return self.egress.privacy.clip_norm if self.egress.privacy is not None else math.inf

    @property
    def noise(self) -> float:
        """Standard deviation of the noise on each sum as it is stored; 0: none was promised."""
        return self.egress.privacy.noise_multiplier * self.clip if self.egress.privacy is not None else 0.0


class Release(Struct, frozen=True, kw_only=True):
    """Sums as they may be told, and told again: reading a release once more costs nothing."""

    number: int
    plan: Plan
    sums: list[list[float]]
    """A row a group: n, t, n², n·t, t², the last three over `scale`."""
    scale: float
    noise: float
    devices: str
    privacy: str
    epsilon: float | None
    """Of all releases so far; None: no noise was promised."""
    refused: dict[str, str]
    time_ms: int


class Figure(Struct, frozen=True, kw_only=True):
    """One group's mean, in the metric's own unit."""

    metric: str
    what: str
    """conversion, retention after … days, value, …"""
    placement: str
    arm: str
    segment: str
    observations: float
    """As they were counted after bounding and noise."""
    value: float | None
    """None: withheld, or nothing can be said."""
    low: float
    high: float
    width: float
    """Of the interval, with the noise."""
    width_without: float
    """What it would be of the same sums without the noise."""
    needed: float | None
    """Observations at which the interval, noise included, is as narrow as was asked; None: not known."""
    why: str = ""
    """Why nothing is told."""


def planned(profile: Profile, egress: Egress, *, cells: bool) -> Plan:
    """The rows of a profile.

    Args:
        cells: also each arm with each segment; all rows share one norm, so more rows are told less sharply.
    """
    shape = business_shape_of(profile, cells=cells)
    name, version = profile.name, profile.version
    return Plan(profile=name, version=version, metrics=shape.metrics, egress=egress, groups=shape.groups)


def gather(plan: Plan, reports: Sequence[Measured], enrolled: Sequence[str]) -> tuple[F64, float, int, dict[str, str]]:
    """Check, bound and add up.

    Args:
        reports: of devices, cumulative; the newest of each counts.
        enrolled: devices that are believed at all.
    Returns:
        Sums (groups, 5), the scale of the last three, how many devices are in them, and why others are not.
    Raises:
        TooFewDevices: fewer than the profile's k_min have something to add.
    """
    newest: dict[str, Measured] = {}
    for report in reports:
        held = newest.get(report.device)
        if held is None or report.time_ms >= held.time_ms:
            newest[report.device] = report
    refused: dict[str, str] = {}
    rows: list[F64] = []
    for device, report in sorted(newest.items()):
        why = "it is not enrolled" if device not in enrolled else fault(plan, report)
        if why:
            refused[device] = why
        elif (row := row_of(plan.shape, {one.metric: one.cells for one in report.totals})).any():
            rows.append(row)
    if len(rows) < plan.egress.k_min or not rows:
        raise TooFewDevices(
            f"{len(rows)} devices have measured something; the profile lets sums be read of "
            f"{max(1, plan.egress.k_min)} together",
            hint="wait for more devices to report",
        )
    total = sum((bounded(row, plan.clip) for row in rows), np.zeros((len(plan.groups), SUMS)))
    return np.asarray(total, np.float64), halves(plan.clip)[1], len(rows), refused


def fault(plan: Plan, report: Measured) -> str:
    """Why a device's sums cannot be true, or are of something else; empty when they can be."""
    wanted = {one.name: one for one in plan.metrics}
    for totals in report.totals:
        metric = wanted.get(totals.metric)
        if metric is None:
            continue
        if (totals.lower, totals.upper) != (metric.lower, metric.upper):
            return f"its `{totals.metric}` has other bounds"
        for cell in totals.cells:
            slack = 1e-6 * (1.0 + abs(cell.total) + cell.n)
            if not 0 <= cell.n <= COUNT_MAX or not math.isfinite(cell.total):
                return f"its `{totals.metric}` holds what is no count"
            if not cell.n * metric.lower - slack <= cell.total <= cell.n * metric.upper + slack:
                return f"its `{totals.metric}` holds a sum that no observations in bounds can have"
    return ""


def blurred(total: F64, noise: float, normal: Noise) -> F64:
    """The sums with the noise that was promised."""
    return np.asarray(total + noise * normal(total.shape), np.float64) if noise else total


# ---- reading -------------------------------------------------------------------------------------------------


def read(release: Release, width: float) -> list[Figure]:
    """What a release says, group by group.

    Args:
        width: of an interval, as a share of the metric's range, for which the needed observations are told.
    """
    metrics = {one.name: one for one in release.plan.metrics}
    k_min = release.plan.egress.k_min
    return [
        figure(metrics[group.metric], group, sums, release.scale, release.noise, k_min, width)
        for group, sums in zip(release.plan.groups, release.sums, strict=True)
    ]


def figure(
    metric: Metric, group: Group, sums: Sequence[float], scale: float, noise: float, k_min: int, width: float
) -> Figure:
    """One group, read."""
    n, t, nn, nt, tt = sums[0], sums[1], *(scale * value for value in sums[2:])
    span = metric.upper - metric.lower
    binary = isinstance(metric.measure, Rate | ReturnVisit)
    blank = Figure(
        metric=metric.name,
        what=meaning(metric),
        placement=group.placement,
        arm=group.arm,
        segment=group.segment,
        observations=max(0.0, n),
        value=None,
        low=metric.lower,
        high=metric.upper,
        width=span,
        width_without=span,
        needed=None,
    )
    if devices_at_least(n, nn, scale, noise) < k_min:
        return replace(blank, why=f"fewer than {k_min} devices, as far as the noise lets one know")
    mean = float(np.clip(t / n, -0.5, 0.5))
    degrees = max(1.0, n * n / max(nn, 1e-12) - 1.0)
    told = interval((n, t, nn, nt, tt), noise, noise * scale, degrees, binary=binary)
    exact = interval((n, t, nn, nt, tt), 0.0, 0.0, degrees, binary=binary)
    if told is None:
        return replace(blank, why="the noise on so few observations leaves everything possible")
    exact = exact or told
    spread = max(tt - 2.0 * mean * nt + mean * mean * nn, n * (0.25 - mean * mean) if binary else 0.0, 0.0) / n
    return Figure(
        metric=metric.name,
        what=blank.what,
        placement=group.placement,
        arm=group.arm,
        segment=group.segment,
        observations=n,
        value=metric.lower + span * (mean + 0.5),
        low=metric.lower + span * (told[0] + 0.5),
        high=metric.lower + span * (told[1] + 0.5),
        width=span * (told[1] - told[0]),
        width_without=span * min(exact[1] - exact[0], told[1] - told[0]),
        needed=needed(spread, noise**2 * (1.0 + mean * mean) + doubt(mean, noise * scale), width / 2.0),
    )


def devices_at_least(n: float, nn: float, scale: float, noise: float) -> float:
    """A bound below on how many devices a group has: (Σ n)² / Σ n², which is never more than there are.

    With noise both sums are moved by two deviations to the cautious side, so the bound holds at about 97 %.
    """
    if n - 2.0 * noise <= 0.0:
        return 0.0
    return (n - 2.0 * noise) ** 2 / max(nn + 2.0 * noise * scale, 1e-12) + 1e-9


def interval(
    sums: tuple[float, float, float, float, float],
    noise: float,
    noise_of_products: float,
    degrees: float,
    *,
    binary: bool,
) -> tuple[float, float] | None:
    """Where the mean of z lies, with `CONFIDENCE`; None: anywhere.

    All m with (t - n·m)² ≤ q²·V(m), V the variance of t - n·m: the devices' own, Σ (t_d - n_d·m)² at the mean that was
    found, and the noise's.
    Shares also have at least the variance of independent observations, as Wilson's interval has it; else none of a
    hundred would be known to be none.
    """
    n, t, nn, nt, tt = sums
    if n <= 0.0:
        return None
    q2 = quantile(degrees) ** 2
    mean = min(0.5, max(-0.5, t / n))
    unsure = doubt(mean, noise_of_products)
    own = max(0.0, tt - 2.0 * mean * nt + mean * mean * nn) * (degrees + 1.0) / degrees
    by_devices = _solved(n * n - q2 * noise**2, -2.0 * t * n, t * t - q2 * (own + noise**2 + unsure))
    if by_devices is None or not binary:
        return by_devices
    by_chance = _solved(n * n - q2 * (noise**2 - n), -2.0 * t * n, t * t - q2 * (n / 4.0 + noise**2))
    if by_chance is None:
        return None
    return min(by_devices[0], by_chance[0]), max(by_devices[1], by_chance[1])


def doubt(mean: float, noise_of_products: float) -> float:
    """What is added to a variance because the products it is made of are blurred as well: one deviation of theirs."""
    return noise_of_products * math.sqrt(1.0 + 4.0 * mean**2 + mean**4)


def _solved(a: float, b: float, c: float) -> tuple[float, float] | None:
    """The m in [-1/2, 1/2] with a·m² + b·m + c ≤ 0."""
    inside = b * b - 4.0 * a * c
    if a <= 0.0:
        return None
    root = math.sqrt(max(inside, 0.0))  # noise may make the variance negative: then all that is known is the mean
    low, high = (-b - root) / (2.0 * a), (-b + root) / (2.0 * a)
    return min(0.5, max(-0.5, low)), min(0.5, max(-0.5, high))


def quantile(degrees: float) -> float:
    """Student's t at `CONFIDENCE`, two-sided, by Fisher and Cornish's expansion: from three degrees on within 2 %."""
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0)
    first = (z**3 + z) / (4.0 * degrees)
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * degrees**2)
    return z + first + second


def needed(spread: float, blur: float, half: float) -> float:
    """Observations at which the interval reaches `half` to each side, as they scatter now, with the same noise.

    Args:
        spread: variance of t - n·m an observation.
        blur: what the noise adds to the variance of the whole.
    """
    q2 = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0) ** 2
    root = math.sqrt(q2 * q2 * spread * spread + 4.0 * half * half * q2 * blur)
    return (q2 * spread + root) / (2.0 * half * half)


def meaning(metric: Metric) -> str:
    """What a metric is to the business."""
    match metric.measure:
        case Rate():
            return "conversion"
        case ReturnVisit(day=day):
            return f"retention, day {day}"
        case LifetimeValue():
            return "lifetime value"
        case Worth():
            return "value"
        case _:
            return "seconds watched"


def claim(plan: Plan, epsilon: float, releases: int) -> str:
    """The claim of a release, in words."""
    privacy = plan.egress.privacy
    if privacy is None or not plan.noise:
        return "no differential privacy: no noise was promised, so no ε can be stated"
    return (
        f"({epsilon:.4g}, {privacy.delta:g})-differential privacy; unit: one device; Gaussian noise of deviation "
        f"{plan.noise:.4g} on each sum, a device's sums bounded to norm {plan.clip:g}; {releases} releases so far; the "
        "coordinator itself sees each device's sums"
    )


def told(release: Release, figures: Sequence[Figure], width: float) -> list[str]:
    """A release in words."""
    lines = [
        f"{release.plan.profile} {release.plan.version}, release {release.number}: {release.devices} devices",
        f"  {release.privacy}",
        f"  intervals hold with {CONFIDENCE:.0%} each, for one look; `cost`: how much wider they are for the noise",
        f"  `needed`: observations for an interval of {width:g} of the metric's range, noise included",
        f"  {'':<46}{'n':>10}{'value':>10}{'low':>10}{'high':>10}{'width':>9}{'without':>9}{'cost':>7}{'needed':>10}",
    ]
    heading = ""
    for one in figures:
        head = f"{one.what}: {one.metric} at {one.placement}"
        if head != heading:
            lines.append(f"  {head}")
            heading = head
        name = " · ".join(
            part for part in (one.arm and f"arm {one.arm}", one.segment and f"segment {one.segment}") if part
        )
        if one.value is None:
            lines.append(f"    {name or 'everybody':<44}not told: {one.why}")
            continue
        cost = one.width / one.width_without if one.width_without > 0.0 else math.inf
        lines.append(
            f"    {name or 'everybody':<44}{one.observations:>10,.0f}{one.value:>10.4g}{one.low:>10.4g}"
            f"{one.high:>10.4g}{one.width:>9.3g}{one.width_without:>9.3g}{cost:>6.2f}×{one.needed or 0.0:>10,.0f}"
        )
    lines += [f"  {device} does not count: {why}" for device, why in release.refused.items()]
    return lines
