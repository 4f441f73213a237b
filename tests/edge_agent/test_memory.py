"""Features are what their declaration says, kept up in O(1), and served as they are trained."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.limits import WINDOW_BUCKETS
from edge_agent.memory import profile as profiles
from edge_agent.memory.consent import Consents
from edge_agent.memory.features import Features, State, before
from edge_agent.memory.subjects import Kept
from firmware_configs.profile import Purpose
from models import spec as s

LOCAL = (6, 2)


def _input(*features: s.FeatureSpec) -> s.Input:
    width = sum(feature.width for feature in features)
    return s.Input(name="x", dtype="float32", shape=(-1, width), from_="features", features=features)


def _row(features: s.FeatureSpec, events: list[tuple[int, dict[str, float | str | bool]]], now_ms: int) -> list[float]:
    given = _input(features)
    kept = Features([given])
    state: State = {}
    for t_ms, fields in events:
        kept.update(state, fields, "src", t_ms)
    row = kept.row(given, state, now_ms, LOCAL)
    assert row.dtype == np.float32
    assert row.shape == (1, features.width)
    return [float(value) for value in row[0]]


def test_last_one_hot_constant_and_time_of_day() -> None:
    events: list[tuple[int, dict[str, float | str | bool]]] = [
        (0, {"v": 1.0, "c": "b"}),
        (1, {"v": 2.0}),
        (2, {"f": True}),
    ]
    assert _row(s.Last(field="v"), events, 5) == [2.0]
    assert _row(s.Last(field="f"), events, 5) == [1.0]
    assert _row(s.Last(field="w", default=7.0), events, 5) == [7.0]
    assert _row(s.OneHot(field="c", values=("a", "b")), events, 5) == [0.0, 1.0]
    assert _row(s.OneHot(field="c", values=("a", "z")), events, 5) == [0.0, 0.0]
    assert _row(s.Constant(value=3.0), events, 5) == [3.0]
    assert _row(s.HourSin(), events, 5) == [pytest.approx(1.0)]
    assert _row(s.WeekdayCos(), events, 5) == [pytest.approx(math.cos(2 * math.pi * 2 / 7))]


def test_time_since_counts_seconds_to_its_cap() -> None:
    assert _row(s.TimeSince(source="src", cap_s=60), [(1_000, {})], 6_000) == [5.0]
    assert _row(s.TimeSince(source="src", cap_s=60), [(1_000, {})], 600_000) == [60.0]
    assert _row(s.TimeSince(source="other", cap_s=60), [(1_000, {})], 6_000) == [60.0]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200_000), st.floats(-100, 100)), max_size=40), st.integers(0, 50_000))
def test_windows_count_and_average_what_lies_in_them_to_a_bucket(events: list[tuple[int, float]], later: int) -> None:
    window_s = 64.0
    span = window_s * 1_000 / WINDOW_BUCKETS
    ordered = sorted(events)
    now = (ordered[-1][0] if ordered else 0) + later
    given_events: list[tuple[int, dict[str, float | str | bool]]] = [(t, {"v": v}) for t, v in ordered]
    inside = [v for t, v in ordered if int(t // span) > int(now // span) - WINDOW_BUCKETS]
    assert _row(s.Count(source="src", window_s=window_s), given_events, now) == [len(inside)]
    mean = sum(inside) / len(inside) if inside else -1.0
    assert _row(s.Mean(field="v", window_s=window_s, default=-1.0), given_events, now) == [
        pytest.approx(mean, abs=1e-3, rel=1e-4)
    ]


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(12)))
def test_windows_and_decay_do_not_mind_the_order_in_which_events_come(order: list[int]) -> None:
    events: list[tuple[int, dict[str, float | str | bool]]] = [(n * 1_000, {"v": float(n % 5)}) for n in range(12)]
    for feature in (
        s.Count(source="src", window_s=32),
        s.Mean(field="v", window_s=32),
        s.Ewma(field="v", half_life_s=3),
    ):
        straight, shuffled = (_row(feature, e, 12_000) for e in (events, [events[n] for n in order]))
        assert shuffled == [pytest.approx(straight[0], rel=1e-5)]


def test_decay_halves_a_weight_in_its_half_life() -> None:
    events: list[tuple[int, dict[str, float | str | bool]]] = [(0, {"v": 0.0}), (10_000, {"v": 3.0})]
    assert _row(s.Ewma(field="v", half_life_s=10), events, 10_000) == [pytest.approx(3.0 / 1.5)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "unknown", ""]), max_size=12), st.integers(1, 5))
def test_a_sequence_holds_the_newest_items_as_rows_plus_one(items: list[str], length: int) -> None:
    given = _input(s.ItemSequence(field="item", length=length))
    catalogue = {"a": 0, "b": 1, "c": 2}
    kept = Features([given], {id(given): catalogue})
    state: State = {}
    for item in items:
        kept.update(state, {"item": item, "other": "b"}, "src", 0)
    known = [float(catalogue.get(item, -1) + 1) for item in items if item]
    want = ([0.0] * length + known)[-length:]
    assert kept.row(given, state, 0, LOCAL).tolist() == [want]
    earlier = ([0.0] * length + known[:-1])[-length:]
    assert kept.row(given, before(state, "item"), 0, LOCAL).tolist() == [earlier]
    assert kept.row(given, state, 0, LOCAL).tolist() == [want]


def test_items_with_a_separator_inside_are_no_items() -> None:
    given = _input(s.ItemSequence(field="item", length=2))
    kept = Features([given], {id(given): {"a": 0}})
    state: State = {}
    for item in ("a", "a\x1fa"):
        kept.update(state, {"item": item}, "src", 0)
    assert kept.row(given, state, 0, LOCAL).tolist() == [[0.0, 1.0]]


def test_a_profile_survives_storage_and_another_bundle() -> None:
    first, second = _input(s.Last(field="v")), _input(s.Last(field="v"), s.Count(source="src", window_s=60))
    own = profiles.Profile()
    Features([first]).update(own.trackers, {"v": 4.0}, "src", 1_000)
    again = profiles.unpack(profiles.pack(own))
    row = Features([second]).row(second, again.trackers, 2_000, LOCAL)
    assert row.tolist() == [[4.0, 0.0]]


def test_cold_states_come_back_from_the_store_and_memory_stays_bounded() -> None:
    stored: dict[str, bytes] = {}
    kept: Kept[list[int]] = Kept(stored.get, list, list, 3)
    for n in range(10):
        state = kept.get(str(n))
        state.append(n)
        stored[str(n)] = bytes(state)
    assert len(kept) == 3
    assert [kept.get(str(n)) for n in range(10)] == [[n] for n in range(10)]


def _consents() -> Consents:
    text = "Something that people are told about."
    return Consents(
        [
            Purpose(name="asked", legal_basis="consent", consent="required", text=text),
            Purpose(name="free", legal_basis="contract", consent="not-needed", text=text),
        ]
    )


def test_without_a_word_the_answer_is_no_and_only_known_purposes_can_be_granted() -> None:
    consents = _consents()
    assert not consents.all_allowed(["asked"], "u")
    assert consents.all_allowed(["free"], "u")
    consents.hear("u", {"asked": True, "invented": True}, 1)
    assert consents.granted("u") == {"asked"}
    assert not consents.all_allowed(["invented"], "u")
    assert consents.subjects_allowing(["asked"]) == ("u",)
