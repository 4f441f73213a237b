"""Features: declared by bundles, kept up by events in O(1), served exactly as they are trained.

Each feature names a tracker; trackers with the same key are shared between bundles, and a subject's state is one
small dict, tracker key → numbers, so it survives a new bundle that asks for other features.
"""

import math
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.limits import WINDOW_BUCKETS
from models.spec import (
    Constant,
    Count,
    Ewma,
    FeatureSpec,
    HourCos,
    HourSin,
    Input,
    ItemSequence,
    Last,
    Mean,
    OneHot,
    TimeSince,
    WeekdayCos,
    WeekdaySin,
)

Number = float
State = MutableMapping[str, list[float] | str]
"""A subject's trackers."""
Local = tuple[int, int]
"""(hour 0-23, weekday 0-6 with Monday 0), in the device's local time."""
Update = Callable[[State, Mapping[str, float | str | bool], str, int], None]
Column = Callable[[State, int, Local], Sequence[float]]

DAY_H, WEEK_D = 24, 7
_SEQUENCE = "sequence"
_BETWEEN = "\x1f"
"""ASCII's unit separator; a catalogue takes printable ids only."""


class Features:
    """All trackers that the active bundles need, and one reader for each bundle's inputs."""

    def __init__(self, inputs: Iterable[Input], catalogues: Mapping[int, Mapping[str, int]] | None = None) -> None:
        """Compile every `features` input of the active bundles.

        Args:
            inputs: of all active bundles.
            catalogues: id() of an input → item → row of its bundle's catalogue, for sequences of items.
        """
        trackers: dict[str, Update] = {}
        self._columns: dict[int, list[Column]] = {}
        for given in inputs:
            columns = []
            for spec in given.features:
                key, update, column = _compile(spec, (catalogues or {}).get(id(given), {}))
                if update is not None:
                    trackers[key] = update
                columns.append(column)
            self._columns[id(given)] = columns
        self._updates = list(trackers.values())

    @property
    def stateful(self) -> bool:
        """Whether any event changes any tracker."""
        return bool(self._updates)

    def update(self, state: State, fields: Mapping[str, float | str | bool], source: str, t_ms: int) -> None:
        """Take one event into a subject's state.

        Args:
            state: changed in place.
            fields: the minimised fields.
            source: the event's source.
            t_ms: event time, unix ms.
        """
        for update in self._updates:
            update(state, fields, source, t_ms)

    def row(self, given: Input, state: State, now_ms: int, local: Local) -> NDArray[np.float32]:
        """The input's features for one subject.

        Args:
            given: an input that this was compiled from.
            now_ms: event time at which to read windows, unix ms.
        Returns:
            float32, shape (1, columns), in the order of the input's features.
        """
        values: list[float] = []
        for column in self._columns[id(given)]:
            values.extend(column(state, now_ms, local))
        return np.array([values], dtype=np.float32)


def before(state: State, field: str) -> State:
    """The state as it was before the newest value of `field`, as far as sequences of items go.

    An event whose item is the label must be learned from what was known before it.
    """
    return {
        key: held.rpartition(_BETWEEN)[0] if key.startswith(f"{_SEQUENCE}:{field}:") and isinstance(held, str) else held
        for key, held in state.items()
    }


def _compile(spec: FeatureSpec, catalogue: Mapping[str, int]) -> tuple[str, Update | None, Column]:
    match spec:
        case ItemSequence(field=field, length=length):
            return _item_sequence(field, length, catalogue)
        case Last(field=field, default=default):
            return _last(field, default)
        case OneHot(field=field, values=values):
            return _one_hot(field, values)
        case Count(field=field, source=source, window_s=window_s):
            return _count(field, source, window_s)
        case Mean(field=field, window_s=window_s, default=default):
            return _mean(field, window_s, default)
        case Ewma(field=field, half_life_s=half_life_s, default=default):
            return _ewma(field, half_life_s, default)
        case TimeSince(source=source, cap_s=cap_s):
            return _time_since(source, cap_s)
        case Constant(value=value):
            return "", None, lambda _s, _t, _l: (value,)
        case HourSin() | HourCos() | WeekdaySin() | WeekdayCos():
            return "", None, _cyclic(spec)
    raise TypeError(f"no tracker for {spec!r}")  # pragma: no cover


def _cyclic(spec: HourSin | HourCos | WeekdaySin | WeekdayCos) -> Column:
    wave = math.sin if isinstance(spec, HourSin | WeekdaySin) else math.cos
    which, period = (0, DAY_H) if isinstance(spec, HourSin | HourCos) else (1, WEEK_D)
    table = [wave(2 * math.pi * n / period) for n in range(period)]
    return lambda _s, _t, local: (table[local[which]],)


def _last(field: str, default: float) -> tuple[str, Update, Column]:
    key = f"last:{field}"

    def update(state: State, fields: Mapping[str, float | str | bool], _source: str, _t: int) -> None:
        value = fields.get(field)
        if value is not None and not isinstance(value, str):
            state[key] = [float(value)]

    def column(state: State, _t: int, _l: Local) -> Sequence[float]:
        held = state.get(key)
        return held if isinstance(held, list) else (default,)

    return key, update, column


def _one_hot(field: str, values: tuple[str, ...]) -> tuple[str, Update, Column]:
    key = f"text:{field}"
    rows = {value: tuple(float(value == other) for other in values) for value in values}
    nothing = (0.0,) * len(values)

    def update(state: State, fields: Mapping[str, float | str | bool], _source: str, _t: int) -> None:
        value = fields.get(field)
        if isinstance(value, str):
            state[key] = value

    def column(state: State, _t: int, _l: Local) -> Sequence[float]:
        held = state.get(key)
        return rows.get(held, nothing) if isinstance(held, str) else nothing

    return key, update, column


def _item_sequence(field: str, length: int, catalogue: Mapping[str, int]) -> tuple[str, Update, Column]:
    """The texts themselves are kept, not their rows: another version of the bundle may number them otherwise.

    One more than `length` is kept, so that `before` has a full sequence too.
    """
    key = f"{_SEQUENCE}:{field}:{length}"

    def update(state: State, fields: Mapping[str, float | str | bool], _source: str, _t: int) -> None:
        value = fields.get(field)
        if isinstance(value, str) and value and _BETWEEN not in value:
            held = state.get(key)
            values = held.split(_BETWEEN) if isinstance(held, str) and held else []
            state[key] = _BETWEEN.join([*values[-length:], value])

    def column(state: State, _t: int, _l: Local) -> Sequence[float]:
        held = state.get(key)
        values = held.split(_BETWEEN)[-length:] if isinstance(held, str) and held else []
        # A value that the catalogue lacks is row -1, so 0.0.
        return [0.0] * (length - len(values)) + [catalogue.get(value, -1) + 1.0 for value in values]

    return key, update, column


def _window(state: State, key: str, width: int) -> list[float]:
    """[newest bucket number, then `WINDOW_BUCKETS` × `width` numbers]."""
    held = state.get(key)
    if not isinstance(held, list):
        held = [0.0] * (1 + WINDOW_BUCKETS * width)
        state[key] = held
    return held


def _slide(held: list[float], bucket: int, width: int) -> int | None:
    """Move the window to `bucket`, emptying what fell out; the slot's offset, None when the event is older."""
    newest = int(held[0])
    if bucket > newest:
        for gone in range(max(newest + 1, bucket - WINDOW_BUCKETS + 1), bucket + 1):
            at = 1 + (gone % WINDOW_BUCKETS) * width
            held[at : at + width] = [0.0] * width
        held[0] = float(bucket)
    elif bucket <= newest - WINDOW_BUCKETS:
        return None
    return 1 + (bucket % WINDOW_BUCKETS) * width


def _sums(state: State, key: str, bucket: int, width: int) -> list[float]:
    """Sums over the buckets that still lie in the window which ends at `bucket`."""
    held = state.get(key)
    total = [0.0] * width
    if not isinstance(held, list):
        return total
    newest = int(held[0])
    for other in range(max(bucket, newest) - WINDOW_BUCKETS + 1, min(bucket, newest) + 1):
        if other > newest - WINDOW_BUCKETS:
            at = 1 + (other % WINDOW_BUCKETS) * width
            for n in range(width):
                total[n] += held[at + n]
    return total


def _count(field: str, source: str, window_s: float) -> tuple[str, Update, Column]:
    key = f"count:{field}:{source}:{window_s:g}"
    span_ms = window_s * 1_000 / WINDOW_BUCKETS

    def update(state: State, fields: Mapping[str, float | str | bool], came_from: str, t_ms: int) -> None:
        if (field in fields) if field else (came_from == source):
            held = _window(state, key, 1)
            at = _slide(held, int(t_ms // span_ms), 1)
            if at is not None:
                held[at] += 1.0

    return key, update, lambda state, t_ms, _l: _sums(state, key, int(t_ms // span_ms), 1)


def _mean(field: str, window_s: float, default: float) -> tuple[str, Update, Column]:
    key = f"mean:{field}:{window_s:g}"
    span_ms = window_s * 1_000 / WINDOW_BUCKETS

    def update(state: State, fields: Mapping[str, float | str | bool], _source: str, t_ms: int) -> None:
        value = fields.get(field)
        if value is not None and not isinstance(value, str):
            held = _window(state, key, 2)
            at = _slide(held, int(t_ms // span_ms), 2)
            if at is not None:
                held[at] += float(value)
                held[at + 1] += 1.0

    def column(state: State, t_ms: int, _l: Local) -> Sequence[float]:
        total, count = _sums(state, key, int(t_ms // span_ms), 2)
        return (total / count if count else default,)

    return key, update, column


def _ewma(field: str, half_life_s: float, default: float) -> tuple[str, Update, Column]:
    """Weights decay with event time, so a late value counts for what it is still worth."""
    key = f"ewma:{field}:{half_life_s:g}"
    rate = math.log(2) / (half_life_s * 1_000)

    def update(state: State, fields: Mapping[str, float | str | bool], _source: str, t_ms: int) -> None:
        value = fields.get(field)
        if value is None or isinstance(value, str):
            return
        held = state.get(key)
        total, weight, newest = held if isinstance(held, list) else (0.0, 0.0, float(t_ms))
        if t_ms >= newest:
            fade = math.exp(-rate * (t_ms - newest))
            state[key] = [total * fade + float(value), weight * fade + 1.0, float(t_ms)]
        else:
            fade = math.exp(-rate * (newest - t_ms))
            state[key] = [total + fade * float(value), weight + fade, newest]

    def column(state: State, _t: int, _l: Local) -> Sequence[float]:
        held = state.get(key)
        return (held[0] / held[1],) if isinstance(held, list) and held[1] > 0.0 else (default,)

    return key, update, column


def _time_since(source: str, cap_s: float) -> tuple[str, Update, Column]:
    key = f"since:{source}"

    def update(state: State, _fields: Mapping[str, float | str | bool], came_from: str, t_ms: int) -> None:
        if came_from == source:
            held = state.get(key)
            state[key] = [max(float(t_ms), held[0]) if isinstance(held, list) else float(t_ms)]

    def column(state: State, t_ms: int, _l: Local) -> Sequence[float]:
        held = state.get(key)
        return (min(max(0.0, (t_ms - held[0]) / 1_000), cap_s) if isinstance(held, list) else cap_s,)

    return key, update, column
