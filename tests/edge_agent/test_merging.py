"""Several subjects' profiles read as one: what one profile would say that had taken all of their events in."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.intake.minimise import again
from edge_agent.memory import profile as profiles
from edge_agent.memory.features import Features
from edge_agent.memory.layout import Layouts
from edge_agent.memory.merging import merged
from edge_agent.memory.profile import Profile
from models import spec as s
from tests.edge_agent.house import NOW

HOUR_S = 3_600.0
CATALOGUE = {item: n for n, item in enumerate("abcd")}
ORDERLESS: tuple[s.FeatureSpec, ...] = (
    s.Last(field="amount", default=-1.0),
    s.OneHot(field="item", values=("a", "b")),
    s.Ewma(field="amount", half_life_s=HOUR_S),
    s.TimeSince(source="touch", cap_s=1e6),
    s.ItemSequence(field="item", length=3),
    s.Count(field="amount", window_s=HOUR_S),
    s.Mean(field="amount", window_s=4 * HOUR_S, default=-1.0),
    *(
        s.Window(take=take, field="amount", span_s=2 * HOUR_S, over=over, closed=closed)
        for take in ("count", "sum", "mean", "min", "max")
        for over, closed in (("sliding", False), ("tumbling", False), ("tumbling", True))
    ),
    s.HourSin(),
)
SESSIONS: tuple[s.FeatureSpec, ...] = tuple(
    s.Window(take=take, field="amount", span_s=1_800.0, over="session", closed=closed)
    for take in ("count", "sum", "mean", "min", "max")
    for closed in (False, True)
)
Event = tuple[int, str, float, int]
"""(whose, item, amount, seconds since the one before)."""
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from("abcdz"),
        st.sampled_from([1.0, 2.5, -3.0]),
        st.sampled_from([1, 40, 600, 1_799, 1_801, 3_600, 7_200, 90_000]),
    ),
    min_size=1,
    max_size=30,
)


def _live(
    specs: tuple[s.FeatureSpec, ...], events: Sequence[Event]
) -> tuple[Features, s.Input, list[Profile], Profile, int]:
    given_input = s.Input(name="features", dtype="float32", shape=(1, -1), from_="features", features=specs)
    layouts = Layouts()
    features = Features([given_input], layouts, {id(given_input): CATALOGUE})
    parts, whole = [Profile(layouts.now) for _ in range(3)], Profile(layouts.now)
    now = NOW
    for n, (whose, item, amount, pause) in enumerate(events):
        now += pause * 1_000
        event = again("touch", f"e{n}", now, "u", {"item": item, "amount": amount})
        for profile in (parts[whose], whole):
            profile.take(event, features, 1_800_000, now)
    return features, given_input, parts, whole, now


def _row(features: Features, asked: s.Input, profile: Profile, now: int) -> list[float]:
    return [float(value) for value in features.row(asked, profile, now, (12, 1))[0]]


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.sampled_from([0, 1, 1_800, 5_000, 100_000]))
def test_the_merged_row_says_what_one_profile_of_all_events_says(events: list[Event], later: int) -> None:
    features, asked, parts, whole, now = _live(ORDERLESS, events)
    one = merged(parts, features)
    at = now + later * 1_000
    np.testing.assert_allclose(_row(features, asked, one, at), _row(features, asked, whole, at), rtol=1e-6, atol=1e-9)
    assert one.newest_ms == whole.newest_ms
    assert one.texts == whole.texts


@settings(max_examples=150, deadline=None)
@given(EVENTS)
def test_sessions_merge_exactly_while_no_subject_has_forgotten_a_part_of_them(events: list[Event]) -> None:
    features, asked, parts, whole, now = _live(SESSIONS, events[:4])
    one = merged(parts, features)
    assert one.session(now) == whole.session(now)
    np.testing.assert_allclose(_row(features, asked, one, now), _row(features, asked, whole, now), rtol=1e-6)


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_merging_changes_nothing_in_the_parts_so_a_split_gives_each_its_own_back(events: list[Event]) -> None:
    features, asked, parts, _, now = _live((*ORDERLESS, *SESSIONS), events)
    before = [profiles.pack(part) for part in parts]
    one = merged(parts, features)
    one.take(again("touch", "x", now + 1, "u", {"item": "a", "amount": 9.0}), features, 1_800_000, now + 1)
    assert [profiles.pack(part) for part in parts] == before
    alone = merged([parts[0]], features)
    assert _row(features, asked, alone, now) == _row(features, asked, parts[0], now)


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_it_does_not_matter_in_which_order_the_others_are_named(events: list[Event]) -> None:
    features, asked, parts, _, now = _live(ORDERLESS, events)
    one, other = merged(parts, features), merged([parts[0], parts[2], parts[1]], features)
    np.testing.assert_allclose(_row(features, asked, one, now), _row(features, asked, other, now), rtol=1e-6)
