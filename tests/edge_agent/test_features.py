"""Features are what their declaration says, kept up in O(1), and do not mind the order of arrival."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.limits import FUTURE_MS_MAX, WINDOW_BUCKETS
from edge_agent.memory import profile as profiles
from edge_agent.memory.features import Features
from edge_agent.memory.layout import Layouts
from edge_agent.memory.profile import Profile
from edge_agent.memory.values import before
from models import spec as s

LOCAL = (6, 2)
T0 = 1_800_000_000_000
"""Some moment; everything below is after it."""
Event = tuple[int, dict[str, float | str | bool]]
"""(ms after T0, fields)."""

EVERY_KIND: tuple[s.FeatureSpec, ...] = (
    s.Last(field="v"),
    s.OneHot(field="c", values=("a", "b")),
    s.Count(source="src", window_s=32),
    s.Count(field="v", window_s=5),
    s.Mean(field="v", window_s=32),
    s.Ewma(field="v", half_life_s=3),
    s.TimeSince(source="src", cap_s=60),
    s.ItemSequence(field="c", length=3),
    *(
        s.Window(take=take, over=over, span_s=7, field="v", closed=closed)
        for take in ("count", "sum", "mean", "min", "max")
        for over in ("sliding", "tumbling", "session")
        for closed in (False, True)
        if not (over == "sliding" and closed)
    ),
)


def _input(*features: s.FeatureSpec) -> s.Input:
    width = sum(feature.width for feature in features)
    return s.Input(name="x", dtype="float32", shape=(-1, width), from_="features", features=features)


class Subject:
    """One profile under some features."""

    def __init__(self, *features: s.FeatureSpec, catalogue: dict[str, int] | None = None) -> None:
        self.given, self.layouts = _input(*features), Layouts()
        self.features = Features([self.given], self.layouts, {id(self.given): catalogue or {}})
        self.profile = Profile(self.layouts.now)

    def take(self, *events: Event) -> "Subject":
        for after_ms, fields in events:
            self.features.update(self.profile, fields, "src", T0 + after_ms)
        return self

    def row(self, after_ms: int) -> list[float]:
        row = self.features.row(self.given, self.profile, T0 + after_ms, LOCAL)
        assert row.dtype == np.float32
        assert row.shape == (1, self.given.shape[1])
        return [float(value) for value in row[0]]


def _row(features: s.FeatureSpec, events: list[Event], after_ms: int) -> list[float]:
    return Subject(features).take(*events).row(after_ms)


def test_last_one_hot_constant_and_time_of_day() -> None:
    events: list[Event] = [(0, {"v": 1.0, "c": "b"}), (1, {"v": 2.0}), (2, {"f": True})]
    assert _row(s.Last(field="v"), events, 5) == [2.0]
    assert _row(s.Last(field="f"), events, 5) == [1.0]
    assert _row(s.Last(field="w", default=7.0), events, 5) == [7.0]
    assert _row(s.OneHot(field="c", values=("a", "b")), events, 5) == [0.0, 1.0]
    assert _row(s.OneHot(field="c", values=("a", "z")), events, 5) == [0.0, 0.0]
    assert _row(s.Constant(value=3.0), events, 5) == [3.0]
    assert _row(s.HourSin(), events, 5) == [pytest.approx(1.0)]
    assert _row(s.WeekdayCos(), events, 5) == [pytest.approx(math.cos(2 * math.pi * 2 / 7))]


def test_the_newest_value_is_the_one_that_happened_last_not_the_one_that_came_last() -> None:
    assert _row(s.Last(field="v"), [(9, {"v": 2.0}), (3, {"v": 1.0})], 10) == [2.0]
    assert _row(s.OneHot(field="c", values=("a", "b")), [(9, {"c": "b"}), (3, {"c": "a"})], 10) == [0.0, 1.0]
    assert _row(s.OneHot(field="c", values=("a", "b")), [(9, {"c": "unknown"}), (3, {"c": "a"})], 10) == [0.0, 0.0]
    assert _row(s.Last(field="v"), [(9, {"v": 2.0}), (9, {"v": 3.0})], 10) == [3.0]


def test_time_since_counts_seconds_to_its_cap() -> None:
    assert _row(s.TimeSince(source="src", cap_s=60), [(1_000, {})], 6_000) == [5.0]
    assert _row(s.TimeSince(source="src", cap_s=60), [(1_000, {})], 600_000) == [60.0]
    assert _row(s.TimeSince(source="other", cap_s=60), [(1_000, {})], 6_000) == [60.0]


def test_decay_halves_a_weight_in_its_half_life() -> None:
    events: list[Event] = [(0, {"v": 0.0}), (10_000, {"v": 3.0})]
    assert _row(s.Ewma(field="v", half_life_s=10), events, 10_000) == [pytest.approx(3.0 / 1.5)]


OF = {
    "count": lambda values: float(len(values)),
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
}
EVENTS = st.lists(st.tuples(st.integers(0, 200_000), st.floats(-100, 100)), max_size=40)


def _worth(take: str, values: list[float]) -> float:
    return float(OF[take](values)) if values else (0.0 if take in {"count", "sum"} else -1.0)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.integers(0, 50_000), st.sampled_from(sorted(OF)), st.data())
def test_sliding_windows_hold_what_lies_in_them_to_a_bucket(
    events: list[tuple[int, float]], later: int, take: str, data: st.DataObject
) -> None:
    span_s = 64.0
    bucket = span_s * 1_000 / WINDOW_BUCKETS
    now = max((t for t, _ in events), default=0) + later
    inside = [v for t, v in events if (T0 + t) // bucket > (T0 + now) // bucket - WINDOW_BUCKETS]
    feature = s.Window(take=take, over="sliding", span_s=span_s, field="v", default=-1.0)  # type: ignore[arg-type]
    arrived = data.draw(st.permutations(events))
    found = _row(feature, [(t, {"v": v}) for t, v in arrived], now)
    assert found == [pytest.approx(_worth(take, inside), abs=1e-3, rel=1e-4)]
    if take == "count":
        assert _row(s.Count(field="v", window_s=span_s), [(t, {"v": v}) for t, v in arrived], now) == found
    if take == "mean":
        same = s.Mean(field="v", window_s=span_s, default=-1.0)
        assert _row(same, [(t, {"v": v}) for t, v in arrived], now) == found


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.integers(0, 50_000), st.sampled_from(sorted(OF)), st.data())
def test_tumbling_windows_hold_the_running_span_and_the_one_before(
    events: list[tuple[int, float]], later: int, take: str, data: st.DataObject
) -> None:
    span_ms = 30_000
    now = max((t for t, _ in events), default=0) + later
    arrived = data.draw(st.permutations(events))
    for closed in (False, True):
        wanted = (T0 + now) // span_ms - closed
        inside = [v for t, v in events if (T0 + t) // span_ms == wanted]
        feature = s.Window(take=take, over="tumbling", span_s=30, field="v", closed=closed, default=-1.0)  # type: ignore[arg-type]
        found = _row(feature, [(t, {"v": v}) for t, v in arrived], now)
        assert found == [pytest.approx(_worth(take, inside), abs=1e-3, rel=1e-4)]


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.integers(0, 50_000), st.sampled_from(sorted(OF)), st.data())
def test_session_windows_end_with_silence(
    events: list[tuple[int, float]], later: int, take: str, data: st.DataObject
) -> None:
    gap_ms = 15_000
    now = max((t for t, _ in events), default=0) + later
    ordered = sorted(events)
    breaks = [n + 1 for n, (a, b) in enumerate(pairwise(ordered)) if b[0] - a[0] > gap_ms]
    runs = [ordered[a:b] for a, b in pairwise([0, *breaks, len(ordered)])] if ordered else []
    runs = [run for run in runs if run]
    running = runs[-1] if runs and now - runs[-1][-1][0] <= gap_ms else []
    over = runs[-2] if running and len(runs) > 1 else [] if running or not runs else runs[-1]
    arrived = _delayed(data, ordered, gap_ms)
    for closed, inside in ((False, running), (True, over)):
        feature = s.Window(take=take, over="session", span_s=15, field="v", closed=closed, default=-1.0)  # type: ignore[arg-type]
        found = _row(feature, [(t, {"v": v}) for t, v in arrived], now)
        assert found == [pytest.approx(_worth(take, [v for _, v in inside]), abs=1e-3, rel=1e-4)]


def _delayed(data: st.DataObject, ordered: list[tuple[int, float]], lateness_ms: int) -> list[tuple[int, float]]:
    """The events in an order in which none comes later than `lateness_ms` behind a newer one."""
    delays = [data.draw(st.integers(0, lateness_ms)) for _ in ordered]
    return [event for _, event in sorted(zip(delays, ordered, strict=True), key=lambda one: one[0] + one[1][0])]


FIELDS = st.fixed_dictionaries({}, optional={"v": st.floats(-9, 9), "c": st.sampled_from("abz")})
STREAM = st.lists(st.tuples(st.integers(0, 60_000), FIELDS), max_size=25, unique_by=lambda event: event[0])


@settings(max_examples=150, deadline=None)
@given(STREAM, st.data())
def test_no_feature_minds_the_order_of_arrival_within_lateness(events: list[Event], data: st.DataObject) -> None:
    ordered = sorted(events, key=lambda event: event[0])
    arrived = _delayed(data, ordered, 7_000)  # type: ignore[arg-type]
    now = ordered[-1][0] if ordered else 0
    catalogue = {"a": 0, "b": 1}
    straight = Subject(*EVERY_KIND, catalogue=catalogue).take(*ordered)
    shuffled = Subject(*EVERY_KIND, catalogue=catalogue).take(*arrived)  # type: ignore[arg-type]
    assert shuffled.row(now) == pytest.approx(straight.row(now), rel=1e-5, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(STREAM, st.integers(0, 25))
def test_storing_a_profile_changes_nothing_to_the_last_bit(events: list[Event], at: int) -> None:
    kept, stored = Subject(*EVERY_KIND), Subject(*EVERY_KIND)
    kept.take(*events)
    stored.take(*events[:at])
    stored.profile = profiles.unpack(profiles.pack(stored.profile), stored.layouts)
    stored.take(*events[at:])
    assert profiles.pack(stored.profile) == profiles.pack(kept.profile)
    assert stored.row(60_000) == kept.row(60_000)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "unknown", ""]), max_size=12), st.integers(1, 5))
def test_a_sequence_holds_the_newest_items_as_rows_plus_one(items: list[str], length: int) -> None:
    catalogue = {"a": 0, "b": 1, "c": 2}
    subject = Subject(s.ItemSequence(field="item", length=length), catalogue=catalogue)
    subject.take(*((0, {"item": item, "other": "b"}) for item in items))
    known = [float(catalogue.get(item, -1) + 1) for item in items if item]
    want = ([0.0] * length + known)[-length:]
    assert subject.row(0) == want
    subject.profile = before(subject.profile, "item", T0)
    assert subject.row(0) == ([0.0] * length + known[:-1])[-length:]


def test_before_an_event_that_came_late_is_before_its_own_time() -> None:
    subject = Subject(s.ItemSequence(field="item", length=3), catalogue={"a": 0, "b": 1, "c": 2})
    subject.take((10, {"item": "a"}), (30, {"item": "c"}), (20, {"item": "b"}))
    assert subject.row(40) == [1.0, 2.0, 3.0]
    subject.profile = before(subject.profile, "item", T0 + 20)
    assert subject.row(40) == [0.0, 0.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(STREAM, STREAM)
def test_after_a_time_on_a_clock_that_was_ahead_right_events_count_again(
    wrong: list[Event], right: list[Event]
) -> None:
    years = 14 * 365 * 86_400_000
    subject = Subject(*EVERY_KIND).take(*((years + t, fields) for t, fields in wrong))
    subject.features.rewind(subject.profile, T0)
    clean = Subject(*EVERY_KIND)
    later = [(FUTURE_MS_MAX + t, fields) for t, fields in right if "v" in fields and "c" in fields]
    subject.take(*later)
    clean.take(*later)
    if later:
        now = max(t for t, _ in later)
        counted = [
            n for n, name in enumerate(s.feature_names(subject.given)) if "ewma" not in name and "seq" not in name
        ]
        found, want = subject.row(now), clean.row(now)
        assert [found[n] for n in counted] == [want[n] for n in counted]
