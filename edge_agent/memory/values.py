"""Trackers of single values: the newest, a decaying mean, the time since, the last few items; and the time of day."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from edge_agent.memory.profile import Profile
from edge_agent.memory.trackers import Column, Fields, Local, Rewind, Row, Tracker, Update, clamped
from models.spec import (
    Ewma,
    HourCos,
    HourSin,
    ItemSequence,
    Last,
    OneHot,
    TimeSince,
    WeekdayCos,
    WeekdaySin,
)

DAY_H, WEEK_D = 24, 7
SEQUENCE = "sequence:"
"""The start of the keys of sequences."""
BETWEEN = "\x1f"
"""ASCII's unit separator; a catalogue takes printable ids only."""

Compiled = tuple[Update, Column, Rewind]


def cyclic(spec: HourSin | HourCos | WeekdaySin | WeekdayCos) -> Column:
    """Time of day or week as a point on a circle."""
    wave = math.sin if isinstance(spec, HourSin | WeekdaySin) else math.cos
    which, period = (0, DAY_H) if isinstance(spec, HourSin | HourCos) else (1, WEEK_D)
    table = [(wave(2 * math.pi * n / period),) for n in range(period)]
    return lambda _p, _t, local: table[local[which]]


def last(spec: Last) -> Tracker:
    """[value, its event time; 0: none yet]."""
    field, default = spec.field, (spec.default,)

    def compiled(at: int) -> Compiled:
        when = at + 1

        def update(row: Row, fields: Fields, _source: str, t_ms: int, _profile: Profile) -> None:
            value = fields.get(field)
            if value is not None and not isinstance(value, str) and t_ms >= row[when]:
                row[at] = value
                row[when] = t_ms

        def column(profile: Profile, _t: int, _l: Local) -> Sequence[float]:
            return (profile.row[at],) if profile.row[when] else default

        return update, column, clamped(when)

    return Tracker(key=f"last:{field}", size=2, compiled=compiled)


def words_key(field: str) -> str:
    """The start of the keys of trackers that keep a text field by number."""
    return f"text:{field}:"


def one_hot(spec: OneHot) -> Tracker:
    """[number of the newest value from 1, 0 for an unknown one; its event time]."""
    field = spec.field
    words = {value: float(n) for n, value in enumerate(spec.values, 1)}
    nothing = (0.0,) * len(spec.values)
    rows = [nothing, *(tuple(float(value == other) for other in spec.values) for value in spec.values)]
    digest = hashlib.sha256(BETWEEN.join(spec.values).encode()).hexdigest()[:16]

    def compiled(at: int) -> Compiled:
        when = at + 1

        def update(row: Row, fields: Fields, _source: str, t_ms: int, _profile: Profile) -> None:
            value = fields.get(field)
            if type(value) is float:
                value = f"{value + 0.0:g}"  # -0.0 is 0, too
            if type(value) is str and t_ms >= row[when]:
                row[at], row[when] = words.get(value, 0.0), t_ms

        def column(profile: Profile, _t: int, _l: Local) -> Sequence[float]:
            return rows[int(profile.row[at])]

        return update, column, clamped(when)

    return Tracker(key=words_key(field) + digest, size=2, compiled=compiled, words=words)


def ewma(spec: Ewma) -> Tracker:
    """[weighted sum, sum of weights, event time of both]: weights decay with event time, so order does not matter."""
    field, default = spec.field, (spec.default,)
    rate = math.log(2) / (spec.half_life_s * 1_000)

    def compiled(at: int) -> Compiled:
        def update(row: Row, fields: Fields, _source: str, t_ms: int, _profile: Profile) -> None:
            value = fields.get(field)
            if value is None or isinstance(value, str):
                return
            newest = row[at + 2] if row[at + 1] else t_ms
            if t_ms >= newest:
                fade = math.exp(-rate * (t_ms - newest))
                row[at], row[at + 1], row[at + 2] = row[at] * fade + value, row[at + 1] * fade + 1.0, t_ms
            else:
                fade = math.exp(-rate * (newest - t_ms))
                row[at] += fade * value
                row[at + 1] += fade

        def column(profile: Profile, _t: int, _l: Local) -> Sequence[float]:
            weight = profile.row[at + 1]
            return (profile.row[at] / weight,) if weight > 0.0 else default

        return update, column, clamped(at + 2)

    return Tracker(key=f"ewma:{field}:{spec.half_life_s:g}", size=3, compiled=compiled)


def time_since(spec: TimeSince) -> Tracker:
    """[event time of the source's newest event; 0: none yet]."""
    source, cap_s = spec.source, spec.cap_s

    def compiled(at: int) -> Compiled:
        def update(row: Row, _fields: Fields, came_from: str, t_ms: int, _profile: Profile) -> None:
            if came_from == source and t_ms > row[at]:
                row[at] = t_ms

        def column(profile: Profile, t_ms: int, _l: Local) -> Sequence[float]:
            newest = profile.row[at]
            return (min(max(0.0, (t_ms - newest) / 1_000), cap_s) if newest else cap_s,)

        return update, column, clamped(at)

    return Tracker(key=f"since:{source}", size=1, compiled=compiled)


def sequence_key(field: str, length: int) -> str:
    """The key of a sequence's tracker, and of its text."""
    return f"{SEQUENCE}{field}:{length}"


def item_sequence(spec: ItemSequence, catalogue: Mapping[str, int]) -> Tracker:
    """The newest items' event times, oldest first; the items are one text beside the row.

    The texts themselves are kept, not their rows: another version of the bundle may number them otherwise. One more
    than `length` is kept, so that `before` has a full sequence too.
    """
    field, length = spec.field, spec.length
    key, most = sequence_key(field, length), length + 1

    def compiled(at: int) -> Compiled:
        def update(row: Row, fields: Fields, _source: str, t_ms: int, profile: Profile) -> None:
            value = fields.get(field)
            if type(value) is not str or not value or BETWEEN in value:
                return
            items = _items(profile, key)
            count = len(items)
            place = bisect_right(row, t_ms, at, at + count) - at
            if count == most:
                if place == 0:
                    return
                row[at : at + place - 1] = row[at + 1 : at + place]
                del items[0]
                place -= 1
            else:
                row[at + place + 1 : at + count + 1] = row[at + place : at + count]
            row[at + place] = t_ms
            items.insert(place, value)
            profile.texts[key] = BETWEEN.join(items)

        def column(profile: Profile, _t: int, _l: Local) -> Sequence[float]:
            items = _items(profile, key)[-length:]
            # A value that the catalogue lacks is row -1, so 0.0.
            return [0.0] * (length - len(items)) + [catalogue.get(item, -1) + 1.0 for item in items]

        def rewind(profile: Profile, now_ms: int) -> None:
            for n in range(at, at + most):
                profile.row[n] = min(profile.row[n], now_ms)

        return update, column, rewind

    return Tracker(key=key, size=most, compiled=compiled)


def _items(profile: Profile, key: str) -> list[str]:
    held = profile.texts.get(key, "")
    return held.split(BETWEEN) if held else []


def before(profile: Profile, field: str, t_ms: int) -> Profile:
    """The profile as it was before the event of that time named an item in `field`, as far as sequences go.

    An event whose item is the label must be learned from what was known before it. The row is shared: it is only read.
    """
    start = sequence_key(field, 0)[:-1]
    earlier = Profile.__new__(Profile)
    earlier.layout, earlier.row, earlier.texts = profile.layout, profile.row, dict(profile.texts)
    for key, held in profile.texts.items():
        if key.startswith(start) and held and key in profile.layout.places:
            at = profile.layout.places[key][0]
            items = held.split(BETWEEN)
            # Of several items with the event's own time, the event's came last.
            own = bisect_right(profile.row, t_ms, at, at + len(items)) - at - 1
            earlier.texts[key] = BETWEEN.join(items[: max(own, 0)])
    return earlier
