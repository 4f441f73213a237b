"""Spells: the hours from one sitting to the next, as rows for a hazard model."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.datasets import Rating
from models.errors import DatasetInvalid

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
HORIZON_H = 168
"""A spell that nothing ends is cut here."""
SITTING_S = 1_800
"""Events nearer than this belong to one sitting."""
COUNT_DAYS = (1, 7, 28)
ROWS_MAX = 4_000_000
_SINCE_EDGES_H = np.array([1, 2, 4, 8, 16, 24, 36, 48, 72, 96, 120, 144])


class Spells(Struct, frozen=True, kw_only=True):
    """One row a person and hour at risk."""

    features: F32
    """(n, columns): hour sin, cos, weekday sin, cos, seconds since the newest event, events in each of COUNT_DAYS."""
    label: F32
    """(n,), 1 in the hour in which the person acts."""
    person: I64
    """(n,), place of the person in the sorted ids."""
    hour: I64
    """(n,), 0 to 23."""
    at: NDArray[np.float64]
    """(n,), when the hour begins, unix seconds."""

    def of(self, some: NDArray[np.bool_]) -> "Spells":
        """The rows that are true in `some`."""
        return Spells(
            features=self.features[some],
            label=self.label[some],
            person=self.person[some],
            hour=self.hour[some],
            at=self.at[some],
        )

    def since_bin(self) -> I64:
        """(n,), which of some spans the time since the newest event lies in, up to HORIZON_H."""
        return np.asarray(np.digitize(self.features[:, 4] / 3_600.0, _SINCE_EDGES_H), np.int64)


def of_ratings(rows: Sequence[Rating]) -> Spells:
    """The spells of everybody in the file, each hour up to the next sitting, the horizon or the end of the file.

    Raises:
        DatasetInvalid: no interactions, or more rows than fit.
    """
    end = max((row.time for row in rows), default=0.0)
    by_user: dict[str, list[float]] = {}
    for row in rows:
        by_user.setdefault(row.user, []).append(row.time)
    parts = [_person(index, np.sort(np.array(by_user[user])), end) for index, user in enumerate(sorted(by_user))]
    if not 0 < sum(1 + len(part[1]) for part in parts) <= ROWS_MAX:
        raise DatasetInvalid(f"nobody, or more than {ROWS_MAX} person-hours", hint="give fewer people, or some")
    features, label, person, hour, at = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Spells(features=features, label=label, person=person, hour=hour, at=at)


def _person(index: int, times: NDArray[np.float64], end: float) -> tuple[F32, F32, I64, I64, NDArray[np.float64]]:
    gap = np.diff(times)
    last = np.append(np.flatnonzero(gap > SITTING_S), len(times) - 1)  # newest event of each sitting
    asked: list[float] = []
    since: list[float] = []
    label: list[float] = []
    for at in last:
        start = times[at]
        back = times[at + 1] - start if at + 1 < len(times) else np.inf
        hours = int(min(HORIZON_H, np.ceil(min(back, end - start) / 3_600.0)))
        for k in range(hours):
            asked.append(start + 3_600.0 * k)
            since.append(3_600.0 * k)
            label.append(float(k == hours - 1 and back <= 3_600.0 * hours))
    now = np.array(asked)
    local = [datetime.fromtimestamp(t, UTC) for t in now]
    hour = np.array([moment.hour for moment in local], np.int64)
    weekday = np.array([moment.weekday() for moment in local], np.int64)
    counts = [
        np.searchsorted(times, now, "right") - np.searchsorted(times, now - 86_400.0 * days, "right")
        for days in COUNT_DAYS
    ]
    turn = 2.0 * np.pi * hour / 24.0, 2.0 * np.pi * weekday / 7.0
    columns = [np.sin(turn[0]), np.cos(turn[0]), np.sin(turn[1]), np.cos(turn[1]), np.array(since), *counts]
    return (
        np.column_stack(columns).astype(np.float32),
        np.array(label, np.float32),
        np.full(len(now), index, np.int64),
        hour,
        now,
    )


def rate_of(group: I64, label: F32, prior: float = 200.0) -> NDArray[np.float64]:
    """Hazard of each group 0, 1, …, pulled to the overall one by `prior` person-hours."""
    size = max(int(group.max()) + 1, 24)
    hits, shown = np.bincount(group, label, size), np.bincount(group, minlength=size)
    return np.asarray((hits + prior * label.mean()) / (shown + prior))


def losses(probability: NDArray[np.floating], label: F32) -> NDArray[np.float64]:
    """Negative log likelihood of each row, nats."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1.0 - 1e-7)
    return np.asarray(-(label * np.log(p) + (1.0 - label) * np.log1p(-p)))


def interval_by_person(value: NDArray[np.float64], person: I64, seed: int, samples: int = 400) -> tuple[float, float]:
    """95 % bootstrap interval of the mean row, with people drawn, not rows: a person's hours hang together."""
    _, which = np.unique(person, return_inverse=True)
    total, count = np.bincount(which, value), np.bincount(which)
    drawn = np.random.default_rng(seed).integers(0, len(total), (samples, len(total)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)
