"""Trace context by the W3C's rules, stages as they are timed, and facts of what is traced, with a clock by hand."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import tracecontext
from edge_agent.decide.decision import Trail
from edge_agent.happenings import Tick
from edge_agent.timings import FACTS_MAX, STAGES, Timings, Untimed
from firmware_configs.messages import JSON, Topics
from tests.edge_agent.house import DEVICE, HOME, House

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
WALL = 1_800_000_000_000_000_000
TRAIL = Trail(
    id="ab" * 16,
    placement="presence",
    event_id="e",
    subject="Zoe",
    trigger="room",
    fields={},
    candidates=1,
    eligible=1,
    items=("on",),
    score=1.0,
    propensity=1.0,
    policy="best",
    channel="app",
    profile="p",
    event_time_ms=0,
    decided_ms=1_000,
)


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def __call__(self) -> int:
        return self.ns

    def wall(self) -> int:
        return WALL + self.ns


def _timings(share: float = 0.0) -> tuple[Timings, Clock]:
    clock = Clock()
    return Timings(clock, clock.wall, share), clock


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_context_or_none(text: str) -> None:
    tracecontext.read(text)
    tracecontext.outgoing(text, "ab" * 16)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.integers(0, 255))
def test_what_is_well_formed_is_read_and_goes_on_in_the_same_trace(trace_id: int, span_id: int, flag: int) -> None:
    trace, span, flags = f"{trace_id:032x}", f"{span_id:016x}", f"{flag:02x}"
    parent = f"00-{trace}-{span}-{flags}"
    found = tracecontext.read(parent)
    if set(trace) == {"0"} or set(span) == {"0"}:
        assert found is None
        return
    assert found == (trace, span, bool(int(flags, 16) & 1))
    child = tracecontext.read(tracecontext.outgoing(parent, "ab" * 16))
    assert child == (trace, "ab" * 8, found.sampled)


@pytest.mark.parametrize(
    "text",
    ["", f"00-{TRACE}-{SPAN}-01-x", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-1"],
)
def test_what_is_malformed_begins_anew(text: str) -> None:
    assert tracecontext.read(text) is None
    assert tracecontext.outgoing(text, "ab" * 16) == ""


def test_a_later_version_with_more_parts_is_read_by_its_first_four() -> None:
    assert tracecontext.read(f"01-{TRACE}-{SPAN}-01-more") == (TRACE, SPAN, True)


def test_each_lap_counts_what_went_since_the_last() -> None:
    timings, clock = _timings()
    timings.begin("")
    clock.ns += 3_000
    timings.lap("intake")
    clock.ns += 100_000
    timings.lap("memory")
    told = timings.stages()
    assert (told["intake"].count, told["intake"].sum_s) == (1, pytest.approx(3e-6))
    assert told["intake"].buckets == {(3_000).bit_length(): 1}
    assert told["memory"].buckets == {(100_000).bit_length(): 1}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_a_bucket_holds_times_below_its_bound_and_above_the_one_before(times: list[int]) -> None:
    timings, clock = _timings()
    for took in times:
        mark = timings.mark()
        clock.ns += took
        timings.since("commit", mark)
    told = timings.stages()["commit"]
    assert told.count == len(times)
    for n, count in told.buckets.items():
        assert count == sum(2**n // 2 <= took < 2**n for took in times)


def test_a_flood_is_timed_every_five_milliseconds_and_an_idle_device_always() -> None:
    timings, clock = _timings()
    for _ in range(1_000):
        timings.begin("")
        clock.ns += 200_000
        timings.lap("intake")
    assert timings.stages()["intake"].count == 40
    for _ in range(10):
        clock.ns += 50_000_000
        timings.begin("")
        timings.lap("intake")
    assert timings.stages()["intake"].count == 50


def _decide(timings: Timings, clock: Clock, traceparent: str, trail: Trail = TRAIL) -> str:
    trail = msgspec.structs.replace(trail, traceparent=traceparent)
    timings.begin(traceparent)
    for stage in ("intake", "memory", "model", "choose"):
        clock.ns += 1_000
        timings.lap(stage)  # type: ignore[arg-type]
    timings.decided(trail)
    timings.lap("keep")
    sent = timings.outgoing(trail)
    timings.lap("enter")
    return sent


def test_what_is_sampled_is_a_fact_with_its_stages_commit_and_publication() -> None:
    timings, clock = _timings()
    sent = _decide(timings, clock, SAMPLED)
    mark = timings.mark()
    clock.ns += 5_000
    timings.since("commit", mark)
    mark = timings.mark()
    clock.ns += 7_000
    timings.handed_over(["", sent], mark)
    (fact,) = timings.facts()
    assert (fact.trace, fact.parent, fact.span) == (TRACE, SPAN, TRAIL.id[:16])
    assert [lap.stage for lap in fact.laps] == [
        "intake", "memory", "model", "choose", "keep", "enter", "commit", "publish"
    ]  # fmt: skip
    ends = [lap.offset_ns + lap.ns for lap in fact.laps]
    assert ends == sorted(ends)
    assert fact.end_ns - fact.start_ns == ends[-1] == 16_000
    assert sent == f"00-{TRACE}-{TRAIL.id[:16]}-01"


def test_what_is_not_sampled_is_none_and_says_so_to_those_who_come_after() -> None:
    timings, clock = _timings(1.0)
    assert _decide(timings, clock, UNSAMPLED) == f"00-{TRACE}-{TRAIL.id[:16]}-00"
    assert timings.facts() == []


def test_of_messages_without_a_trace_every_nth_begins_one() -> None:
    timings, clock = _timings(0.25)
    sent = [_decide(timings, clock, "") for _ in range(40)]
    assert len(timings.facts()) == 10
    assert {one for one in sent if one} == {f"00-{TRAIL.id}-{TRAIL.id[:16]}-01"}
    assert all((fact.trace, fact.parent) == (TRAIL.id, "") for fact in timings.facts())


def test_an_outcome_joins_the_decisions_trace_under_whoever_brought_it() -> None:
    timings, clock = _timings()
    sent = _decide(timings, clock, SAMPLED)
    trail = msgspec.structs.replace(TRAIL, traceparent=SAMPLED)
    for said, parent, link in (
        ("", TRAIL.id[:16], ""),
        (sent.replace(TRAIL.id[:16], "c" * 16), "c" * 16, ""),
        (f"00-{'d' * 32}-{'e' * 16}-01", TRAIL.id[:16], f"{'d' * 32}-{'e' * 16}"),
    ):
        timings.begin(said)
        timings.outcome(trail, 3_500)
        fact = timings.facts()[-1]
        assert (fact.kind, fact.trace, fact.parent, fact.link) == ("outcome", TRACE, parent, link)
    assert timings.outcomes()["presence"].count == 3
    assert timings.outcomes()["presence"].p50_ms == pytest.approx(2_500, rel=0.2)


def test_an_outcome_of_what_was_not_traced_is_timed_alone() -> None:
    timings, clock = _timings()
    _decide(timings, clock, "")
    timings.begin("")
    timings.outcome(TRAIL, 1_100)
    assert timings.facts() == []
    assert timings.outcomes()["presence"].count == 1


def test_a_message_decided_about_at_two_placements_has_two_facts_with_their_own_stages() -> None:
    timings, clock = _timings()
    _decide(timings, clock, SAMPLED)
    for stage in ("model", "choose"):
        clock.ns += 9_000
        timings.lap(stage)  # type: ignore[arg-type]
    timings.decided(msgspec.structs.replace(TRAIL, id="cd" * 16, placement="lamp", traceparent=SAMPLED))
    timings.lap("keep")
    first, second = timings.facts()
    assert [lap.stage for lap in first.laps] == ["intake", "memory", "model", "choose", "keep", "enter"]
    assert [lap.stage for lap in second.laps] == ["intake", "memory", "model", "choose", "keep"]
    assert second.laps[2].ns == 9_000


def test_what_is_remembered_is_bounded() -> None:
    timings, clock = _timings(1.0)
    for n in range(FACTS_MAX + 50):
        _decide(timings, clock, "", msgspec.structs.replace(TRAIL, id=f"{n:032x}"))
    assert len(timings.facts()) == FACTS_MAX
    assert timings.facts()[-1].number == FACTS_MAX + 50
    assert max(map(len, (timings._awaited, timings._ours, timings._fresh))) <= FACTS_MAX


def test_facts_hold_no_subject_and_no_value() -> None:
    timings, clock = _timings()
    _decide(timings, clock, SAMPLED)
    told = msgspec.json.encode(timings.facts()).decode()
    assert "Zoe" not in told
    assert not re.search(r'"e"', told)


def test_what_a_tick_brings_about_belongs_to_no_message() -> None:
    timings, _ = _timings()
    house = House()
    house.agent.doors = msgspec.structs.replace(house.agent.doors, timings=timings)
    house.tell(house.reading(1), Tick())
    timings.outcome(msgspec.structs.replace(TRAIL, traceparent=SAMPLED), 1_000)
    (fact,) = timings.facts()
    assert (fact.parent, fact.link) == (TRAIL.id[:16], "")
    house.tell(msgspec.structs.replace(house.reading(2), traceparent=SAMPLED.replace("0af", "1af")), Tick())
    timings.outcome(msgspec.structs.replace(TRAIL, traceparent=SAMPLED), 1_000)
    assert timings.facts()[-1].link == ""


def test_a_home_decides_the_same_timed_traced_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for timings in (Untimed(), _timings(0.5)[0]):
        monkeypatch.setattr("edge_agent.doors.Doors.timings", timings, raising=False)
        house = House(HOME).everyone_agrees()
        house.agent.doors = msgspec.structs.replace(house.agent.doors, timings=timings)
        house.agent.gate._timings = timings
        for place in house.agent.placements.values():
            place._doors = house.agent.doors
        for n in range(10):
            house.tell(house.reading(n, light=50.0 * n))
            house.now += 1_000
        decided = house.decisions()
        feedback = {"decision_id": decided[0].id, "outcome": "override"}
        house.tell(house.message(Topics(DEVICE).of("feedback"), feedback, content_type=JSON))
        made.append([msgspec.structs.replace(one, traceparent="") for one in decided])
    assert made[0] == made[1]
    assert {stage for stage, told in timings.stages().items() if told.count} >= {"intake", "memory", "model", "enter"}
    assert set(timings.stages()) == set(STAGES)
    assert len(timings.facts()) >= 5
