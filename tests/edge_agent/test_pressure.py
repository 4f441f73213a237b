"""Under pressure critical events go first, and only what the profile allows is let go, counted."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.intake.pressure import Arrival, Pressure, Rule
from edge_agent.limits import PRESSURE_TURNS

RULES = {
    "alarm": Rule("keep", 10, critical=True),
    "meter": Rule("sample", 4, critical=False),
    "light": Rule("coalesce", 10, critical=False),
    "door": Rule("keep", 10, critical=False),
}
BATCH = st.lists(
    st.builds(Arrival, st.sampled_from(["", *RULES]), st.sampled_from(["a", "b", "c"])).map(
        lambda one: Arrival(one.source, f"{one.source}/{one.topic}")
    ),
    max_size=60,
)


@given(BATCH)
def test_what_is_taken_and_what_is_let_go_are_the_whole_batch(batch: list[Arrival]) -> None:
    places, shed = Pressure(RULES, 16).relieve(batch)
    assert len(set(places)) == len(places)
    for source in RULES:
        taken = sum(batch[place].source == source for place in places)
        assert taken + shed.get(source, 0) == sum(one.source == source for one in batch)


@given(BATCH)
def test_critical_events_and_what_is_no_event_are_never_let_go(batch: list[Arrival]) -> None:
    places, shed = Pressure(RULES, 16).relieve(batch)
    assert set(shed) <= {"meter", "light"}
    assert {place for place, one in enumerate(batch) if one.source in {"", "alarm", "door"}} <= set(places)


@given(BATCH)
def test_nothing_overtakes_a_consent_or_a_request_and_each_source_keeps_its_order(batch: list[Arrival]) -> None:
    places, _ = Pressure(RULES, 16).relieve(batch)
    for at, place in enumerate(places):
        if not batch[place].source:
            assert all(before < place for before in places[:at])
            assert all(after > place for after in places[at + 1 :])
    for source in RULES:
        own = [place for place in places if batch[place].source == source]
        assert own == sorted(own)


@given(BATCH)
def test_critical_events_go_before_the_others(batch: list[Arrival]) -> None:
    events = [one for one in batch if one.source]
    places, _ = Pressure(RULES, 16).relieve(events)
    critical = [events[place].source == "alarm" for place in places]
    assert critical == sorted(critical, reverse=True)


@given(BATCH)
def test_coalescing_keeps_the_newest_of_each_topic(batch: list[Arrival]) -> None:
    places, _ = Pressure(RULES, 16).relieve(batch)
    kept = {batch[place].topic: place for place in places if batch[place].source == "light"}
    newest = {one.topic: place for place, one in enumerate(batch) if one.source == "light"}
    assert kept == newest


@given(st.lists(st.integers(0, 20), max_size=20))
def test_sampling_takes_one_in_its_number_across_batches(sizes: list[int]) -> None:
    pressure = Pressure(RULES, 16)
    taken = sum(len(pressure.relieve([Arrival("meter", "m")] * size)[0]) for size in sizes)
    assert taken == -(-sum(sizes) // 4)


def test_pressure_is_several_full_batches_in_a_row_and_ends_with_the_first_that_is_not() -> None:
    pressure = Pressure(RULES, 16)
    for _ in range(PRESSURE_TURNS - 1):
        pressure.observe(16)
    assert not pressure.high
    pressure.observe(8)
    assert pressure.high, "half of what fits says that more waits"
    pressure.observe(7)
    assert not pressure.high
