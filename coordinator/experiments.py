"""Experiments over many devices: their sums added up, blurred as the profile promises, and read.

What a device sends is cumulative, so each device counts with its newest report only. A table of shares that fewer than
k devices have contributed to is left out. Noise is Gaussian on every sum, the same for all, with the standard deviation
noise_multiplier × the norm by which one unit of privacy can move the sums (Dwork and Roth 2014, appendix A); what
releases cost together is `accountant`'s. The devices' own sums are known to the coordinator: it is trusted with them,
what is told of them is not.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from coordinator.errors import TooFewDevices
from firmware_configs import designs
from firmware_configs.messages import ExperimentReport
from firmware_configs.profile import Egress, Experiment
from models.experiments import sums
from models.experiments.analysis import Analysis, analyse, declared

F64 = sums.F64
Noise = Callable[[tuple[int, ...]], F64]
"""Shape → standard normal numbers."""


class Plan(Struct, frozen=True, kw_only=True):
    """An experiment as the coordinator knows it: from the profile that the devices run."""

    experiment: Experiment
    egress: Egress
    shares: dict[int, dict[str, float]] = {}
    """Number → shares that the coordinator has moved to; 0 are the profile's own."""

    @property
    def hash(self) -> str:
        """What a device's report must name."""
        return designs.plan_hash(self.experiment)

    @property
    def probabilities(self) -> dict[int, Sequence[float]]:
        """Number of the shares → probability of each arm."""
        names = [arm.name for arm in designs.arms(self.experiment)]
        moved = {number: [shares[name] for name in names] for number, shares in self.shares.items()}
        return {0: declared(self.experiment), **moved}

    @property
    def unit(self) -> str:
        """Whose influence the noise hides."""
        return self.egress.privacy.unit if self.egress.privacy is not None else "device"

    @property
    def sensitivity(self) -> float:
        """By how much one unit of privacy can move the sums, in the L2 norm."""
        if self.egress.privacy is None or self.unit == "person":
            return sums.person_norm(len(self.experiment.metric), before=bool(self.experiment.starts))
        return self.egress.privacy.clip_norm

    @property
    def noise(self) -> float:
        """Standard deviation of the noise on each sum; 0: none was promised."""
        return self.egress.privacy.noise_multiplier * self.sensitivity if self.egress.privacy is not None else 0.0


class Gathered(Struct, frozen=True, kw_only=True):
    """What usable reports add up to."""

    tables: dict[int, list[list[float]]]
    devices: int
    refused: dict[str, str]
    """Device → why its report does not count."""
    withheld: tuple[int, ...]
    """Numbers of shares under which fewer than k devices have measured somebody."""


class Release(Struct, frozen=True, kw_only=True):
    """Sums as they may be told, and told again: reading a release once more costs nothing."""

    number: int
    tables: dict[int, list[list[float]]]
    noise: float
    devices: str
    """How many devices are in it, exactly where no noise was promised."""
    privacy: str
    """The claim, in words."""
    epsilon: float
    """Of all releases so far; infinite where there is no noise."""
    time_ms: int


def gather(plan: Plan, reports: Mapping[str, ExperimentReport], enrolled: Sequence[str]) -> Gathered:
    """Check and add up.

    Args:
        reports: device → its newest report.
        enrolled: devices that are believed at all.
    Raises:
        TooFewDevices: fewer than the profile's k have something to add.
    """
    usable: dict[str, sums.Tables] = {}
    refused: dict[str, str] = {}
    arms, metrics = len(designs.arms(plan.experiment)), len(plan.experiment.metric)
    for device, report in reports.items():
        if why := _fault(plan, device, report, enrolled):
            refused[device] = why
            continue
        try:
            tables = {number: np.array(table, np.float64) for number, table in report.tables.items()}
        except ValueError:
            refused[device] = "its rows are not equally long"
            continue
        if why := sums.fault(tables, arms, metrics):
            refused[device] = why
        elif tables:
            bounded = plan.egress.privacy is not None and plan.unit == "device"
            usable[device] = sums.clipped(tables, plan.sensitivity) if bounded else tables
    counted = {n: sum(_has_people(t.get(n)) for t in usable.values()) for n in plan.probabilities}
    least = plan.egress.k_min
    withheld = tuple(number for number, count in counted.items() if 0 < count < least)
    if len(usable) < least or not any(count >= least for count in counted.values()):
        raise TooFewDevices(
            f"{len(usable)} devices have measured somebody; the profile lets sums be read of {least} together",
            hint="wait for more devices to report",
        )
    total = sums.added([{n: t for n, t in tables.items() if n not in withheld} for tables in usable.values()])
    return Gathered(
        tables={number: table.tolist() for number, table in sorted(total.items())},
        devices=len(usable),
        refused=refused,
        withheld=withheld,
    )


def _fault(plan: Plan, device: str, report: ExperimentReport, enrolled: Sequence[str]) -> str:
    if device not in enrolled:
        return "it is not enrolled"
    if report.device != device:
        return "it reports for another device"
    if report.plan != plan.hash:
        return "it runs another plan of the experiment"
    if set(report.tables) - set(plan.probabilities):
        return "it counts under shares that were never given"
    return ""


def _has_people(table: F64 | None) -> bool:
    return table is not None and bool(table[:, 0].any())


def blurred(plan: Plan, gathered: Gathered, normal: Noise) -> dict[int, list[list[float]]]:
    """The tables with the noise that was promised; also tables that nobody contributed to, so as not to tell which."""
    if not plan.noise:
        return gathered.tables
    shape = (len(designs.arms(plan.experiment)), sums.columns(len(plan.experiment.metric)))
    found = {}
    for number in sorted(set(plan.probabilities) - set(gathered.withheld)):
        exact = np.array(gathered.tables.get(number, np.zeros(shape)), np.float64)
        found[number] = (exact + plan.noise * normal(shape)).tolist()
    return found


def read(plan: Plan, release: Release) -> Analysis:
    """What a release says."""
    tables = {number: np.array(table, np.float64) for number, table in release.tables.items()}
    return analyse(plan.experiment, tables, plan.probabilities, release.noise)


def told(plan: Plan, release: Release, found: Analysis) -> list[str]:
    """A release in words."""
    lines = [
        f"{found.experiment}: {found.verdict}",
        f"  {found.people:,.0f} people on {release.devices} devices; {release.privacy}",
    ]
    for arm in found.arms:
        means = ", ".join(f"{name} {value:.4g}" for name, value in arm.means.items()) or "nobody yet"
        lines.append(f"  arm {arm.name:<20} {arm.people:>10,.0f} people  share {arm.share:.3g}  {means}")
    for one in found.comparisons:
        cuped = f", CUPED took {one.variance_reduction * 100:.0f} % of the variance" if one.variance_reduction else ""
        alias = f" (or {', '.join(one.aliases)})" if one.aliases else ""
        between = f"{one.value:+.4g}, between {one.low:+.4g} and {one.high:+.4g}"
        lines.append(f"  {one.contrast}{alias}, {one.metric} ({one.role}): {between}: {one.state}{cuped}")
    sure = 100 * (1 - plan.experiment.alpha)
    alarm = "alarm" if found.mismatched else "none"
    lines.append(f"  sample-ratio mismatch: {alarm} (e-value {found.mismatch:.3g})")
    lines.append(f"  intervals hold at every time of looking, with {sure:g} % each (guards: together)")
    lines += [f"  {line}" for line in designs.in_words(plan.experiment)[1:]]
    return lines


def claim(plan: Plan, epsilon: float, releases: int) -> str:
    """The claim of a release, in words."""
    if not plan.noise:
        return "no differential privacy: sums are bounded, no noise was promised, so no ε can be stated"
    privacy = plan.egress.privacy
    delta = privacy.delta if privacy is not None else math.nan
    unit = "one person on one device" if plan.unit == "person" else "one device"
    return (
        f"({epsilon:.4g}, {delta:g})-differential privacy; unit: {unit}; Gaussian noise of deviation {plan.noise:.4g} "
        f"on each sum; {releases} releases so far"
    )
