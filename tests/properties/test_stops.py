"""A `stop` stops, whoever would decide: model, policy, hold, cache, popular item, rule, default or request."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.messages import DecisionMade, Feedback, Request, Topics
from tests.edge_agent.house import DEVICE, HOME, House

PLACE = """
[[placement]]
name = "tray"
trigger = { kind = "event", source = "room" }
purposes = ["comfort"]
candidate = [{ item = "a" }, { item = "b" }, { item = "c" }]
policy = { kind = "epsilon-greedy", epsilon = 0.5 }
slate = 2
fallback = "a"
stability = { hold_s = 600.0, switch_margin = 0.1 }
popular = {}
reward = [{ outcome = "click", value = 1.0 }]

[[placement.rule]]
name = "never-hot"
when = "fields.temperature > 60.0"
effect = "stop"
reason = "Nothing while it is hot."

[[placement.rule]]
name = "barred"
when = "item == 'a' && fields.co2 > 900.0 || item == 'c' && fields.co2 < 500.0"
effect = "stop"
reason = "These never then."

[[placement.rule]]
name = "liked"
when = "item == 'a'"
effect = "boost"
value = 5.0
reason = "It is liked best."

# ---- what may be switched"""
TEXT = HOME.replace("# ---- what may be switched", PLACE, 1)
HAPPENS = st.tuples(
    st.sampled_from([20.0, 61.0]), st.sampled_from([400.0, 700.0, 1_000.0]), st.booleans(), st.booleans(), st.booleans()
)


@settings(max_examples=40, deadline=None)
@given(st.lists(HAPPENS, min_size=1, max_size=10))
def test_what_is_stopped_is_never_decided(days: list[tuple[float, float, bool, bool, bool]]) -> None:
    house = House(TEXT).everyone_agrees()
    for number, (temperature, co2, slow, asks, restarts) in enumerate(days):
        house.now += 20_000
        house._over = slow
        if restarts:
            house.restart()
        before = len(_of_tray(house))
        house.tell(house.reading(number, temperature=temperature, co2=co2))
        if asks:
            fields: dict[str, float | str | bool] = {"temperature": temperature, "co2": co2}
            word = Request(fields=fields, items=("a", "b", "c", "d"), correlation=str(number))
            house.tell(house.message(Topics(DEVICE).of("request", "tray"), msgspec.to_builtins(word)))
        for made in _of_tray(house)[before:]:
            assert temperature <= 60.0
            assert "a" not in made.items or co2 <= 900.0
            assert "c" not in made.items or co2 >= 500.0
            told = Feedback(decision_id=made.id, outcome="click")
            house.tell(house.message(Topics(DEVICE).of("feedback"), msgspec.to_builtins(told)))


def _of_tray(house: House) -> list[DecisionMade]:
    return [made for made in house.decisions() if made.placement == "tray"]
