"""The week as a list of deeds, worked out from a seed alone: what happens when, to which devices. Pure.

Most of the week devices sleep: at the end of each waking stretch every clock but the monotonic ones steps forward, as
after a suspend. What goes by wall clocks (days of the ledger, retention, metadata that ends) sees the whole week, what
goes by monotonic time (keepalives, pauses before another try) sees the waking minutes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from msgspec import Struct

from tests.chaos.roads import Road

DAY_S = 86_400.0
DAYS = 7
AHEAD_S, BEHIND_S = 40 * DAY_S, -20_000 * DAY_S
"""A battery that failed sets a clock to 2036 or to 1970; these are between."""
Do = Literal[
    "sleep",
    "cut",
    "join",
    "fill",
    "free",
    "leap",
    "correct",
    "kill",
    "forget",
    "broker-stop",
    "broker-start",
    "coordinator-kill",
    "rollout",
    "round",
]
ENDS: dict[Do, Do] = {"cut": "join", "fill": "free", "leap": "correct", "broker-stop": "broker-start"}


class Deed(Struct, frozen=True, kw_only=True):
    """One thing that is done to the fleet."""

    at_s: float
    """Real seconds since the week began."""
    do: Do
    devices: tuple[int, ...] = ()
    value: float = 0.0
    """Of `sleep`: seconds that pass; of `leap`: by how much the clock is wrong then."""


class Evening(Struct, frozen=True, kw_only=True):
    """A federated run; while it lasts nobody's clock steps forward. Real seconds since its first round opened."""

    learners: tuple[int, ...]
    """Who may take part."""
    cut: tuple[int, ...]
    """Of them, whose lines are cut in the midst of it."""
    cut_s: float
    join_s: float
    kill_s: float
    """When the coordinator is killed."""


class Week(Struct, frozen=True, kw_only=True):
    """Everything that is going to happen."""

    deeds: tuple[Deed, ...]
    roads: tuple[Road, ...]
    """Each device's line while nothing is wrong."""
    small_disks: tuple[int, ...]
    seconds: float
    """Real time that it takes, without the evening."""
    evening: Evening

    def counts(self) -> dict[str, int]:
        """Fault → devices that it meets, one counted as often as it is met."""
        met: Counter[str] = Counter()
        for deed in self.deeds:
            met[deed.do] += len(deed.devices) or 1
        return {name: met[name] for name in sorted(met.keys() - set(ENDS.values()) - {"sleep"})}


def plan(seed: int, devices: int, wakes: int, wake_s: float) -> Week:
    """The week of a seed.

    Args:
        devices: how many there are.
        wakes: waking stretches a day.
        wake_s: real seconds of each.
    """
    dice = Random(seed)  # noqa: S311
    everyone = range(devices)
    small = tuple(sorted(dice.sample(everyone, max(1, devices // 5))))
    stretches = DAYS * wakes

    def when(first: float, last: float) -> float:
        """A moment between two days of the week."""
        return dice.uniform(first, last) * wakes * wake_s

    def some(share: float, of: Sequence[int] = everyone) -> tuple[int, ...]:
        return tuple(sorted(dice.sample(of, max(1, int(len(of) * share)))))

    deeds = [
        Deed(at_s=(number + 1) * wake_s, do="sleep", value=DAY_S / wakes - wake_s) for number in range(stretches - 1)
    ]
    for day in map(float, range(DAYS)):
        deeds += _lasting("cut", when(day, day + 0.9), dice.uniform(0.5, 1.6) * wake_s, some(0.25))
        deeds += [Deed(at_s=when(day, day + 0.9), do="kill", devices=some(0.1))]
        deeds += [Deed(at_s=when(day, day + 0.9), do="forget", devices=some(0.2))]
    for day in (1.2, 3.2, 5.0):
        full = some(0.7, small)
        begins, lasts = when(day, day + 0.5), dice.uniform(0.8, 1.5) * wake_s
        deeds += _lasting("fill", begins, lasts, full)
        deeds += [Deed(at_s=begins + lasts / 2, do="kill", devices=full[:1])]
    for day in (0.5, 1.6, 3.6):
        deeds += _lasting("leap", when(day, day + 0.3), dice.uniform(0.8, 1.6) * wake_s, some(0.1), AHEAD_S)
    unset = some(0.05)
    begins = when(4.0, 4.5)
    deeds += _lasting("leap", begins, wake_s, unset, BEHIND_S)
    deeds += [Deed(at_s=begins + 0.3, do="kill", devices=unset)]
    begins = when(1.5, 1.6)
    deeds += [Deed(at_s=begins, do="rollout")]
    # Those who are asked for a new version while they cannot take it: no room, or a clock by which all has expired.
    deeds += _lasting("fill", begins - 0.2 * wake_s, 3.0 * wake_s, some(0.5, small))
    deeds += _lasting("leap", begins - 0.2 * wake_s, 3.0 * wake_s, some(0.2), AHEAD_S)
    for day in (1.8, 4.6):
        deeds += [Deed(at_s=when(day, day + 0.4), do="coordinator-kill")]
    for day in (1.0, 2.4, 5.4):
        deeds += _lasting("broker-stop", when(day, day + 0.3), dice.uniform(0.2, 0.5) * wake_s, ())
    # While the broker is well and the coordinator too, so that it is the evening's own faults that the round meets.
    deeds += [Deed(at_s=when(3.05, 3.15), do="round")]
    seconds = stretches * wake_s
    return Week(
        deeds=tuple(sorted((deed for deed in deeds if deed.at_s < seconds), key=lambda deed: deed.at_s)),
        roads=tuple(_road(dice) for _ in everyone),
        small_disks=small,
        seconds=seconds,
        evening=_evening(Random(f"{seed}:evening"), devices),  # noqa: S311
    )


def _evening(dice: Random, devices: int) -> Evening:
    learners = dice.sample(range(devices), min(devices, max(4, devices // 3)))
    cut_s = dice.uniform(0.0, 6.0)
    return Evening(
        learners=tuple(sorted(learners)),
        cut=tuple(sorted(learners[: max(1, len(learners) // 4)])),
        cut_s=cut_s,
        join_s=cut_s + dice.uniform(8.0, 25.0),
        kill_s=dice.uniform(1.0, 14.0),
    )


def _lasting(do: Do, at_s: float, lasts_s: float, devices: tuple[int, ...], value: float = 0.0) -> list[Deed]:
    end = Deed(at_s=at_s + lasts_s, do=ENDS[do], devices=devices)
    return [Deed(at_s=at_s, do=do, devices=devices, value=value), end]


def _road(dice: Random) -> Road:
    kinds: tuple[Callable[[], Road], ...] = (
        lambda: Road(delay_s=0.002),
        lambda: Road(delay_s=dice.uniform(0.02, 0.08), jitter_s=0.03, loss=dice.uniform(0.01, 0.04)),
        lambda: Road(delay_s=dice.uniform(0.1, 0.25), jitter_s=0.1, bytes_s=dice.uniform(12_000, 30_000)),
        lambda: Road(delay_s=0.03, loss=0.005, nat_s=8.0),
    )
    return dice.choice(kinds)()
