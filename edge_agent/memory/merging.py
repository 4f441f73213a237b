"""Several subjects' profiles read as one person's: nothing is changed in them, so they can be read apart again.

Each tracker's numbers are merged by what they mean, so that a person's row says what one profile would say that had
taken all of the events in. That is exact, but for float rounding of decaying sums, and but for sessions: there as far
as the two newest sessions of each subject reach. Where two subjects have an event of the same time, the first named
counts as the newer.
"""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence

from edge_agent.limits import WINDOW_BUCKETS
from edge_agent.memory.features import Features
from edge_agent.memory.layout import NEWEST, SESSION_SIZE, SESSIONS
from edge_agent.memory.profile import Profile
from edge_agent.memory.values import BETWEEN
from edge_agent.memory.windows import COMBINE
from edge_agent.memory.windows import SESSION_SIZE as AGGREGATE_SIZE
from models.spec import Count, Ewma, FeatureSpec, ItemSequence, Last, Mean, OneHot, TimeSince, Window

Rows = Sequence["array[float]"]
Combine = Callable[[float, float], float]


def merged(profiles: Sequence[Profile], features: Features) -> Profile:
    """One profile of several.

    Args:
        profiles: of the present layout, at least one.
        features: compiled for it; trackers that no feature needs come from the first profile.
    """
    first = profiles[0]
    whole = Profile(first.layout)
    whole.row, whole.texts = array("d", first.row), dict(first.texts)
    rows = [profile.row for profile in profiles]
    whole.row[NEWEST] = max(row[NEWEST] for row in rows)
    _sessions(whole.row, rows, SESSIONS, SESSION_SIZE, None)
    for key, spec in features.specs.items():
        at = first.layout.places[key][0]
        if isinstance(spec, ItemSequence):
            _sequence(whole, profiles, key, at, spec.length + 1)
        else:
            _merge(whole.row, rows, at, spec)
    return whole


def _merge(into: "array[float]", rows: Rows, at: int, spec: FeatureSpec) -> None:
    match spec:
        case Last() | OneHot():
            newest = max(rows, key=lambda row: row[at + 1])
            into[at : at + 2] = newest[at : at + 2]
        case TimeSince():
            into[at] = max(row[at] for row in rows)
        case Ewma(half_life_s=half_life_s):
            _ewma(into, rows, at, half_life_s * 1_000)
        case Count():
            _ring(into, rows, at, WINDOW_BUCKETS, None)
        case Mean():
            _ring(into, rows, at, WINDOW_BUCKETS, COMBINE["mean"])
        case Window(take=take, over="session"):
            _sessions(into, rows, at, AGGREGATE_SIZE, COMBINE[take])
        case Window(take=take, over=over):
            combine = None if take == "count" else COMBINE[take]
            _ring(into, rows, at, 2 if over == "tumbling" else WINDOW_BUCKETS, combine)
        case _:  # pragma: no cover
            raise TypeError(f"{spec!r} has no tracker to merge")


def _ewma(into: "array[float]", rows: Rows, at: int, half_life_ms: float) -> None:
    known = [row for row in rows if row[at + 1]]
    newest = max((row[at + 2] for row in known), default=0.0)
    rate = math.log(2) / half_life_ms
    fades = [math.exp(-rate * (newest - row[at + 2])) for row in known]
    into[at] = sum(row[at] * fade for row, fade in zip(known, fades, strict=True))
    into[at + 1] = sum(row[at + 1] * fade for row, fade in zip(known, fades, strict=True))
    into[at + 2] = newest


def _ring(into: "array[float]", rows: Rows, at: int, buckets: int, combine: Combine | None) -> None:
    """Rings of equal span are aligned to unix time: bucket by bucket, as far as the newest ring reaches."""
    width = 1 if combine is None else 2
    newest = int(max(row[at] for row in rows))
    into[at] = newest
    for bucket in range(newest - buckets + 1, newest + 1):
        slot = at + 1 + (bucket % buckets) * width
        held = [row for row in rows if row[at] - buckets < bucket <= row[at]]
        if combine is None:
            into[slot] = sum(row[slot] for row in held)
            continue
        counted = [row for row in held if row[slot + 1]]
        into[slot + 1] = sum(row[slot + 1] for row in counted)
        into[slot] = _combined([row[slot] for row in counted], combine)


def _combined(values: Sequence[float], combine: Combine) -> float:
    if not values:
        return 0.0
    whole = values[0]
    for value in values[1:]:
        whole = combine(whole, value)
    return whole


def _sessions(into: "array[float]", rows: Rows, at: int, size: int, combine: Combine | None) -> None:
    """The two newest sessions of all; those that touch are one."""
    found = sorted(_held(rows, at, size), key=lambda one: one[0])
    joined: list[list[float]] = []
    for session in found:
        if joined and session[0] <= joined[-1][1]:
            last = joined[-1]
            last[1], last[2] = max(last[1], session[1]), last[2] + session[2]
            if combine is not None:
                last[3] = combine(last[3], session[3])
        else:
            joined.append(session)
    for n in range(at, at + 2 * size):
        into[n] = 0.0
    for n, session in enumerate(joined[:-3:-1]):
        into[at + n * size : at + (n + 1) * size] = array("d", session)


def _held(rows: Rows, at: int, size: int) -> Iterator[list[float]]:
    for row in rows:
        for one in (at, at + size):
            if row[one + 2]:
                yield list(row[one : one + size])


def _sequence(whole: Profile, profiles: Sequence[Profile], key: str, at: int, most: int) -> None:
    """The newest items of all, by their times."""
    found: list[tuple[float, int, str]] = []
    for n, profile in enumerate(profiles):
        text = profile.texts.get(key, "")
        items = text.split(BETWEEN) if text else []
        found += [(profile.row[at + place], -n, item) for place, item in enumerate(items)]
    kept = sorted(found, key=lambda one: one[:2])[-most:]
    times = [time for time, _, _ in kept]
    whole.row[at : at + most] = array("d", times + [0.0] * (most - len(times)))
    if kept:
        whole.texts[key] = BETWEEN.join(item for _, _, item in kept)
