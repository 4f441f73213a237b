"""What is decided when the model cannot: cached, then popular, then rules alone, then the placement's default."""

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.decide.decision import Fallback
from edge_agent.decide.verdict import Verdict


def step_down(
    cached: str | None,
    popular: Sequence[str],
    items: Sequence[str],
    index: Mapping[str, int],
    verdict: Verdict,
    default: str,
) -> tuple[str, Fallback]:
    """The first rung of the ladder that holds.

    Args:
        cached: the newest item decided for this subject and placement, while it was still fresh.
        popular: what earned the most here, best first.
        items: the candidates.
        index: candidate → its place.
        verdict: what the rules say; nothing ineligible is ever taken.
        default: the placement's fallback; empty: none.
    Returns:
        The item (empty: no decision) and the rung.
    """
    if cached is not None and _allowed(cached, index, verdict):
        return cached, "cached"
    liked = next((item for item in popular if _allowed(item, index, verdict)), None)
    if liked is not None:
        return liked, "popular"
    boosted = verdict.boost * verdict.eligible
    if len(items) and float(boosted.max(initial=0.0)) > 0.0:
        return items[int(np.argmax(boosted))], "rules"
    if default and _allowed(default, index, verdict):
        return default, "default"
    return "", "default"


def _allowed(item: str, index: Mapping[str, int], verdict: Verdict) -> bool:
    at = index.get(item)
    return at is not None and bool(verdict.eligible[at])
