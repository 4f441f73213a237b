"""What was decided or liked before, and may be decided again: standing choices and popular items."""

import math
from typing import TYPE_CHECKING

import msgspec

from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail
from edge_agent.limits import POPULAR_MAX, SUBJECTS_MAX
from edge_agent.memory.subjects import Kept
from edge_agent.placements import CompiledPlacement, Occasion, Standing

if TYPE_CHECKING:
    from edge_agent.agent import Agent

Liked = dict[str, tuple[float, int]]
"""Item → (decayed sum of rewards, unix ms as of which)."""

_standing = msgspec.msgpack.Decoder(Standing)
_liked = msgspec.msgpack.Decoder(Liked)


class Caches:
    """Standing choices by placement and subject, popular items by placement. Both are stored with what decides."""

    def __init__(self, agent: "Agent") -> None:
        recall = agent.doors.recall
        self._agent = agent
        self._standing: Kept[Standing] = Kept(
            lambda key: recall("standing", key), _standing.decode, lambda: Standing((), 0, "", {}), SUBJECTS_MAX
        )
        self._liked: Kept[Liked] = Kept(
            lambda key: recall("popular", key), _liked.decode, dict, len(agent.profile.placement) + 1
        )

    def trim(self) -> None:
        """Between steps."""
        self._standing.trim()

    def offer(self, place: CompiledPlacement, occasion: Occasion) -> None:
        """Lay before the placement what stands and what is popular."""
        if place.placement.stability is not None:
            standing = self._standing.get(f"{place.name}\x00{occasion.subject}")
            occasion.standing = standing if standing.items else None
        popular = place.placement.popular
        if popular is not None:
            liked = self._liked.get(place.name)
            occasion.popular = lambda: ranked(liked, popular.half_life_s, occasion.now_ms)

    def decided(self, place: CompiledPlacement, trail: Trail, retention_ms: int, batch: Batch) -> None:
        """A policy's choice stands from now on; what the ladder took does not."""
        if place.placement.stability is None or trail.fallback:
            return
        key = f"{place.name}\x00{trail.subject}"
        standing = Standing(trail.items, trail.decided_ms, trail.arm, dict(trail.bundles))
        self._standing.replace(key, standing)
        batch.put("standing", key, msgspec.msgpack.encode(standing), batch.now_ms + retention_ms)

    def rewarded(self, placement: str, item: str, value: float, batch: Batch) -> None:
        """An item was liked."""
        popular = self._agent.placements[placement].placement.popular
        if popular is None or value <= 0.0:
            return
        liked = self._liked.get(placement)
        add(liked, item, value, popular.half_life_s, batch.now_ms)
        batch.touch("popular", placement, lambda: msgspec.msgpack.encode(liked))


def add(liked: Liked, item: str, value: float, half_life_s: float, now_ms: int) -> None:
    """Count a reward; when there are too many items, the least liked goes."""
    held, as_of_ms = liked.get(item, (0.0, now_ms))
    liked[item] = (_decayed(held, as_of_ms, half_life_s, now_ms) + value, now_ms)
    if len(liked) > POPULAR_MAX:
        least = min(liked, key=lambda name: (_decayed(*liked[name], half_life_s, now_ms), name))
        del liked[least]


def ranked(liked: Liked, half_life_s: float, now_ms: int) -> list[str]:
    """The items, most liked first; of equals, the first by name."""
    return sorted(liked, key=lambda name: (-_decayed(*liked[name], half_life_s, now_ms), name))


def _decayed(value: float, as_of_ms: int, half_life_s: float, now_ms: int) -> float:
    # A clock that was set back makes nothing grow.
    return value * math.exp2(-max(0, now_ms - as_of_ms) / 1_000 / half_life_s)
