"""The last door before an actuator: what its limits forbid is never sent, whatever decided it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.effects import Log
from tests.edge_agent.house import HOME, House

LIMITS = """
per_minute_max = 60
lasts_s = { lights-off = 300.0 }

[[actuator.limit]]
name = "not-when-hot"
never = "item == 'lights-on' && fields.temperature > 60.0"
fresh_s = 600.0
reason = "The lamp holder must not get hotter."

[[actuator.limit]]
name = "not-with-the-heater"
never = "item == 'lights-on' && actuators.heater == 'heat'"
reason = "The fuse carries only one of them."

[[actuator]]
name = "heater"
topic = "home/{device}/heater/set"
payloads = { heat = "HEAT", rest = "REST" }
"""
HEATER = """
[[placement]]
name = "warmth"
trigger = { kind = "event", source = "room", when = "fields.co2 == 405.0 || fields.co2 == 410.0" }
purposes = ["comfort"]
candidate = [{ item = "heat" }, { item = "rest" }]
actuator = "heater"

[[placement.rule]]
name = "as-asked"
when = "item == (fields.co2 == 405.0 ? 'heat' : 'rest')"
effect = "allow-only"
reason = "Somebody has asked for it."

# ---- what may be switched"""
ALWAYS_ON = """
[[placement.rule]]
name = "always-on"
when = "item == (fields.humidity > 50.0 ? 'lights-off' : 'lights-on')"
effect = "allow-only"
reason = "For the test."
"""


def _house() -> House:
    text = HOME.replace("per_minute_max = 60\n", LIMITS, 1)
    text = text.replace(
        'reason = "There is daylight enough."\n', f'reason = "There is daylight enough."\n{ALWAYS_ON}', 1
    )
    text = text.replace("# ---- what may be switched", HEATER, 1)
    return House(text).everyone_agrees()


def _commands(house: House, topic: str = "lights") -> list[str]:
    return [sent.payload.decode() for sent in house.sent if sent.topic.endswith(f"/{topic}/set")]


def test_a_limit_holds_the_command_back_and_says_why() -> None:
    house = _house()
    house.tell(house.reading(1, temperature=61.0))
    assert _commands(house) == []
    assert house.decisions()[-1].items == ("lights-on",)
    (log,) = (effect for effect in house.effects if isinstance(effect, Log) and effect.code == "AGT403")
    assert log.text == "lights was not told lights-on: limit not-when-hot: The lamp holder must not get hotter."
    house.now += 1_000
    house.tell(house.reading(2, temperature=20.0))
    assert _commands(house) == ["ON"]


def test_a_reading_that_is_missing_or_too_old_forbids() -> None:
    house = _house()
    # An event without the temperature: what was read before still counts, for ten minutes.
    bare = {"id": "r9", "light": 1.0, "humidity": 30.0, "co2": 1.0}
    house.tell(house.message(house.reading(1).topic, {**bare, "time": house.now / 1_000}))
    assert _commands(house) == []
    assert house.agent.counters["suppressed.actuator-limit"] == 1
    house.now += 1_000
    house.tell(house.reading(2))
    assert _commands(house) == ["ON"]
    house.restart()
    house.now += 500_000
    house.tell(house.message(house.reading(1).topic, {**bare, "id": "r10", "time": house.now / 1_000}))
    assert _commands(house) == ["ON", "ON"]
    house.now += 200_000
    house.tell(house.message(house.reading(1).topic, {**bare, "id": "r11", "time": house.now / 1_000}))
    assert _commands(house) == ["ON", "ON"]


def test_two_that_exclude_each_other_are_never_on_together() -> None:
    house = _house()
    house.tell(house.reading(1, co2=405.0))
    assert (_commands(house), _commands(house, "heater")) == (["ON"], ["HEAT"])
    house.now += 1_000
    house.restart()
    house.tell(house.reading(2))
    assert _commands(house) == ["ON"]
    house.now += 1_000
    house.tell(house.reading(3, co2=410.0))
    house.now += 1_000
    house.tell(house.reading(4))
    assert _commands(house) == ["ON", "ON"]


def test_what_must_last_lasts_across_a_restart() -> None:
    house = _house()
    house.tell(house.reading(1, humidity=60.0))
    house.now += 299_000
    house.restart()
    house.tell(house.reading(2))
    assert _commands(house) == ["OFF"]
    house.now += 1_000
    house.tell(house.reading(3))
    assert _commands(house) == ["OFF", "ON"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([20.0, 60.0, 61.0, 90.0]), st.booleans(), st.booleans()), max_size=12))
def test_no_command_ever_passes_a_limit(days: list[tuple[float, bool, bool]]) -> None:
    house = _house()
    for number, (temperature, restarts, damp) in enumerate(days):
        house.now += 30_000
        before = len(_commands(house))
        house.tell(house.reading(number, temperature=temperature, humidity=60.0 if damp else 30.0))
        if temperature > 60.0:
            assert "ON" not in _commands(house)[before:]
        if restarts:
            house.restart()
