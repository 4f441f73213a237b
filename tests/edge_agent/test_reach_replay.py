"""Channels in a replay, the moment by the zoo's model, and what a support person is told."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from edge_agent.agent import Agent, step
from edge_agent.decide import decision
from edge_agent.doors import Doors
from edge_agent.effects import Append
from edge_agent.happenings import Happening, Tick
from edge_agent.infer.model import F32, Array, LoadedModel
from edge_agent.shell.told import reach_in_words
from models.session import Predictor
from models.spec import Input, Parameter, Spec
from models.zoo import moment
from tests.edge_agent.house import DEVICE
from tests.edge_agent.reach_house import DAY, HOUR, MINUTE, ReachHouse
from tests.edge_agent.test_caps import TEXT
from tests.edge_agent.test_reach import DISTURB, PHONE, house, trail

GRAPH = Path(moment.__file__).parent / "graphs" / "moment" / "predict.onnx"


def _kept(shelves: Mapping[tuple[str, str], Append]) -> dict[str, decision.Trail]:
    return {one.id: decision.unpack(one.value) for one in shelves.values() if one.shelf == "decision"}


def test_a_replay_delivers_the_same_by_the_same_channels_across_restarts_and_requests() -> None:
    for seed in range(6):
        home = _lived(seed)
        recorded = {key: one for key, one in _kept(home.shelves).items() if one.trigger != "request"}
        assert len(recorded) > 5
        made = _replayed(home)
        assert {key: made.get(key) for key in recorded} == recorded, seed


def _lived(seed: int) -> ReachHouse:
    dice = Random(seed)  # noqa: S311 - it plays the world
    asked = TEXT.replace('trigger = { kind = "event", source = "stand" }', 'trigger = { kind = "request" }')
    home = ReachHouse(asked, record=True)
    for n in range(120):
        home.now += dice.choice([500, 2_000, 11_000, 5 * MINUTE, HOUR])
        match dice.randrange(6):
            case 0 | 1:
                home.say("touch", dice.choice(["ann", "bea"]), item="x")
            case 2:
                home.say("room", meeting=dice.random() < 0.5, open_window=dice.random() < 0.8)
            case 3:
                topic = f"edgeward/1/{DEVICE}/request/kiosk"
                home.tell(home.message(topic, {"subject": "ann", "correlation": f"{n}", "reply_to": "reply/1"}))
            case 4:
                home.tell(Tick())
            case _:
                if dice.random() < 0.2:
                    home.restart()
                home.tell(Tick())
    return home


def _replayed(home: ReachHouse) -> dict[str, decision.Trail]:
    doors = Doors(
        secret=b"s" * 32,
        recall=lambda *_: None,
        models={},
        over_budget=lambda *_: False,
        local_hour=lambda ms: home.zoned(ms, "")[:2],
        zoned=home.zoned,
    )
    again = Agent(home.loaded, DEVICE, doors)
    made: dict[str, decision.Trail] = {}
    for row in [one for one in home.shelves.values() if one.shelf == "journal"]:
        happening = msgspec.msgpack.decode(row.value, type=Happening)
        for effect in step(again, [happening], row.made_ms):
            if isinstance(effect, Append) and effect.shelf == "decision":
                made[effect.id] = decision.unpack(effect.value)
    return made


# ---- the moment ----------------------------------------------------------------------------------------------


def receptive_in_the_evening() -> LoadedModel:
    """The zoo's graph, with weights by hand: the chance peaks at 18:00."""
    weights: dict[str, F32] = {one.name: np.zeros(one.shape, np.float32) for one in moment.ARCHITECTURE.parameters}
    weights["rhythm"] = np.array([-3.0, 0.0, 0.0, 0.0], np.float32)
    predict = Predictor(GRAPH.read_bytes())

    def run(feeds: Mapping[str, Array]) -> F32:
        return predict({**weights, **feeds}, {})  # type: ignore[dict-item]

    columns = moment.CYCLIC + moment.AMOUNTS
    given = Input(name="features", dtype="float32", shape=(-1, columns), from_="features", features=moment.FEATURES)
    spec = Spec(
        format=1,
        name="moment",
        version="1.0.0",
        task="probability",
        licence="none",
        summary="for a test",
        inputs=(given,),
        parameters=(Parameter(name="rhythm", shape=(4,), share="shared"),),
    )
    return LoadedModel(spec=spec, catalogue=(), personal={}, path="", sha256="", run=run)


MODEL = '[[model]]\nname = "moment"\nversions = ">=1,<2"\npurposes = ["personalise"]\n'


def at_the_moment(discount: float = 0.0, expiry_s: int = 36_000) -> ReachHouse:
    text = f"""
{MODEL}
[[channel]]
{PHONE}
[[placement]]
name = "offer"
trigger = {{ kind = "event", source = "touch" }}
purposes = ["personalise"]
expiry_s = {expiry_s}
candidate = [{{ item = "soup" }}]
[placement.delivery]
channels = ["phone"]
moment = {{ model = "moment", discount = {discount} }}
"""
    home = ReachHouse(text, models=(receptive_in_the_evening(),))
    home.now = home.now // DAY * DAY + 12 * HOUR
    return home


def test_a_message_waits_for_its_moment_also_over_a_restart() -> None:
    home = at_the_moment()
    assert home.say("touch", "ann", item="x") == []
    told = trail(home).reach
    assert told is not None
    assert told.due_ms == home.now + 6 * HOUR
    home.restart()
    assert home.wait(6 * HOUR - 1_000, step=10 * MINUTE) == []
    (word,) = home.wait(2_000, step=1_000)
    assert word.id == trail(home).id


def test_no_moment_is_worth_any_waiting() -> None:
    assert len(at_the_moment(discount=0.9).say("touch", "ann", item="x")) == 1


def test_the_moment_lies_within_the_expiry() -> None:
    home = at_the_moment(expiry_s=2 * 3_600)
    home.say("touch", "ann", item="x")
    assert trail(home).reach.due_ms == home.now + HOUR  # type: ignore[union-attr]


def test_without_the_models_bundle_it_goes_at_once() -> None:
    home = at_the_moment()
    home.agent.doors.models.clear()  # type: ignore[attr-defined]
    assert len(home.say("touch", "ann", item="x")) == 1
    assert "no bundle" in trail(home).reach.moment  # type: ignore[union-attr]


# ---- explain -------------------------------------------------------------------------------------------------


def test_a_support_person_is_told_who_was_reached_how_and_why_not() -> None:
    home = house('channels = ["phone"]', DISTURB % "hold")
    home.say("room", meeting=True)
    home.say("touch", "ann", item="x")
    home.wait(MINUTE, step=1_000)
    home.say("room", meeting=False)
    home.wait(15_000, step=1_000)
    kept = trail(home)
    lines = "\n".join(reach_in_words(kept, home.notes(kept.id)))
    for words in (
        "person ann, about @offer",
        "channel phone: shut",
        "do not disturb: a meeting",
        "waits",
        "phone carries it",
    ):
        assert words in lines, lines


def test_a_plain_decision_has_nothing_to_tell_of_channels() -> None:
    home = house('channels = ["phone"]')
    home.say("touch", "ann", item="x")
    assert reach_in_words(msgspec.structs.replace(trail(home), reach=None), []) == []
