"""Which devices a round would ask now, which not, and why: from what they have said of themselves.

A device decides by itself whether it takes part: by its class, version, examples, consent, windows and readings. Here
stands what the coordinator can foresee of that, and what it adds: revocation and quarantine. What a device has not told
counts for it, and is named. A round asks nobody of whom `unfit` finds a reason.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from coordinator import cohort
from coordinator.fleet.health import Thresholds, duration
from coordinator.fleet.view import DeviceView
from firmware_configs.windows import DAY_MINUTES, Window, read_window

WAITING = "waiting: "


class Reason(Struct, frozen=True, kw_only=True):
    """Why a device would not be asked."""

    code: str
    """revoked, quarantine, class, never-seen, offline, silent, bundle, version, examples, window or waiting."""
    what: str


class Demands(Struct, frozen=True, kw_only=True):
    """Which devices a run is for, besides those that run the bundle's version."""

    where: tuple[str, ...] = ()
    """`coordinator.fleet.selection`; all must hold. Known here alone."""
    classes: tuple[str, ...] = ()
    """`[device] class` of the profile is one of these; empty: any. Devices hold themselves to it."""
    examples_min: int = 1
    """That a device has. Devices hold themselves to it."""


class Round(Struct, frozen=True, kw_only=True):
    """What would be asked for."""

    bundle: str = ""
    """Empty: any; then neither version nor examples matter."""
    version: str = ""
    wanted: int = 0
    """Reports that are enough; 0: from everyone."""
    over_selection: float = 0.3
    rate: float = 1.0
    """Of a private round: probability with which each device is asked; below 1, `wanted` is not used."""
    minimum_reports: int = 1
    classes: tuple[str, ...] = ()
    examples_min: int = 1
    seed: int = 0


class Moment(Struct, frozen=True, kw_only=True):
    """When it is asked about."""

    now_ms: int
    """Unix ms."""
    weekday: int
    """By the local clock; 0 is Monday."""
    minute: int
    """By the local clock, since midnight."""


class Verdict(Struct, frozen=True, kw_only=True):
    """One device."""

    device: str
    node: str
    """Flower's node id, in decimal."""
    reasons: tuple[Reason, ...] = ()
    """Empty: it is eligible."""
    not_told: tuple[str, ...] = ()
    """What the device has not said, and was taken for met."""
    chance: float = 0.0
    """Probability with which the round asks it."""
    drawn: bool | None = None
    """Whether the first round with this seed asks it; None: decided by a coin that nobody may know."""


class Cohort(Struct, frozen=True, kw_only=True):
    """The whole fleet."""

    asked: float
    """Devices that the round asks; of a private round: on average."""
    eligible: int
    short: float
    """Probability that the round asks fewer devices than its minimum of reports."""
    devices: tuple[Verdict, ...]
    why_not: dict[str, int]
    """Code → how many devices it keeps out; one device may have several."""


def foresee(
    devices: Sequence[DeviceView],
    asked: Round,
    moment: Moment,
    *,
    quarantined: Mapping[str, str],
    meant: frozenset[str] | None = None,
) -> Cohort:
    """Who would be asked if exactly the eligible devices came online.

    Args:
        devices: all that are enrolled, revoked ones too.
        quarantined: device → until when and why.
        meant: devices of the class that is asked; None: all.
    """
    found = []
    for device in devices:
        reasons = _by_us(device, quarantined, meant) or _by_presence(device, moment.now_ms)
        own, unknown = _by_itself(device, asked, moment) if not device.revoked else ((), ())
        found.append(
            Verdict(device=device.name, node=str(device.node), reasons=(*reasons, *own), not_told=tuple(unknown))
        )
    nodes = {int(one.node) for one in found if not one.reasons}
    chance, drawn = _drawn(sorted(nodes), asked)
    verdicts = tuple(
        Verdict(
            device=one.device,
            node=one.node,
            reasons=one.reasons,
            not_told=one.not_told,
            chance=0.0 if one.reasons else chance,
            drawn=False if one.reasons else None if drawn is None else int(one.node) in drawn,
        )
        for one in found
    )
    expected = chance * len(nodes) if drawn is None else float(len(drawn))
    short = (
        fewer(len(nodes), chance, asked.minimum_reports) if drawn is None else float(expected < asked.minimum_reports)
    )
    return Cohort(
        asked=expected,
        eligible=len(nodes),
        short=short,
        devices=verdicts,
        why_not=dict(Counter(reason.code for one in verdicts for reason in one.reasons).most_common()),
    )


def _drawn(nodes: list[int], asked: Round) -> tuple[float, frozenset[int] | None]:
    if asked.rate < 1.0:
        return asked.rate, None
    # As the first attempt of a run's first round draws.
    drawn = cohort.select(nodes, asked.wanted, asked.over_selection, np.random.default_rng([asked.seed, 1, 1]))
    return len(drawn) / max(1, len(nodes)), frozenset(drawn)


def fewer(devices: int, rate: float, minimum: int) -> float:
    """Probability that of so many coins fewer than `minimum` fall: the lower tail of a binomial distribution."""
    if devices < minimum:
        return 1.0
    if rate >= 1.0:
        return 0.0
    odds, base = math.log(rate) - math.log1p(-rate), devices * math.log1p(-rate)
    whole = math.lgamma(devices + 1)
    terms = (
        math.exp(base + k * odds + whole - math.lgamma(k + 1) - math.lgamma(devices - k + 1)) for k in range(minimum)
    )
    return min(1.0, math.fsum(terms))


def _by_us(device: DeviceView, quarantined: Mapping[str, str], meant: frozenset[str] | None) -> tuple[Reason, ...]:
    found = []
    if device.revoked:
        found.append(Reason(code="revoked", what="its key is refused"))
    if device.name in quarantined:
        found.append(Reason(code="quarantine", what=quarantined[device.name]))
    if meant is not None and device.name not in meant:
        found.append(Reason(code="class", what="--where does not mean it"))
    return tuple(found)


def _by_presence(device: DeviceView, now_ms: int) -> tuple[Reason, ...]:
    quiet_ms = now_ms - device.seen_ms
    if device.online is None and not device.seen_ms:
        return (Reason(code="never-seen", what="it was never heard"),)
    if device.online is False:
        return (Reason(code="offline", what=f"offline for {duration(quiet_ms)}"),)
    if device.said_by != "broker" and quiet_ms > Thresholds().silent_ms:
        return (Reason(code="silent", what=f"it has said nothing for {duration(quiet_ms)}"),)
    return ()


def _by_itself(device: DeviceView, asked: Round, moment: Moment) -> tuple[tuple[Reason, ...], tuple[str, ...]]:
    """What the device would find, and what of it is not known."""
    reasons, unknown = unfit(device, asked)
    found = [*reasons]
    windows = [window for text in device.desired.maintenance if (window := read_window(text)) is not None]
    if windows and not any(is_open(window, moment.weekday, moment.minute) for window in windows):
        found.append(Reason(code="window", what=f"outside {', '.join(device.desired.maintenance)}"))
    if device.learning.startswith(WAITING):
        found.append(Reason(code="waiting", what=device.learning.removeprefix(WAITING)))
    return tuple(found), unknown


def unfit(device: DeviceView, asked: Round) -> tuple[tuple[Reason, ...], tuple[str, ...]]:
    """Why a round is not for a device, however ready it is; and what of it is not known."""
    found: list[Reason] = []
    unknown: list[str] = []
    if asked.classes and not device.device_class:
        unknown.append("its class")
    elif asked.classes and device.device_class not in asked.classes:
        found.append(Reason(code="class", what=f"it is of class {device.device_class}, not {', '.join(asked.classes)}"))
    if asked.bundle:
        if device.reported is None:
            unknown.append("what it runs")
        elif (runs := device.bundles.get(asked.bundle)) is None:
            found.append(Reason(code="bundle", what=f"{asked.bundle} does not run there"))
        elif runs != asked.version:
            found.append(Reason(code="version", what=f"it runs {asked.bundle} {runs}, not {asked.version}"))
        if device.status is None:
            unknown.append("its examples")
        elif (count := device.status.counters.get(f"examples.{asked.bundle}", 0)) < asked.examples_min:
            found.append(Reason(code="examples", what=f"{count:,} examples, {asked.examples_min:,} are needed"))
    return tuple(found), tuple(unknown)


def is_open(window: Window, weekday: int, minute: int) -> bool:
    """Whether a maintenance window holds this minute of the week, on a week without a change of clocks."""
    return any(
        (weekday - days) % 7 in window.days and 0 <= days * DAY_MINUTES + minute - window.start < window.minutes
        for days in (0, 1)
    )
