"""What is served is what is trained on, to the last bit; restarts, eviction and the store change nothing of it."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide import decision
from edge_agent.learn import examples
from firmware_configs.messages import MSGPACK, Feedback, Topics
from models import spec as s
from tests.edge_agent.house import DEVICE, HOME, PERSON, House, bundle

RICH: tuple[s.FeatureSpec, ...] = (
    s.Mean(field="temperature", window_s=3_600),
    s.Ewma(field="humidity", half_life_s=600),
    s.Window(take="max", over="session", span_s=900, field="light"),
    s.Window(take="sum", over="tumbling", span_s=1_800, field="co2", closed=True),
)
"""As many columns as the shipped `context` has: its graph runs on them as it is."""
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["reading", "reading", "reading", "late", "restart", "evict", "feedback"]),
        st.integers(1, 1_200),
        st.floats(0, 900, width=32),
        st.booleans(),
    ),
    max_size=20,
)


def _house() -> House:
    house = House().everyone_agrees()
    shipped = bundle("context")
    given_input = msgspec.structs.replace(shipped.spec.inputs[0], features=RICH)
    house._models["context"] = msgspec.structs.replace(
        shipped, spec=msgspec.structs.replace(shipped.spec, inputs=(given_input,))
    )
    house.agent.models_changed()
    return house


def _live(house: House, moves: list[tuple[str, int, float, bool]], *, troubled: bool) -> None:
    for number, (move, seconds, light, occupied) in enumerate(moves):
        house.now += seconds * 1_000
        if move in {"reading", "late"}:
            happened = house.now / 1_000 - (600 if move == "late" else 0)
            house.tell(house.reading(number, light=light, time=happened, occupied=occupied))
        elif move == "feedback" and house.decisions():
            word = Feedback(decision_id=house.decisions()[-1].id, outcome="accepted")
            house.tell(house.message(Topics(DEVICE).of("feedback"), msgspec.msgpack.encode(word), content_type=MSGPACK))
        elif move == "restart" and troubled:
            house.restart()
        elif move == "evict" and troubled:
            house.agent.profiles.limit(0, 0)
            house.agent.profiles.trim()


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_an_example_holds_the_very_row_that_was_served(moves: list[tuple[str, int, float, bool]]) -> None:
    house = _house()
    _live(house, moves, troubled=True)
    kept = {key: row.value for (shelf, key), row in house.shelves.items() if shelf == "example"}
    trails = [decision.unpack(row.value) for (shelf, _), row in house.shelves.items() if shelf == "decision"]
    checked = 0
    for trail in trails:
        for cause in (trail.event_id, f"feedback:{trail.id}:{trail.items[0]}"):
            packed = kept.get(examples.example_id("context", cause))
            if packed is not None and not trail.fallback:
                assert examples.unpack(packed).features == trail.features
                checked += 1
    assert checked >= sum(not trail.fallback and trail.placement == "presence" for trail in trails)


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_restarts_and_eviction_change_neither_decisions_nor_examples(moves: list[tuple[str, int, float, bool]]) -> None:
    steady, troubled = _house(), _house()
    _live(steady, moves, troubled=False)
    _live(troubled, moves, troubled=True)
    for shelf in ("decision", "example"):
        first, second = (
            {key: row.value for (of, key), row in house.shelves.items() if of == shelf} for house in (steady, troubled)
        )
        assert first == second


def test_a_batch_of_more_subjects_than_memory_holds_loses_nothing() -> None:
    one, many = House().everyone_agrees(), House().everyone_agrees()
    for house in (one, many):
        for n in range(30):
            house.consent(f"p{n}", "personalise", "improve-models")
        house.agent.profiles.limit(0, 4)
    picks = [many.pick(n, user=f"p{n % 30}") for n in range(90)]
    many.tell(*picks)
    for pick in picks:
        one.tell(pick)
    for n in range(30):
        assert one.rows["profile", f"p{n}"][0] == many.rows["profile", f"p{n}"][0]
    many.tell()
    assert len(many.agent.profiles) <= 4


def test_withdrawal_forgets_the_profile_even_when_an_event_follows_in_the_same_step() -> None:
    text = HOME.replace('purposes = ["personalise"]', 'purposes = ["personalise", "operate"]')
    house = House(text).everyone_agrees()
    house.tell(house.pick(1), house.pick(2))
    assert house.agent.profile_of(PERSON).session(house.now)["events"] == 2.0
    no = {"purposes": {"personalise": False, "improve-models": False}, "time_ms": house.now + 1}
    house.now += 1_000
    house.tell(house.message(Topics(DEVICE).of("consent", PERSON), no), house.pick(3))
    house.restart()
    assert house.agent.profile_of(PERSON).session(house.now)["events"] <= 1.0
