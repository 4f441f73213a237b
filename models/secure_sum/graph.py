"""Who shares masks with whom: each member with a few others, in a ring that a public seed shuffles.

Source: Bell et al. 2020, sections 3.2 and 4: a shuffled Harary graph; a member's neighbours are its nearest on it.
"""

from collections.abc import Sequence
from functools import cache
from math import comb, log

import numpy as np
from msgspec import Struct

from models.errors import SecureSumFailed


class Plan(Struct, frozen=True, kw_only=True):
    """How many neighbours, and how many of them must answer."""

    degree: int
    """Neighbours of each member."""
    threshold: int
    """Of a member's neighbours, so many give a secret of its back."""


def plan(members: int, vanish: float, collude: float, failure: float = 1e-9) -> Plan:
    """The fewest neighbours with which a round of so many members fails, or lets anything out, at most so rarely.

    Args:
        members: n, at least 3.
        vanish: share of the members that may vanish at any stage.
        collude: share of the members that may work with the server.
        failure: probability that must not be exceeded, of a secret that cannot be recovered though no more vanish, of
            `threshold` colluding neighbours, or of honest members cut off from one another, each over all members.
    Raises:
        SecureSumFailed: no graph can bear so much.
    """
    if members < 3 or not 0.0 <= vanish < 1.0 or not 0.0 <= collude < 1.0:
        raise SecureSumFailed(f"{members} members cannot sum in secret", hint="at least 3, and shares below 1")
    lost, bad = int(vanish * members), int(collude * members)
    for degree in range(2, members - 1, 2):
        found = _threshold(members, degree, lost, bad, failure)
        if found is not None and _connected(members, degree, vanish + collude) <= failure:
            return Plan(degree=degree, threshold=found)
    others = members - 1  # everyone with everyone: nothing is left to chance
    if others - lost <= bad:
        raise SecureSumFailed(
            f"of {members} members {lost} may vanish and {bad} collude: nothing tells them apart",
            hint="smaller shares, or more members",
        )
    if 2 * (others - lost) <= others:  # a member refuses a threshold that two halves of its neighbours could reach
        raise SecureSumFailed(
            f"of {members} members {lost} may vanish: half of each one's neighbours would give its secrets back",
            hint="a smaller share that may vanish, or more members",
        )
    return Plan(degree=others, threshold=others - lost)


def neighbours(members: Sequence[int], degree: int, seed: int) -> dict[int, tuple[int, ...]]:
    """Each member's neighbours, sorted; being a neighbour is mutual.

    Args:
        members: ids.
        degree: even, or len(members) - 1.
        seed: public; every party draws the same graph from it.
    """
    ordered = sorted(members)
    count = len(ordered)
    if degree >= count - 1:
        return {one: tuple(other for other in ordered if other != one) for one in ordered}
    ring = [ordered[n] for n in np.random.default_rng(seed).permutation(count)]
    reach = degree // 2
    return {
        one: tuple(sorted(ring[(at + step) % count] for step in range(-reach, reach + 1) if step))
        for at, one in enumerate(ring)
    }


def _threshold(members: int, degree: int, lost: int, bad: int, failure: float) -> int | None:
    """The smallest threshold that colluders do not reach, if those who stay still do."""
    for threshold in range(degree // 2 + 1, degree + 1):
        if members * _at_least(members, bad, degree, threshold) > failure:
            continue
        stays = members * _at_least(members, lost, degree, degree - threshold + 1)
        return threshold if stays <= failure else None
    return None


@cache
def _at_least(members: int, marked: int, drawn: int, hits: int) -> float:
    """P(at least `hits` of `drawn` others are marked), of members - 1 others without replacement."""
    others = members - 1
    ways = sum(comb(marked, k) * comb(others - marked, drawn - k) for k in range(hits, min(marked, drawn) + 1))
    return ways / comb(others, drawn)


def _connected(members: int, degree: int, gone: float) -> float:
    """A bound on the probability that the honest who stay fall apart: degree / 2 in a row on the ring are gone."""
    if gone <= 0.0:
        return 0.0
    return float(np.exp(min(0.0, log(members) + degree / 2 * log(gone))))
