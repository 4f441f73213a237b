"""What a fleet's devices counted, added up: each report adds what is new in it since the last one."""

from collections.abc import Mapping

from msgspec import Struct, structs

from firmware_configs.messages import Sums, Tally


class Earned(Struct, frozen=True, kw_only=True):
    """Rewards: how many, their sum, the sum of their squares."""

    rewards: int = 0
    reward: float = 0.0
    squares: float = 0.0

    def with_more(self, tally: Tally) -> "Earned":
        """And these."""
        return Earned(
            rewards=self.rewards + tally.rewards,
            reward=self.reward + tally.reward,
            squares=self.squares + tally.squares,
        )

    @property
    def triple(self) -> tuple[float, float, float]:
        """As the confidence sequences take them."""
        return float(self.rewards), self.reward, self.squares

    @property
    def mean(self) -> float:
        """0.0 without rewards."""
        return self.reward / self.rewards if self.rewards else 0.0


class Served(Struct, frozen=True, kw_only=True):
    """Decisions and calls of one version."""

    decisions: int = 0
    errors: int = 0
    calls: dict[int, int] = {}
    """Bucket → calls, as in `firmware_configs.histogram`."""

    def with_more(self, tally: Tally) -> "Served":
        """And these."""
        return Served(
            decisions=self.decisions + tally.decisions,
            errors=self.errors + tally.errors,
            calls=_merged(self.calls, tally.calls),
        )


class Pair(Struct, frozen=True, kw_only=True):
    """Rewards under both versions."""

    new: Earned = Earned()
    old: Earned = Earned()


class Band(Struct, frozen=True, kw_only=True):
    """Calls and decisions of both versions at one load."""

    new: Served = Served()
    old: Served = Served()


class Pools(Struct, frozen=True, kw_only=True):
    """Everything that the guards look at."""

    bands: dict[int, Band] = {}
    """Number of the load's band, from 0 → what was counted at such a load."""
    earned: Pair = Pair()
    groups: dict[str, Pair] = {}
    compared: int = 0
    agreed: int = 0

    @property
    def samples(self) -> int:
        """How much there is; whenever it rises, the guards have something new to look at."""
        served = sum(b.new.decisions + sum(b.new.calls.values()) for b in self.bands.values())
        return served + self.earned.new.rewards + self.earned.old.rewards + self.compared


def with_more(pools: Pools, more: Sums, band: int, groups: tuple[str, ...]) -> Pools:
    """The pools and what one device counted since its last report.

    Args:
        band: number of the load's band in which it counted.
        groups: that the device is in.
    """
    held = pools.bands.get(band, Band())
    both = Band(new=held.new.with_more(more.new), old=held.old.with_more(more.old))
    named = {name: _paired(pools.groups.get(name, Pair()), more) for name in groups}
    return Pools(
        bands={**pools.bands, band: both},
        earned=_paired(pools.earned, more),
        groups={**pools.groups, **named} if named else pools.groups,
        compared=pools.compared + more.compared,
        agreed=pools.agreed + more.agreed,
    )


def since(sums: Sums, before: Sums | None, *, same_stage: bool) -> Sums:
    """What a device counted between two reports.

    A new stage counts the new version from nothing again, and the old one's decisions; its calls and rewards go on. A
    number that fell although nothing changed began again (a device that lost its memory). What cannot be, such as
    rewards above 1, is cut down: one device that is mistaken must not spoil the sums of all.
    """
    if before is None:
        before = Sums()
    old = before.old if same_stage else structs.replace(before.old, decisions=0, errors=0)
    compared = _rest(sums.compared, before.compared if same_stage else 0)
    return Sums(
        new=_sound(_less(sums.new, before.new if same_stage else Tally())),
        old=_sound(_less(sums.old, old)),
        compared=compared,
        agreed=min(_rest(sums.agreed, before.agreed if same_stage else 0), compared),
    )


def _less(tally: Tally, before: Tally) -> Tally:
    if tally.rewards < before.rewards or sum(tally.calls.values()) < sum(before.calls.values()):
        before = Tally()
    return Tally(
        decisions=_rest(tally.decisions, before.decisions),
        errors=_rest(tally.errors, before.errors),
        calls={n: more for n, count in tally.calls.items() if (more := _rest(count, before.calls.get(n, 0)))},
        rewards=tally.rewards - before.rewards,
        reward=tally.reward - before.reward,
        squares=tally.squares - before.squares,
    )


def _rest(now: int, before: int) -> int:
    return max(0, now - before if now >= before else now)


def _sound(tally: Tally) -> Tally:
    rewards = max(0, tally.rewards)
    reward = min(max(tally.reward, 0.0), float(rewards))
    return structs.replace(
        tally,
        # A call that fails makes no decision of its own, so there may be more errors than decisions; not by much.
        errors=min(tally.errors, 2 * tally.decisions + 2),
        calls={min(max(number, 0), 255): max(0, count) for number, count in tally.calls.items()},
        rewards=rewards,
        reward=reward,
        squares=min(max(tally.squares, 0.0), reward),
    )


def _paired(held: Pair, more: Sums) -> Pair:
    if not (more.new.rewards or more.old.rewards):
        return held
    return Pair(new=held.new.with_more(more.new), old=held.old.with_more(more.old))


def _merged(held: Mapping[int, int], more: Mapping[int, int]) -> dict[int, int]:
    if not more:
        return dict(held)
    return {number: held.get(number, 0) + more.get(number, 0) for number in {*held, *more}}
