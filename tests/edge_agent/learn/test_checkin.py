"""Check-in: what the profile asks for is held to what is known, and what is not known is not met."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.learn.checkin import Readings, hindrance
from firmware_configs.language.bundles import CheckIn

UNIT = st.floats(0.0, 1.0)
ASKED = st.builds(
    CheckIn, fresh_min=st.integers(1, 50), battery_min=UNIT, unmetered=st.booleans(), load_max=st.floats(0.0, 4.0)
)
KNOWN = st.builds(
    Readings,
    mains=st.none() | st.booleans(),
    battery=st.none() | UNIT,
    metered=st.none() | st.booleans(),
    load=st.none() | st.floats(0.0, 8.0),
)
IDEAL = Readings(mains=True, battery=1.0, metered=False, load=0.0)


@given(asked=ASKED, fresh=st.integers(0, 100))
def test_an_idle_device_on_mains_and_a_free_network_waits_for_fresh_examples_only(asked: CheckIn, fresh: int) -> None:
    assert bool(hindrance(asked, IDEAL, fresh)) == (fresh < asked.fresh_min)


@given(known=KNOWN)
def test_a_profile_that_asks_for_nothing_lets_every_device_take_part(known: Readings) -> None:
    assert hindrance(CheckIn(), known, 1) == ""


@given(asked=ASKED, known=KNOWN, fresh=st.integers(0, 100))
def test_knowing_less_never_helps(asked: CheckIn, known: Readings, fresh: int) -> None:
    if hindrance(asked, known, fresh):
        for name in Readings.__struct_fields__:
            assert hindrance(asked, msgspec.structs.replace(known, **{name: None}), fresh)


@given(
    asked=ASKED, known=KNOWN, fresh=st.integers(0, 100), better=st.sampled_from(["mains", "battery", "metered", "load"])
)
def test_a_better_reading_never_hinders(asked: CheckIn, known: Readings, fresh: int, better: str) -> None:
    if not hindrance(asked, known, fresh):
        improved = msgspec.structs.replace(known, **{better: getattr(IDEAL, better)})
        assert hindrance(asked, improved, fresh + 1) == ""


@given(asked=ASKED, known=KNOWN, fresh=st.integers(0, 100))
def test_each_condition_holds_where_a_device_takes_part(asked: CheckIn, known: Readings, fresh: int) -> None:
    if hindrance(asked, known, fresh):
        return
    assert fresh >= asked.fresh_min
    if asked.battery_min and not known.mains:
        assert known.battery is not None
        assert known.battery >= asked.battery_min
        assert asked.battery_min < 1.0
    assert not asked.unmetered or known.metered is False
    assert not asked.load_max or (known.load is not None and known.load <= asked.load_max)


def test_the_reason_says_what_is_and_what_is_asked_for() -> None:
    asked = CheckIn(battery_min=0.5)
    assert hindrance(asked, Readings(mains=False, battery=0.3), 9) == "battery at 30%, 50% are asked for"
    assert (
        hindrance(CheckIn(battery_min=1.0), Readings(mains=False, battery=1.0), 9) == "on battery, mains are asked for"
    )
    assert hindrance(CheckIn(unmetered=True), Readings(metered=True), 9) == "the network is metered"
    assert hindrance(CheckIn(load_max=0.5), Readings(load=2.0), 9) == "busy: load 2.00 above 0.5"
    assert hindrance(CheckIn(fresh_min=10), IDEAL, 9) == "9 fresh examples, 10 are asked for"
