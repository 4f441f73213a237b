"""Features: declared by bundles, kept up by events in O(1), served exactly as they are trained.

Each feature names a tracker; trackers with the same key are shared between bundles, and their places in a profile
outlive the bundle that asked for them. What a feature says depends on event times, never on the order of arrival;
where two events have the same time, the one that came later counts as the newer.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_agent.memory import values, windows
from edge_agent.memory.layout import Layouts
from edge_agent.memory.profile import OVERHEAD_BYTES, Profile
from edge_agent.memory.trackers import Column, Fields, Local, Rewind, Tracker, Update
from edge_agent.memory.values import SEQUENCE
from models.spec import (
    Constant,
    Count,
    DeviceClass,
    Ewma,
    FeatureSpec,
    HourCos,
    HourSin,
    Input,
    ItemSequence,
    Last,
    Mean,
    OneHot,
    OthersPresent,
    TimeSince,
    WeekdayCos,
    WeekdaySin,
    Window,
)

Others = Callable[[OthersPresent], float]
"""How many other people are there, as a feature asks it."""


def _nobody(_spec: OthersPresent) -> float:
    return 0.0


class Features:
    """All trackers that the active bundles need, and one reader for each bundle's inputs."""

    def __init__(
        self,
        inputs: Iterable[Input],
        layouts: Layouts,
        catalogues: Mapping[int, Mapping[str, int]] | None = None,
        device_class: str = "",
    ) -> None:
        """Compile every `features` input of the active bundles.

        Args:
            inputs: of all active bundles.
            layouts: where trackers lie; the present one grows by those that are new.
            catalogues: id() of an input → item → row of its bundle's catalogue, for sequences of items.
            device_class: of the profile.
        """
        served = tuple(inputs)
        found = {
            id(given): [_compile(spec, (catalogues or {}).get(id(given), {}), device_class) for spec in given.features]
            for given in served
        }
        self._others = {id(given): asked for given in served if (asked := _others_of(given))}
        windows_s = (spec.window_s for asked in self._others.values() for _, spec in asked)
        self.others_ms = int(max(windows_s, default=0.0) * 1_000)
        """The longest window in which other people are counted, ms; 0: no bundle counts them."""
        self.trackers = {one.key: one for columns in found.values() for one in columns if isinstance(one, Tracker)}
        """By key."""
        self.specs: dict[str, FeatureSpec] = {
            one.key: spec
            for given in served
            for spec, one in zip(given.features, found[id(given)], strict=True)
            if isinstance(one, Tracker)
        }
        """Tracker's key → a feature that it keeps up."""
        self._layout = layouts.hold({key: one.size for key, one in self.trackers.items()})
        self._updates: list[Update] = []
        self._rewinds: dict[str, Rewind] = {}
        for key, one in self.trackers.items():
            update, _, self._rewinds[key] = one.compiled(self._layout.places[key][0])
            self._updates.append(update)
        self._columns: dict[int, list[Column]] = {
            given: [self._reader(one) if isinstance(one, Tracker) else one for one in columns]
            for given, columns in found.items()
        }

    def _reader(self, tracker: Tracker) -> Column:
        return tracker.compiled(self._layout.places[tracker.key][0])[1]

    def update(self, profile: Profile, fields: Fields, source: str, t_ms: int) -> None:
        """Take one event into a subject's profile.

        Args:
            profile: of the present layout; changed in place.
            fields: the minimised fields.
            source: the event's source.
            t_ms: event time, unix ms.
        """
        row = profile.row
        for update in self._updates:
            update(row, fields, source, t_ms, profile)

    def rewind(self, profile: Profile, now_ms: int) -> None:
        """Date nothing after now; a tracker that no bundle needs starts anew."""
        row = profile.row
        for key, (at, size) in self._layout.places.items():
            if key in self._rewinds:
                self._rewinds[key](profile, now_ms)
            else:
                for n in range(at, at + size):
                    row[n] = 0.0

    def row(
        self, given: Input, profile: Profile, now_ms: int, local: Local, others: Others = _nobody
    ) -> NDArray[np.float32]:
        """The input's features for one subject.

        Args:
            given: an input that this was compiled from.
            now_ms: event time at which to read windows, unix ms.
            others: counts the other people; they are in no profile.
        Returns:
            float32, shape (1, columns), in the order of the input's features.
        """
        found: list[float] = []
        for column in self._columns[id(given)]:
            found.extend(column(profile, now_ms, local))
        for place, spec in self._others.get(id(given), ()):
            found[place] = others(spec)
        return np.array([found], dtype=np.float32)

    @property
    def profile_bytes(self) -> int:
        """Memory of one hot profile, about; texts of sequences at twice the size of their times."""
        texts = sum(16 * one.size for one in self.trackers.values() if one.key.startswith(SEQUENCE))
        return OVERHEAD_BYTES + 8 * self._layout.size + texts

    @property
    def words(self) -> dict[str, Mapping[str, float]]:
        """Key of a tracker that keeps texts by number → text → number."""
        return {key: one.words for key, one in self.trackers.items() if one.words}


def _others_of(given: Input) -> list[tuple[int, OthersPresent]]:
    """The columns that count other people."""
    found: list[tuple[int, OthersPresent]] = []
    place = 0
    for spec in given.features:
        if isinstance(spec, OthersPresent):
            found.append((place, spec))
        place += spec.width
    return found


def _compile(spec: FeatureSpec, catalogue: Mapping[str, int], device_class: str) -> Tracker | Column:
    tracker = _tracker(spec, catalogue)
    if tracker is not None:
        return tracker
    match spec:
        case Constant(value=value):
            return _still(value)
        case OthersPresent():
            return _still(0.0)  # `row` fills it in
        case DeviceClass(values=classes):
            return _still(*(float(one == device_class) for one in classes))
        case HourSin() | HourCos() | WeekdaySin() | WeekdayCos():
            return values.cyclic(spec)
    raise TypeError(f"no tracker for {spec!r}")  # pragma: no cover


def _tracker(spec: FeatureSpec, catalogue: Mapping[str, int]) -> Tracker | None:
    match spec:
        case Last():
            return values.last(spec)
        case OneHot():
            return values.one_hot(spec)
        case Ewma():
            return values.ewma(spec)
        case TimeSince():
            return values.time_since(spec)
        case ItemSequence():
            return values.item_sequence(spec, catalogue)
        case Count() | Mean() | Window():
            return windows.tracker(spec)
    return None


def _still(*columns: float) -> Column:
    return lambda _p, _t, _l: columns
