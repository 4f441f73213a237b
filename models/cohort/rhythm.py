"""When people act: how much, in how many sittings, at which hours, with which gaps; by kind of person.

Everything is a histogram over a whole kind, and a kind has many people, so no person's own times are kept. Kinds are
found by k-means (scikit-learn) on how much people do, in how many sittings, and at what hour.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.cohort.people import People
from models.cohort.tastes import missing

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SITTING_S = 3_600.0
"""A longer gap begins a new sitting."""
KIND_PEOPLE_MIN = 20
"""A kind with fewer is joined with others."""
COUNT_BINS, GAP_BINS, DAY_BINS, WEEKS_MAX = 24, 13, 12, 520
DAY_S, HOUR_S, WEEK_S = 86_400.0, 3_600.0, 604_800.0


class Rhythm(Struct, frozen=True, kw_only=True):
    """Histograms; each row is a kind and sums to 1."""

    share: F64
    """(kinds,) of the people."""
    count: F64
    """(kinds, COUNT_BINS) of interactions a person; bin b is [2^(b/2), 2^((b+1)/2))."""
    sittings: F64
    """(kinds, COUNT_BINS) of sittings a person, the same bins."""
    gap: F64
    """(kinds, GAP_BINS) of seconds between interactions of a sitting; bin 0 is 0 s, bin b is [2^(b-1), 2^b)."""
    pause: F64
    """(kinds, DAY_BINS) of hours between sittings; bin b is [2^b, 2^(b+1))."""
    hour: F64
    """(kinds, 24) of the first interaction of a sitting, UTC."""
    weekday: F64
    """(kinds, 7), 0 is Monday, UTC."""
    week: F64
    """(weeks,) in which people begin."""
    begins: float
    """Unix seconds of a Monday at or before the first interaction."""


def sittings_of(times: F64) -> list[F64]:
    """One person's times, parted where the gap is longer than `SITTING_S`."""
    return np.split(times, np.flatnonzero(np.diff(times) > SITTING_S) + 1)


def kinds_of(people: People, wanted: int, seed: int) -> I64:
    """Each person's kind, (people,), 0 … kinds - 1; every kind has `KIND_PEOPLE_MIN` people, or there is one.

    Raises:
        BuildUnavailable: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise missing() from error
    rows = []
    for times in people.times:
        sittings = sittings_of(times)
        angle = 2.0 * np.pi * (np.array([one[0] for one in sittings]) % DAY_S) / DAY_S
        rows.append([np.log(len(times)), np.log(len(sittings)), np.cos(angle).mean(), np.sin(angle).mean()])
    features = np.array(rows, np.float64)
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    for kinds in range(min(wanted, len(rows) // KIND_PEOPLE_MIN), 1, -1):
        found = np.asarray(KMeans(kinds, n_init=5, random_state=seed).fit_predict(features), np.int64)
        if np.bincount(found, minlength=kinds).min() >= KIND_PEOPLE_MIN:
            return found
    return np.zeros(len(rows), np.int64)


def fit(people: People, kind: I64, kinds: int) -> Rhythm:
    """Histograms of everybody's times, by kind."""
    first = min(float(times[0]) for times in people.times)
    # The first of January 1970 was a Thursday.
    begins = np.floor((first - 4 * DAY_S) / WEEK_S) * WEEK_S + 4 * DAY_S
    last = max(float(times[-1]) for times in people.times)
    weeks = int(min(WEEKS_MAX, (last - begins) // WEEK_S + 1))
    tables = {
        "count": np.zeros((kinds, COUNT_BINS)),
        "sittings": np.zeros((kinds, COUNT_BINS)),
        "gap": np.zeros((kinds, GAP_BINS)),
        "pause": np.zeros((kinds, DAY_BINS)),
        "hour": np.zeros((kinds, 24)),
        "weekday": np.zeros((kinds, 7)),
    }
    week = np.zeros(weeks)
    for one, times in zip(kind.tolist(), people.times, strict=True):
        sittings = sittings_of(times)
        tables["count"][one, count_bin(len(times))] += 1.0
        tables["sittings"][one, count_bin(len(sittings))] += 1.0
        week[min(weeks - 1, int((times[0] - begins) // WEEK_S))] += 1.0
        for at, sitting in enumerate(sittings):
            # A kind's histogram has one vote a person, lest the busiest speak for all.
            vote = 1.0 / len(sittings)
            tables["hour"][one, int(sitting[0] % DAY_S // HOUR_S)] += vote
            tables["weekday"][one, int((sitting[0] - begins) % WEEK_S // DAY_S)] += vote
            np.add.at(tables["gap"][one], gap_bins(np.diff(sitting)), 1.0 / len(times))
            if at:
                hours = max(1.0, (sitting[0] - sittings[at - 1][-1]) / HOUR_S)
                tables["pause"][one, min(DAY_BINS - 1, int(np.log2(hours)))] += 1.0 / (len(sittings) - 1)
    return Rhythm(
        share=np.bincount(kind, minlength=kinds) / len(kind),
        week=_shares(week[None])[0],
        begins=float(begins),
        **{name: _shares(table) for name, table in tables.items()},
    )


def count_bin(count: int) -> int:
    """The bin of a count ≥ 1."""
    return min(COUNT_BINS - 1, int(2.0 * np.log2(max(1, count)) + 1e-9))


def gap_bins(gaps: F64) -> I64:
    """The bins of gaps in seconds, ≥ 0."""
    bins = np.floor(np.log2(np.maximum(gaps, 1.0))).astype(np.int64) + 1
    return np.where(gaps < 1.0, 0, np.minimum(bins, GAP_BINS - 1))


def draw_count(shares: F64, dice: np.random.Generator) -> int:
    """A count from a row of `count` or `sittings`."""
    at = int(dice.choice(COUNT_BINS, p=shares))
    low = int(np.ceil(2.0 ** (at / 2.0) - 1e-9))
    high = int(np.ceil(2.0 ** ((at + 1) / 2.0) - 1e-9))
    return int(dice.integers(low, max(low + 1, high)))


def draw_times(rhythm: Rhythm, kind: int, count: int, dice: np.random.Generator) -> F64:
    """Times of one new person's interactions, unix seconds, rising, (count,)."""
    sittings = min(count, draw_count(rhythm.sittings[kind], dice))
    # Sittings differ much in length: shares are uniform on the simplex.
    extra = dice.multinomial(count - sittings, dice.dirichlet(np.ones(sittings)))
    now = _begin(rhythm, kind, dice)
    found: list[F64] = []
    for length in (extra + 1).tolist():
        if found:
            now = _next(rhythm, kind, float(found[-1][-1]), dice)
        at = dice.choice(GAP_BINS, size=length - 1, p=rhythm.gap[kind])
        low = np.where(at > 0, 2.0 ** (at - 1.0), 0.0)
        gaps = np.floor(low + dice.random(length - 1) * low)
        found.append(now + np.concatenate([[0.0], np.cumsum(np.minimum(gaps, SITTING_S))]))
    return np.concatenate(found)


def _begin(rhythm: Rhythm, kind: int, dice: np.random.Generator) -> float:
    week = int(dice.choice(len(rhythm.week), p=rhythm.week))
    day = int(dice.choice(7, p=rhythm.weekday[kind]))
    return rhythm.begins + week * WEEK_S + day * DAY_S + _within_day(rhythm, kind, dice)


def _next(rhythm: Rhythm, kind: int, last: float, dice: np.random.Generator) -> float:
    """When the next sitting begins: after a pause, moved to an hour of the day at which people begin."""
    at = int(dice.choice(DAY_BINS, p=rhythm.pause[kind]))
    pause = 2.0**at * (1.0 + dice.random()) * HOUR_S
    raw = last + pause
    if pause < DAY_S / 2.0:
        return float(np.floor(raw))
    moved = np.floor(raw / DAY_S) * DAY_S + _within_day(rhythm, kind, dice)
    return float(moved if moved > last + SITTING_S else moved + DAY_S)


def _within_day(rhythm: Rhythm, kind: int, dice: np.random.Generator) -> float:
    return float(int(dice.choice(24, p=rhythm.hour[kind])) * HOUR_S + int(dice.integers(3_600)))


def _shares(table: F64) -> F64:
    """Rows that sum to 1; a row of which nothing is known is even."""
    total = table.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0.0, table / np.maximum(total, 1e-12), 1.0 / table.shape[1]), np.float64)
