"""A histogram of times with fixed buckets: bounded, and two are merged by adding, also over a fleet.

Bounds rise by the fourth root of 2, so a quantile is told at most 19 % too high; from 1/16 ms to 99 days.
"""

from bisect import bisect_left
from collections.abc import Mapping

from msgspec import Struct

PER_OCTAVE = 4
LEAST_OCTAVE, MOST_OCTAVE = -4, 33
BOUNDS_MS = tuple(2.0 ** (LEAST_OCTAVE + n / PER_OCTAVE) for n in range((MOST_OCTAVE - LEAST_OCTAVE) * PER_OCTAVE + 1))
"""Largest time of each bucket, ms; what is longer counts in the last."""
_LAST = len(BOUNDS_MS) - 1


class Histogram(Struct, frozen=True, kw_only=True):
    """Times as they are told."""

    count: int
    p50_ms: float
    p99_ms: float
    buckets: dict[int, int] = {}
    """Number of the bucket → times in it; bucket n ends at 2^(n/4 - 4) ms. Empty buckets are left out."""


def bucket_of(ms: float) -> int:
    """The number of a time's bucket; what is negative, by clocks that disagree, counts as nothing."""
    return min(bisect_left(BOUNDS_MS, ms), _LAST)


def add(histograms: dict[str, list[int]], name: str, ms: float) -> None:
    """One more time under a name; each name's counts by bucket are made at its first."""
    buckets = histograms.get(name)
    if buckets is None:
        buckets = histograms[name] = [0] * len(BOUNDS_MS)
    buckets[bucket_of(ms)] += 1


def told_each(histograms: Mapping[str, list[int]]) -> dict[str, Histogram]:
    """Each name's histogram."""
    return {name: told(dict(enumerate(buckets))) for name, buckets in histograms.items()}


def told(buckets: Mapping[int, int]) -> Histogram:
    """A histogram with its quantiles."""
    filled = {number: count for number, count in sorted(buckets.items()) if count}
    return Histogram(
        count=sum(filled.values()), p50_ms=quantile(filled, 0.5), p99_ms=quantile(filled, 0.99), buckets=filled
    )


def quantile(buckets: Mapping[int, int], share: float) -> float:
    """The upper end of the bucket in which the quantile lies, ms; 0.0 without times."""
    left = share * sum(buckets.values())
    bound = 0.0
    for number in sorted(buckets):
        bound = BOUNDS_MS[min(max(number, 0), _LAST)]
        left -= buckets[number]
        if left <= 0:
            break
    return bound


def merged(first: Histogram, second: Histogram) -> Histogram:
    """Both together."""
    numbers = first.buckets.keys() | second.buckets.keys()
    return told({n: first.buckets.get(n, 0) + second.buckets.get(n, 0) for n in numbers})
