"""Which channel brought an outcome about, from counts of paths over a fleet: Shapley values, Markov removal effects.

Devices tell how often a sequence of channels (or placements) led to an outcome, and how often to none; nothing of any
person. A path that fewer than k devices have had is left out.

Sources: Shapley 1953, "A Value for n-person Games"; Castro, Gomez and Tejada 2009, "Polynomial calculation of the
Shapley value based on sampling"; Anderl et al. 2016, "Mapping the customer journey: Lessons learned from graph-based
online attribution modeling".
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import factorial, isfinite
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.errors import AttributionRefused
from firmware_configs.measured import Measured, PathCount

EXACT_MAX = 12
"""Channels up to which every coalition is looked at; above, permutations are drawn."""
CHANNELS_MAX = 60
COUNT_MAX = 10**9
"""A device that claims more of a path is not believed."""
RARE = "…"
"""The path under which devices count what they have no room for."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Game = Literal["rate", "conversions"]
Path = tuple[str, ...]


class Count(Struct, frozen=True, kw_only=True):
    """One path over the fleet."""

    conversions: float
    nulls: float
    value: float
    devices: int


class Evidence(Struct, frozen=True, kw_only=True):
    """What may be read of a fleet's paths of one outcome."""

    outcome: str
    devices: int
    k_min: int
    paths: dict[Path, Count]
    rare_conversions: float
    """Conversions of paths that too few devices had; in no figure."""


class Credit(Struct, frozen=True, kw_only=True):
    """One channel's part."""

    channel: str
    conversions: float
    """Of the outcomes, in their number."""
    share: float
    """Of all that are credited."""
    standard_error: float = 0.0
    """Of `conversions`, where permutations were drawn; 0: exact."""


class Attributed(Struct, frozen=True, kw_only=True):
    """A whole attribution."""

    model: str
    credits: list[Credit]
    base: float
    """Conversions that no channel is needed for."""


def gathered(reports: Iterable[Measured], outcome: str, k_min: int = 1) -> Evidence:
    """Add up the newest report of each device.

    Args:
        k_min: devices that a path must have come from; what the devices themselves demand holds in any case.
    Raises:
        AttributionRefused: too few devices tell of this outcome, or what they tell is no count.
    """
    newest: dict[str, Measured] = {}
    for report in reports:
        held = newest.get(report.device)
        if held is None or report.time_ms >= held.time_ms:
            newest[report.device] = report
    told = [report for report in newest.values() if any(paths.outcome == outcome for paths in report.paths)]
    least = max([k_min, *(report.k_min for report in told)])
    if len(told) < least:
        raise AttributionRefused(
            f"{len(told)} devices tell of `{outcome}`, and {least} must be added up before anyone reads the result",
            hint="wait for more devices; does their profile declare `paths` and an [[egress]] of kind `metric`?",
        )
    sums: dict[Path, list[float]] = {}
    for report in told:
        for count in [one for paths in report.paths if paths.outcome == outcome for one in paths.paths]:
            row = sums.setdefault(_checked(count, report.device).path, [0.0, 0.0, 0.0, 0.0])
            for at, more in enumerate((count.conversions, count.nulls, count.value, 1)):
                row[at] += more
    kept = {path: row for path, row in sums.items() if row[3] >= least and path != (RARE,)}
    return Evidence(
        outcome=outcome,
        devices=len(told),
        k_min=least,
        paths={
            path: Count(conversions=row[0], nulls=row[1], value=row[2], devices=int(row[3]))
            for path, row in sorted(kept.items())
        },
        rare_conversions=sum(row[0] for path, row in sums.items() if path not in kept),
    )


def _checked(count: PathCount, device: str) -> PathCount:
    numbers = (count.conversions, count.nulls, count.value)
    if not all(isfinite(number) and 0 <= number <= COUNT_MAX for number in numbers):
        raise AttributionRefused(f"{device} tells of a path {numbers} times", hint="leave that device out")
    return count


# ---- Shapley -----------------------------------------------------------------------------------------------


class Coalitions:
    """The game that channels play: what a set of them is worth, from the paths that need no other."""

    def __init__(self, paths: Mapping[Path, Count], game: Game) -> None:
        """Set up.

        Args:
            game: `conversions`: a set is worth the conversions of the paths that it covers. `rate`: it is worth the
                share of covered paths that convert, times the number of all paths.
        Raises:
            AttributionRefused: there are more channels than an integer has bits.
        """
        self.channels = tuple(sorted({step for path in paths for step in path}))
        if len(self.channels) > CHANNELS_MAX:
            raise AttributionRefused(f"{len(self.channels)} channels", hint=f"at most {CHANNELS_MAX} are attributed")
        index = {channel: 1 << n for n, channel in enumerate(self.channels)}
        sets: dict[int, list[float]] = {}
        for path, count in paths.items():
            row = sets.setdefault(sum(index[step] for step in set(path)), [0.0, 0.0])
            row[0] += count.conversions
            row[1] += count.conversions + count.nulls
        self._sets = np.array(list(sets), np.int64)
        self._rows = np.array(list(sets.values()), np.float64).reshape(-1, 2)
        self._all = float(self._rows[:, 1].sum())
        self._game = game

    def worth(self, coalition: int) -> float:
        """Of the channels whose bits are set."""
        covered = self._rows[(self._sets & ~np.int64(coalition)) == 0]
        conversions, paths = covered.sum(axis=0) if len(covered) else (0.0, 0.0)
        if self._game == "conversions":
            return float(conversions)
        return float(conversions / paths * self._all) if paths else 0.0


def shapley(
    paths: Mapping[Path, Count], *, game: Game = "rate", permutations: int = 2_000, seed: int = 0
) -> Attributed:
    """Shapley values: exact up to `EXACT_MAX` channels, from drawn orders above, with their standard errors.

    Args:
        permutations: pairs of an order and its reverse that are drawn.
    """
    coalitions = Coalitions(paths, game)
    base = coalitions.worth(0)
    if len(coalitions.channels) <= EXACT_MAX:
        values = exact([coalitions.worth(mask) for mask in range(1 << len(coalitions.channels))])
        errors = np.zeros(len(values))
    else:
        values, errors = sampled(coalitions, permutations, np.random.default_rng(seed))
    return Attributed(model=f"shapley ({game})", credits=_credits(coalitions.channels, values, errors), base=base)


def exact(worth: Sequence[float]) -> F64:
    """Shapley values of n players.

    Args:
        worth: of every coalition, by its bits; 2^n numbers.
    Returns:
        float64 (n,); they add up to the worth of all less that of nobody.
    """
    value = np.asarray(worth, np.float64)
    players = len(value).bit_length() - 1
    masks = np.arange(len(value))
    sizes = np.array([int(mask).bit_count() for mask in masks])
    weights = np.array([factorial(k) * factorial(max(0, players - k - 1)) / factorial(players) for k in sizes])
    found = np.zeros(players)
    for player in range(players):
        without = masks[(masks >> player) & 1 == 0]
        found[player] = weights[without] @ (value[without | (1 << player)] - value[without])
    return found


def sampled(coalitions: Coalitions, pairs: int, dice: np.random.Generator) -> tuple[F64, F64]:
    """Shapley values from drawn orders, each with its reverse; float64 (n,) and their standard errors.

    They add up to the worth of all less that of nobody for every order, so however few are drawn.
    """
    players = len(coalitions.channels)
    held: dict[int, float] = {}

    def worth(mask: int) -> float:
        if mask not in held:
            held[mask] = coalitions.worth(mask)
        return held[mask]

    rows = np.zeros((pairs, players))
    for pair in range(pairs):
        order = dice.permutation(players)
        for one in (order, order[::-1]):
            mask, before = 0, worth(0)
            for player in one.tolist():
                mask |= 1 << player
                after = worth(mask)
                rows[pair, player] += (after - before) / 2.0
                before = after
        if len(held) > 1 << 20:
            held.clear()
    return rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(pairs) if pairs > 1 else np.full(players, np.inf)


# ---- Markov ------------------------------------------------------------------------------------------------


def markov(paths: Mapping[Path, Count]) -> Attributed:
    """Removal effects in a first-order chain start → channels → outcome or none, scaled to the conversions.

    A channel's effect is by how much the probability of the outcome falls when everything that leads to it leads to
    none instead.
    """
    channels = tuple(sorted({step for path in paths for step in path}))
    index = {channel: n for n, channel in enumerate(channels)}
    inner = np.zeros((len(channels), len(channels)))
    start, done = np.zeros(len(channels)), np.zeros(len(channels))
    ended, straight = np.zeros(len(channels)), 0.0
    for path, count in paths.items():
        times = count.conversions + count.nulls
        if not path:
            straight += count.conversions
            continue
        start[index[path[0]]] += times
        for one, other in pairwise(path):
            inner[index[one], index[other]] += times
        done[index[path[-1]]] += count.conversions
        ended[index[path[-1]]] += times
    leaving = inner.sum(axis=1) + ended
    leaving[leaving == 0.0] = 1.0
    step, finish = inner / leaving[:, None], done / leaving
    reached = _reached(step, finish, start)
    effects = np.array([reached - _reached_without(step, finish, start, n) for n in range(len(channels))])
    conversions = sum(count.conversions for count in paths.values()) - straight
    scale = conversions / effects.sum() if effects.sum() > 0.0 else 0.0
    values = np.maximum(effects, 0.0) * scale
    return Attributed(model="markov", credits=_credits(channels, values, np.zeros(len(channels))), base=straight)


def _reached(step: F64, finish: F64, start: F64) -> float:
    """How many of the starts come to the outcome."""
    if not len(start):
        return 0.0
    return float(start @ np.linalg.solve(np.eye(len(start)) - step, finish))


def _reached_without(step: F64, finish: F64, start: F64, channel: int) -> float:
    kept = np.arange(len(start)) != channel
    return _reached(step[np.ix_(kept, kept)], finish[kept], start[kept])


def _credits(channels: Sequence[str], values: F64, errors: F64) -> list[Credit]:
    total = float(values.sum())
    found = [
        Credit(
            channel=channel,
            conversions=float(value),
            share=float(value) / total if total else 0.0,
            standard_error=float(error),
        )
        for channel, value, error in zip(channels, values, errors, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.conversions, one.channel))
