"""Windows over a subject's events, in O(1) an event: sliding, tumbling, session.

Sliding and tumbling windows are a ring of buckets of equal span, aligned to unix time. A sliding window has
`WINDOW_BUCKETS` of them: it holds the running bucket and the `WINDOW_BUCKETS - 1` before, so it is exact to one
bucket, a 32nd of the window, at its far end (Datar et al. 2002 bound the error by buckets of growing size; equal ones
are simpler and as good at this number). A tumbling window has two: the running window and the one before, both exact.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from edge_agent.limits import WINDOW_BUCKETS
from edge_agent.memory import sessions
from edge_agent.memory.profile import Profile
from edge_agent.memory.trackers import Column, Fields, Local, Rewind, Row, Tracker, Update
from models.spec import Count, Mean, Window

Take = Literal["count", "sum", "mean", "min", "max"]
Reads = Callable[[Fields, str], float | None]
"""(fields, source) → the number that counts, None when the event does not."""

SESSION_SIZE = 4
"""(start ms, end ms, events, sum or least or largest)."""


def tracker(spec: Count | Mean | Window) -> Tracker:
    """The tracker of a window feature."""
    match spec:
        case Count(field=field, source=source, window_s=span_s):
            key = f"count:{field}:{source}:{span_s:g}"
            return _ring(key, "count", _reads(field, source, "count"), span_s, 0.0)
        case Mean(field=field, window_s=span_s, default=default):
            return _ring(f"mean:{field}:{span_s:g}", "mean", _reads(field, "", "mean"), span_s, default)
        case Window(take=take, field=field, source=source, span_s=span_s, default=default, over=over):
            reads = _reads(field, source, take)
            key = f"{over}:{take}:{field}:{source}:{span_s:g}"
            if over == "session":
                return _session(key, take, reads, span_s, default, closed=spec.closed)
            if over == "tumbling":
                return _tumbling(key, take, reads, span_s, default, closed=spec.closed)
            return _ring(key, take, reads, span_s, default)


def _reads(field: str, source: str, take: Take) -> Reads:
    if not field:
        return lambda _fields, came_from: 1.0 if came_from == source else None
    if take == "count":
        return lambda fields, _source: 1.0 if field in fields else None

    def number(fields: Fields, _source: str) -> float | None:
        value = fields.get(field)
        return None if value is None or type(value) is str else float(value)

    return number


def _slot(row: Row, at: int, bucket: int, buckets: int, width: int) -> int | None:
    """Offset of a bucket's numbers, after the ring has moved on to it; None: it is older than the ring.

    At `at` stands the newest bucket's number; the buckets' numbers follow.
    """
    newest = int(row[at])
    if bucket >= newest + buckets:
        # After a silence longer than the window, as of most subjects among many.
        row[at + 1 : at + 1 + buckets * width] = array("d", bytes(8 * buckets * width))
        row[at] = bucket
    elif bucket > newest:
        for gone in range(newest + 1, bucket + 1):
            first = at + 1 + (gone % buckets) * width
            for n in range(first, first + width):
                row[n] = 0.0
        row[at] = bucket
    elif bucket <= newest - buckets:
        return None
    return at + 1 + (bucket % buckets) * width


def _slots(row: Row, at: int, bucket: int, buckets: int, width: int) -> Iterator[int]:
    """Offsets of the buckets that the window ending with `bucket` still has."""
    newest = int(row[at])
    for other in range(max(bucket, newest) - buckets + 1, min(bucket, newest) + 1):
        yield at + 1 + (other % buckets) * width


def _ring(key: str, take: Take, reads: Reads, span_s: float, default: float) -> Tracker:
    width = 1 if take == "count" else 2
    span_ms = span_s * 1_000 / WINDOW_BUCKETS

    def compiled(at: int) -> tuple[Update, Column, Rewind]:
        def column(profile: Profile, t_ms: int, _local: Local) -> Sequence[float]:
            bucket, row = int(t_ms // span_ms), profile.row
            if bucket == row[at] and take in _WHOLE:
                # The newest event is the one that is read for: all buckets count, and slices are added up in C.
                return (_WHOLE[take](row[at + 1 : at + 1 + WINDOW_BUCKETS * width], default),)
            return (_taken(take, row, _slots(row, at, bucket, WINDOW_BUCKETS, width), default),)

        return (
            _ring_update(take, reads, span_ms, at, WINDOW_BUCKETS),
            column,
            _ring_rewind(span_ms, at, WINDOW_BUCKETS, width),
        )

    return Tracker(key=key, size=1 + WINDOW_BUCKETS * width, compiled=compiled)


def _tumbling(key: str, take: Take, reads: Reads, span_s: float, default: float, *, closed: bool) -> Tracker:
    width = 1 if take == "count" else 2
    span_ms = span_s * 1_000

    def compiled(at: int) -> tuple[Update, Column, Rewind]:
        def column(profile: Profile, t_ms: int, _local: Local) -> Sequence[float]:
            row, newest = profile.row, int(profile.row[at])
            bucket = int(t_ms // span_ms) - closed
            held = (at + 1 + (bucket % 2) * width,) if newest - 2 < bucket <= newest else ()
            return (_taken(take, row, iter(held), default),)

        return _ring_update(take, reads, span_ms, at, 2), column, _ring_rewind(span_ms, at, 2, width)

    return Tracker(key=key, size=1 + 2 * width, compiled=compiled)


def _ring_update(take: Take, reads: Reads, span_ms: float, at: int, buckets: int) -> Update:
    width = 1 if take == "count" else 2
    combine = COMBINE[take]

    def update(row: Row, fields: Fields, source: str, t_ms: int, _profile: Profile) -> None:
        value = reads(fields, source)
        if value is None:
            return
        bucket = int(t_ms // span_ms)
        # Most events fall into the newest bucket: the ring need not move for them.
        slot = at + 1 + (bucket % buckets) * width if bucket == row[at] else _slot(row, at, bucket, buckets, width)
        if slot is None:
            return
        if width == 1:
            row[slot] += 1.0
            return
        row[slot] = combine(row[slot], value) if row[slot + 1] else value
        row[slot + 1] += 1.0

    return update


def _ring_rewind(span_ms: float, at: int, buckets: int, width: int) -> Rewind:
    def rewind(profile: Profile, now_ms: int) -> None:
        row, bucket = profile.row, int(now_ms // span_ms)
        newest = int(row[at])
        if newest <= bucket:
            return
        for other in range(newest - buckets + 1, newest + 1):
            if other > bucket:
                first = at + 1 + (other % buckets) * width
                for n in range(first, first + width):
                    row[n] = 0.0
        row[at] = bucket

    return rewind


def _taken(take: Take, row: Row, slots: Iterator[int], default: float) -> float:
    """The aggregate over some buckets."""
    if take == "count":
        return sum(row[slot] for slot in slots)
    held = [(row[slot], row[slot + 1]) for slot in slots if row[slot + 1]]
    if not held:
        return 0.0 if take == "sum" else default
    if take in {"min", "max"}:
        return (min if take == "min" else max)(value for value, _ in held)
    total = sum(value for value, _ in held)
    return total if take == "sum" else total / sum(count for _, count in held)


def _session(key: str, take: Take, reads: Reads, gap_s: float, default: float, *, closed: bool) -> Tracker:
    gap_ms = int(gap_s * 1_000)
    combine, find = COMBINE[take], sessions.before_time if closed else sessions.at_time

    def compiled(at: int) -> tuple[Update, Column, Rewind]:
        older = at + SESSION_SIZE

        def update(row: Row, fields: Fields, source: str, t_ms: int, _profile: Profile) -> None:
            value = reads(fields, source)
            if value is None:
                return
            here = sessions.merge(row, at, SESSION_SIZE, t_ms, gap_ms)
            if here is None:
                return
            row[here + 3] = value if row[here + 2] == 1.0 else combine(row[here + 3], value)
            if not row[older + 2] and row[older + 1]:
                # The event joined the two sessions.
                row[at + 3] = combine(row[at + 3], row[older + 3])
                row[older : older + SESSION_SIZE] = array("d", bytes(8 * SESSION_SIZE))

        def column(profile: Profile, t_ms: int, _local: Local) -> Sequence[float]:
            row = profile.row
            here = find(row, at, SESSION_SIZE, t_ms)
            if here is None:
                return (0.0 if take in {"count", "sum"} else default,)
            if take == "count":
                return (row[here + 2],)
            return (row[here + 3] / row[here + 2] if take == "mean" else row[here + 3],)

        def rewind(profile: Profile, now_ms: int) -> None:
            sessions.forget_future(profile.row, at, SESSION_SIZE, now_ms)

        return update, column, rewind

    return Tracker(key=key, size=2 * SESSION_SIZE, compiled=compiled)


def _added(held: float, value: float) -> float:
    return held + value


def _mean_of(held: Row, default: float) -> float:
    count = sum(held[1::2])
    return sum(held[::2]) / count if count else default


COMBINE: dict[Take, Callable[[float, float], float]] = {
    "count": _added,
    "sum": _added,
    "mean": _added,
    "min": min,
    "max": max,
}
_WHOLE: dict[Take, Callable[[Row, float], float]] = {
    "count": lambda held, _default: sum(held),
    "sum": lambda held, _default: sum(held[::2]),
    "mean": _mean_of,
}
