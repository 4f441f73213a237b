"""Topics, codecs, minimisation, duplicates and event time, one room at a time."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import FieldInvalid, IntakeError, PayloadMalformed, PayloadTooLarge
from edge_agent.intake.dedupe import Dedupe
from edge_agent.intake.event import at_path, decode
from edge_agent.intake.minimise import Minimised, Minimiser
from edge_agent.intake.topic import Topics
from edge_agent.intake.watermark import Combined, Watermark, event_time_reader, plausible
from edge_agent.limits import FUTURE_MS_MAX
from firmware_configs import profile as p

SECRET = b"k" * 32
CODECS = ("json", "msgpack", "cloudevents", "scalar", "home-assistant", "zigbee2mqtt")


def _topics(*filters: str) -> Topics:
    return Topics([(flt, f"s{n}") for n, flt in enumerate(filters)], ["shelf"], "edgeward/1/d", 8)


@pytest.mark.parametrize(
    ("flt", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "x/y", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("+", "", True),
        ("$share/g/a/+", "a/b", True),
    ],
)
def test_topic_filters_match_as_mqtt_says(flt: str, topic: str, matches: bool) -> None:
    route = _topics(flt).route(topic)
    assert (route is not None) == matches


def test_our_own_doors_are_known() -> None:
    topics = _topics("a")
    found = [topics.route(f"edgeward/1/d/{t}") for t in ("feedback", "desired", "request/shelf", "consent/u/1")]
    assert [(r.door, r.name) for r in found if r] == [
        ("feedback", ""),
        ("desired", ""),
        ("request", "shelf"),
        ("consent", "u/1"),
    ]
    assert topics.route("edgeward/1/d/request/unknown") is None


def test_remembered_matches_stay_bounded_and_right() -> None:
    topics = _topics("a/+")
    for n in range(200):
        route = topics.route(f"a/{n}")
        assert route is not None
        assert route.name == "s0"
    assert len(topics._known) < 30


def test_each_codec_reads_its_own_shape() -> None:
    event = {"v": 1.5}
    assert decode("json", b'{"v": 1.5}', "", (), "t") == event
    assert decode("json", msgspec.msgpack.encode(event), "application/msgpack", (), "t") == event
    assert decode("msgpack", msgspec.msgpack.encode(event), "", (), "t") == event
    assert decode("scalar", b" 21.5\n", "", (), "t") == {"value": 21.5}
    assert decode("scalar", b"ON", "", (), "t") == {"value": True}
    assert decode("home-assistant", b"23.4", "", (), "ha/sensor/attic/state") == {"state": 23.4, "entity": "attic"}
    state = decode("home-assistant", b'{"state": "off", "attributes": {"a": 1}}', "", (), "x")
    assert state == {"entity": "x", "state": False, "attributes": {"a": 1}}
    assert decode("zigbee2mqtt", b'{"temperature": 20}', "", (), "z/kitchen") == {
        "device": "kitchen",
        "temperature": 20,
    }


def test_cloudevents_are_read_in_both_modes() -> None:
    structured = b'{"specversion": "1.0", "id": "7", "data": {"v": 2}}'
    found = decode("cloudevents", structured, "application/cloudevents+json", (), "t")
    binary = decode("cloudevents", b'{"v": 2}', "", (("specversion", "1.0"), ("id", "7")), "t")
    for event in (found, binary):
        assert at_path(event, ("data", "v")) == 2
        assert event["id"] == "7"


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CODECS), st.binary(max_size=120), st.sampled_from(["", "application/msgpack"]))
def test_any_bytes_decode_or_are_refused_by_name(codec: str, payload: bytes, content_type: str) -> None:
    try:
        assert isinstance(decode(codec, payload, content_type, (), "a/b"), dict)
    except IntakeError as error:
        assert error.hint


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=5))
def test_json_and_msgpack_say_the_same(event: dict[str, Any]) -> None:
    one = decode("json", msgspec.json.encode(event), "", (), "t")
    other = decode("msgpack", msgspec.msgpack.encode(event), "", (), "t")
    assert one == other


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"{" + b",".join(b'"%d":1' % n for n in range(600)) + b"}",
        b'"' + b"x" * 300_000 + b'"',
    ],
)
def test_too_deep_too_wide_and_too_long_are_refused(payload: bytes) -> None:
    with pytest.raises((PayloadTooLarge, PayloadMalformed)):
        decode("json", payload, "", (), "t")


def _minimiser(transform: p.Transform, kind: str = "number", **more: Any) -> Minimiser:
    field = p.SourceField(
        name="v",
        path="a.v",
        type=kind,
        category="c",
        purposes=("needs",),
        transform=transform,
        **more,  # type: ignore[arg-type]
    )
    return Minimiser(p.Source(name="s", topic="t", field=(field,)), {"needs"}, SECRET)


def _kept(transform: p.Transform, value: object, kind: str = "number", t_ms: int = 0) -> object:
    event = _minimiser(transform, kind).minimise({"a": {"v": value}, "other": 1}, "e", t_ms, "u", {"needs"})
    assert event is not None
    assert set(event.fields) == {"v"}
    return event.fields["v"]


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308, -1e308])
@pytest.mark.parametrize(
    "transform",
    [
        p.Keep(),
        p.Round(step=0.1),
        p.CoarseLocation(cell_degrees=0.01),
        p.Bucket(edges=(0.0, 1.0)),
        p.TruncateTime(to="day"),
    ],
)
def test_numbers_beyond_all_measure_are_refused_or_stay_finite_floats(transform: p.Transform, value: float) -> None:
    try:
        kept = _kept(transform, value)
    except FieldInvalid:
        return
    assert isinstance(kept, float)
    assert math.isfinite(kept)


def test_transforms_do_what_they_say() -> None:
    assert _kept(p.Keep(), 3) == 3.0
    assert _kept(p.Bucket(edges=(0.0, 10.0, 20.0)), 12.3) == 10.0
    assert _kept(p.Bucket(edges=(0.0, 10.0)), -5) == 0.0
    assert _kept(p.Round(step=0.5), 21.3) == 21.5
    assert _kept(p.TruncateTime(to="hour"), 7_300) == 7_200
    assert _kept(p.TruncateTime(to="day"), "2026-03-04T05:06:07Z", "text") == "2026-03-04"
    assert _kept(p.CoarseLocation(cell_degrees=0.1), 48.137) == pytest.approx(48.1)


def test_a_keyed_hash_hides_the_value_is_stable_and_rotates() -> None:
    day = 86_400_000
    hashed = _kept(p.KeyedHash(), "anna", "text")
    assert hashed == _kept(p.KeyedHash(), "anna", "text", 500 * day)
    assert "anna" not in str(hashed)
    assert hashed != _kept(p.KeyedHash(), "bert", "text")
    rotating = p.KeyedHash(rotate_days=30)
    assert _kept(rotating, "anna", "text", 0) != _kept(rotating, "anna", "text", 31 * day)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0.01, 100))
def test_rounding_moves_a_value_by_at_most_half_a_step(value: float, step: float) -> None:
    kept = _kept(p.Round(step=step), value)
    assert isinstance(kept, float)
    assert abs(kept - value) <= step / 2 + 1e-6 * max(1.0, abs(value))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8, unique=True), st.floats(-1e4, 1e4))
def test_a_bucket_is_one_of_its_edges(edges: list[float], value: float) -> None:
    ordered = tuple(sorted(edges))
    kept = _kept(p.Bucket(edges=ordered), value)
    assert kept in ordered
    assert kept == ordered[0] or kept <= value  # type: ignore[operator]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "5"),
        ("number", True),
        ("number", math.nan),
        ("number", math.inf),
        ("text", 1.5),
        ("text", "x" * 600),
        ("flag", 1),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_without_being_named(kind: str, value: object) -> None:
    with pytest.raises(FieldInvalid) as caught:
        _kept(p.Keep(), value, kind)
    assert "x" * 600 not in str(caught.value)
    assert "1.5" not in str(caught.value)


def test_without_consent_the_field_is_not_there() -> None:
    assert _minimiser(p.Keep()).minimise({"a": {"v": 1}}, "e", 0, "u", set()) is None


def test_only_the_minimiser_makes_a_minimised_event() -> None:
    with pytest.raises(TypeError):
        Minimised(object(), source="s", event_id="e", event_time_ms=0, subject="u", fields={})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 50)), max_size=40))
def test_within_the_window_an_id_is_new_once(steps: list[tuple[int, int]]) -> None:
    dedupe, now, first_seen = Dedupe(100, 1_000), 0, dict[int, int]()
    for key, wait in steps:
        now += wait
        expected = key not in first_seen or now >= first_seen[key] + 100
        if expected:
            first_seen[key] = now
        assert dedupe.first(str(key), now) == expected


def test_the_window_is_bounded_and_forgets_the_oldest_first() -> None:
    dedupe = Dedupe(10**9, 3)
    for key in "abcd":
        dedupe.first(key, 0)
    assert len(dedupe) == 3
    assert dedupe.first("a", 1)
    assert not dedupe.first("d", 1)


def test_a_sweep_forgets_exactly_what_is_too_old() -> None:
    dedupe = Dedupe(10, 100)
    dedupe.first("old", 0)
    dedupe.first("new", 5)
    assert dedupe.sweep(10) == 1
    assert not dedupe.first("new", 10)


def test_a_restored_window_knows_what_it_knew() -> None:
    dedupe = Dedupe(100, 10)
    dedupe.restore([("b", 200), ("a", 150)])
    assert not dedupe.first("a", 149)
    assert dedupe.first("a", 150)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.integers(0, 1_000))
def test_the_watermark_never_goes_back_and_late_means_behind_it(times: list[int], lateness: int) -> None:
    mark, now = Watermark(lateness, 1_000), 2 * 10**6
    for t in times:
        before = mark.newest_ms
        assert mark.is_late(t, now) == (t < before - lateness)
        assert mark.advance(t, now) == (t > before)
        assert mark.newest_ms == max(before, t)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-60_000, FUTURE_MS_MAX), max_size=20), st.integers(0, 60_000))
def test_devices_that_run_ahead_make_no_right_event_late(ahead: list[int], behind: int) -> None:
    mark, now = Watermark(60_000, 300_000), 1_800_000_000_000
    for lead in ahead:
        assert plausible(now + lead, now)
        mark.advance(now + lead, now)
        now += 10
    assert not mark.is_late(now - behind, now)


def test_a_mark_from_a_time_when_our_clock_was_ahead_comes_back_with_the_clock() -> None:
    mark, now = Watermark(60_000, 300_000), 1_800_000_000_000
    mark.advance(now + 10**12, now + 10**12)
    assert not mark.is_late(now, now)
    assert mark.is_late(now - 60_001, now)
    mark.advance(now, now)
    assert mark.newest_ms == now


def test_an_idle_source_does_not_hold_the_device_back() -> None:
    quick, quiet = Watermark(1_000, 300_000), Watermark(5_000, 60_000)
    both, now = Combined([quick, quiet]), 1_800_000_000_000
    assert both.at(now) == 0
    quiet.advance(now, now)
    quick.advance(now, now)
    assert both.at(now) == now - 5_000
    quick.advance(now + 59_000, now + 59_000)
    assert both.at(now + 59_000) == now - 5_000
    quick.advance(now + 60_000, now + 60_000)
    assert both.at(now + 60_000) == now + 59_000
    quiet.advance(now + 61_000, now + 61_000)
    assert both.at(now + 61_000) == now + 59_000, "it never goes back"
    assert both.at(now + 10**9) == now + 59_000, "while all are idle it stands"
    assert both.at(now) == now, "our own clock went back"


def test_event_time_is_read_in_every_unit() -> None:
    assert event_time_reader("s")(1.5) == 1_500
    assert event_time_reader("ms")(1_500) == 1_500
    assert event_time_reader("iso8601")("1970-01-01T00:00:01Z") == 1_000
    assert event_time_reader("iso8601")("1970-01-01T01:00:01+01:00") == 1_000
    for unit, wrong in (("s", "soon"), ("ms", True), ("iso8601", "yesterday"), ("s", None), ("ms", 1e300)):
        with pytest.raises(FieldInvalid):
            event_time_reader(unit)(wrong)  # type: ignore[arg-type]


@given(st.integers(1_000_000_000_001, 2_000_000_000_000))
def test_an_implausible_clock_is_before_2000_or_far_ahead(now: int) -> None:
    assert plausible(now, now)
    assert not plausible(0, now)
    assert not plausible(now + 3_600_000, now)
