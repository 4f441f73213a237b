"""Bandits in a real agent: what they learn, limit and wait for survives a restart, and a replay decides the same."""

import subprocess
import sys
from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.agent import Agent, step
from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.doors import Doors
from edge_agent.effects import Append
from edge_agent.happenings import BundleReady, Happening, Tick
from edge_agent.infer.model import Array, LoadedModel
from edge_agent.learn import examples
from firmware_configs.messages import MSGPACK, DecisionMade, Feedback, Topics
from tests.edge_agent.house import DEVICE, HOME, ROOT, House, bundle

F32 = NDArray[np.float32]
PLACE = "presence"
POLICIES = [
    '{ kind = "thompson", half_life_rewards = 50.0 }',
    '{ kind = "thompson-gaussian" }',
    '{ kind = "lin-ucb", epsilon = 0.1 }',
    '{ kind = "lin-thompson", half_life_s = 3600.0 }',
    '{ kind = "square-cb", gamma = 5.0 }',
]
MINUTE = 60_000
DAY = 86_400_000


def _written(policy: str, *lines: str) -> str:
    """The home's profile; its room is decided by this policy, without a rule or a limit on switching."""
    head, rest = HOME.split(f'name = "{PLACE}"', 1)
    rest = rest.replace('policy = { kind = "best" }', "\n".join([f"policy = {policy}", *lines]), 1)
    rule, actuators = rest.index("[[placement.rule]]"), rest.index("# ---- what may be switched")
    return head + f'name = "{PLACE}"' + rest[:rule] + rest[actuators:]


def _decide(house: House, number: int, light: float = 420.0) -> DecisionMade:
    house.now += MINUTE
    house.tell(house.reading(number, light))
    return house.decisions()[-1]


def _answer(house: House, made: DecisionMade, outcome: str) -> None:
    house.now += 1_000
    word = msgspec.msgpack.encode(Feedback(decision_id=made.id, outcome=outcome))
    house.tell(house.message(Topics(DEVICE).of("feedback"), word, content_type=MSGPACK))


def _live(house: House, count: int, seed: int, restart_every: int = 0) -> list[tuple[str, float]]:
    """People like the lights on when it is dark and off when it is bright, whatever the model says."""
    dice, told = np.random.default_rng(seed), []
    for number in range(count):
        if restart_every and number % restart_every == 0:
            house.restart()
        light = float(dice.choice([20.0, 700.0]))
        made = _decide(house, number, light)
        told.append((made.items[0], made.propensity))
        right = "lights-on" if light < 100.0 else "lights-off"
        if dice.random() < 0.8:
            _answer(house, made, "accepted" if made.items[0] == right else "override")
    return told


def _trails(house: House, place: str = PLACE) -> list[Trail]:
    rows = [row for row in house.shelves.values() if row.shelf == "decision" and row.group == place]
    return [decision.unpack(row.value) for row in rows]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_restart_at_any_point_changes_no_choice_and_no_propensity(policy: str) -> None:
    lines = ("no_outcome = 0.0", "reward_window_s = 600.0", "exploration = { share_per_day = 0.5 }")
    through, again = House(_written(policy, *lines)), House(_written(policy, *lines))
    assert _live(through.everyone_agrees(), 80, 3) == _live(again.everyone_agrees(), 80, 3, restart_every=7)
    assert through.rows == again.rows


@pytest.mark.parametrize("policy", POLICIES[2:])
def test_a_linear_policy_learns_what_the_model_gets_wrong(policy: str) -> None:
    house = House(_written(policy)).everyone_agrees()
    _live(house, 240, 5)
    late = _trails(house)[-80:]
    right = [(t.fields["light"] < 100.0) == (t.items[0] == "lights-on") for t in late]
    # The model itself holds that light means people, so it is wrong nearly always here.
    assert np.mean(right) > 0.75


def test_the_trail_says_what_was_expected_and_how_surely() -> None:
    house = House(_written(POLICIES[4])).everyone_agrees()
    _live(house, 60, 1)
    last = _trails(house)[-1]
    assert last.policy == "square-cb"
    assert -0.5 < last.estimate < 1.5
    assert 0.0 < last.uncertainty < 1.0
    assert len(last.prior) == 1


def test_a_decision_without_an_outcome_counts_once_when_its_window_closes() -> None:
    house = House(_written('{ kind = "thompson" }', "no_outcome = 0.0", "reward_window_s = 600.0")).everyone_agrees()
    silent = _decide(house, 1)
    spoken = _decide(house, 2)
    _answer(house, spoken, "accepted")
    assert house.agent.counters.get("feedback.none", 0) == 0
    house.restart()
    house.now += 601_000
    house.tell(Tick())
    assert house.agent.counters["feedback.none"] == 1
    house.restart()
    house.now += 10
    house.tell(Tick())
    held = msgspec.msgpack.decode(house.rows["bandit", PLACE][0])
    assert sum(held[item][0] + held[item][1] for item in held if item[0] != "\x00") == 2.0
    # Said in time by its own clock, but it arrives after the window: it was counted already.
    before = house.rows["bandit", PLACE]
    word = Feedback(decision_id=silent.id, outcome="accepted", time_ms=silent.decided_ms + 5)
    house.tell(house.message(Topics(DEVICE).of("feedback"), msgspec.msgpack.encode(word), content_type=MSGPACK))
    assert house.rows["bandit", PLACE] == before
    assert house.agent.counters["feedback.too-late"] == 1


def test_when_the_closing_runs_changes_nothing() -> None:
    lines = ("no_outcome = 0.1", "reward_window_s = 300.0")
    ticked, idle = (House(_written(POLICIES[4], *lines)).everyone_agrees() for _ in range(2))
    told: list[list[tuple[str, float]]] = []
    for house, ticks in ((ticked, True), (idle, False)):
        found = []
        for number in range(40):
            made = _decide(house, number, 20.0 + 600.0 * (number % 2))
            found.append((made.items[0], made.propensity))
            if number % 3 == 0:
                _answer(house, made, "accepted")
            if ticks:
                house.now += 0
                house.tell(Tick())
        told.append(found)
    assert told[0] == told[1]


def test_what_was_erased_teaches_nothing() -> None:
    house = House(_written('{ kind = "thompson" }', "no_outcome = 0.0", "reward_window_s = 600.0")).everyone_agrees()
    _decide(house, 1)
    house.shelves.clear()
    house.restart()
    house.now += 700_000
    house.tell(Tick())
    assert ("bandit", PLACE) not in house.rows
    assert house.agent.counters.get("feedback.none", 0) == 0


@pytest.mark.parametrize(
    ("limit", "most"), [("share_per_day = 0.1", 0.1), ("decisions_per_day = 4", None), ("loss_per_day = 0.5", None)]
)
def test_the_budget_of_a_day_is_never_passed_also_across_restarts(limit: str, most: float | None) -> None:
    house = House(
        _written('{ kind = "epsilon-greedy", epsilon = 0.8 }', f"exploration = {{ {limit} }}")
    ).everyone_agrees()
    dice = np.random.default_rng(2)
    for number in range(200):
        if dice.random() < 0.1:
            house.restart()
        _decide(house, number, float(dice.choice([20.0, 700.0])))
    house.now += 3 * DAY
    _decide(house, 999)
    days: dict[int, list[Trail]] = {}
    for trail in _trails(house):
        days.setdefault(trail.decided_ms // DAY, []).append(trail)
    for trails in days.values():
        explored = [t.items[0] != max(t.top, key=lambda s: s.score).item for t in trails]
        if most is not None:
            assert all(sum(explored[:n]) <= most * n for n in range(1, len(explored) + 1))
        if "decisions" in limit:
            assert sum(explored) <= 4
        if "loss" in limit:
            # Scores that are equal or nearly so lose nothing, so count what each was expected to lose.
            gap = [abs(t.top[0].score - t.top[1].score) * 0.4 * (t.propensity < 1.0) for t in trails]
            assert sum(gap) <= 0.5 + 1e-9
        held = [t for t in trails if t.held == "budget"]
        assert all(t.propensity == 1.0 for t in held)
    assert any(t.held == "budget" for t in _trails(house))


def test_arms_learn_from_their_own_decisions_only() -> None:
    experiment = """
[placement.experiment]
name = "policies"
share = 1.0
arms = [{ name = "plain" }, { name = "square", policy = { kind = "square-cb" } }]
"""
    text = _written('{ kind = "thompson" }').replace(
        '[[placement.candidate]]\nitem = "lights-on"', experiment + '\n[[placement.candidate]]\nitem = "lights-on"', 1
    )
    house = House(text).everyone_agrees()
    made = _decide(house, 1)
    _answer(house, made, "accepted")
    own = {"plain": PLACE, "square": f"{PLACE}\x00arm\x00square\x00head"}
    written = {key for room, key in house.rows if room == "bandit"}
    assert own[made.arm] in written
    assert own["square" if made.arm == "plain" else "plain"] not in written


def test_a_slate_says_how_probable_each_position_was() -> None:
    text = HOME.replace('slate = 10\npolicy = { kind = "best" }', 'slate = 4\npolicy = { kind = "epsilon-greedy" }', 1)
    house = House(text).everyone_agrees()
    house.tell(
        house.pick(1), house.message(Topics(DEVICE).of("request", "shelf"), {"subject": "u1", "reply_to": "reply/x"})
    )
    (made,) = _trails(house, "shelf")
    assert len(made.items) == len(made.propensities) == 4
    assert made.propensities[0] == made.propensity
    assert all(0.0 < one <= 1.0 for one in made.propensities)


def _renamed(model: LoadedModel, version: str, *, drop: int = 0) -> LoadedModel:
    """Another version of a bundle; its features input lacks the last columns."""
    (given,) = model.spec.inputs
    width = len(given.features) - drop
    other = msgspec.structs.replace(given, features=given.features[:width], shape=(-1, width))
    spec = msgspec.structs.replace(model.spec, version=version, inputs=(other,))

    def run(feeds: Mapping[str, Array]) -> F32:
        rows = feeds[given.name]
        return model.run({**feeds, given.name: np.pad(rows, ((0, 0), (0, drop)))})

    return LoadedModel(spec=spec, catalogue=(), personal=model.personal, path="", sha256="0" * 64, run=run)


@pytest.mark.parametrize("drop", [0, 1])
def test_a_swap_in_the_middle_of_a_step_loses_nothing_that_was_learned(drop: int) -> None:
    house = House(_written(POLICIES[4])).everyone_agrees()
    _live(house, 20, 1)
    made = _decide(house, 20)
    other = _renamed(bundle("context"), "1.0.1", drop=drop)
    word = msgspec.msgpack.encode(Feedback(decision_id=made.id, outcome="accepted"))
    answered = house.message(Topics(DEVICE).of("feedback"), word, content_type=MSGPACK)
    house._models[other.name] = other
    # One transaction: an outcome of the old version, the swap, and decisions by the new one.
    house.now += 1_000
    house.tell(answered, BundleReady(name=other.name, version=other.version), house.reading(21), house.reading(22))
    joined = house.agent.counters["feedback.joined"]
    house.restart()
    assert all(_decide(house, number).fallback == "" for number in range(30, 34))
    stored = {key: value for (room, key), (value, _) in house.rows.items() if room == "bandit"}
    head = msgspec.msgpack.decode(stored[f"{PLACE}\x00head"])
    # What was served for other features teaches nothing; what was learned before is not overwritten by that.
    assert head[1] == joined - drop


def test_too_many_features_are_said_and_the_ladder_decides() -> None:
    wide = _renamed(bundle("context"), "1.0.1")
    (given,) = wide.spec.inputs
    many = msgspec.structs.replace(given, features=given.features * 40, shape=(-1, 160))
    spec = msgspec.structs.replace(wide.spec, inputs=(many,))
    first = given.name

    def run(feeds: Mapping[str, Array]) -> F32:
        return bundle("context").run({**feeds, first: feeds[first][:, :4]})

    model = LoadedModel(spec=spec, catalogue=(), personal=wide.personal, path="", sha256="0" * 64, run=run)
    house = House(_written(POLICIES[2]), ("affinity", model)).everyone_agrees()
    made = _decide(house, 1)
    assert (made.fallback, made.items) == ("default", ("lights-off",))
    assert "at most 128 feature columns" in _trails(house)[-1].fallback_reason


def test_what_the_ladder_decided_teaches_no_regression() -> None:
    house = House(_written(POLICIES[4]), over_budget=True).everyone_agrees()
    made = _decide(house, 1)
    assert made.fallback == "default"
    _answer(house, made, "accepted")
    assert house.agent.counters["feedback.joined"] == 1
    assert not [key for room, key in house.rows if room == "bandit"]


def test_examples_of_a_slate_carry_the_propensity_of_their_position() -> None:
    text = HOME.replace('slate = 10\npolicy = { kind = "best" }', 'slate = 3\npolicy = { kind = "epsilon-greedy" }', 1)
    reward = 'reward = [{ outcome = "click", value = 1.0 }]\nchannel = "app"\n\n[[placement]]\nname = "presence"'
    text = text.replace('channel = "app"\n\n[[placement]]\nname = "presence"', reward, 1)
    house = House(text).everyone_agrees()
    house.tell(house.message(Topics(DEVICE).of("request", "shelf"), {"subject": "u1", "reply_to": "reply/x"}))
    (made,) = _trails(house, "shelf")
    word = msgspec.msgpack.encode(Feedback(decision_id=made.id, outcome="click", item=made.items[2]))
    house.tell(house.message(Topics(DEVICE).of("feedback"), word, content_type=MSGPACK))
    (row,) = [row for row in house.shelves.values() if row.shelf == "example" and row.group == "affinity"]
    assert examples.unpack(row.value).propensity == made.propensities[2]


def test_a_profile_that_explores_nothing_loads_nothing_of_bandits() -> None:
    lines = [
        "import sys; from tests.edge_agent.house import HOME, House",
        "house = House(HOME.replace('epsilon-greedy\", epsilon = 0.1', 'best\"')).everyone_agrees()",
        "house.tell(house.pick(1), house.reading(1))",
        "print(len(house.decisions()), *[m for m in sys.modules if 'bandit' in m or 'ridge' in m or 'warm' in m])",
    ]
    told = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    made, *loaded = told.stdout.split()
    assert int(made) >= 2
    parts = {name.rpartition(".")[2] for name in loaded}
    assert parts <= {"bandit", "choice"}, parts


@pytest.mark.parametrize("policy", POLICIES)
def test_a_replay_of_the_journal_makes_the_same_decisions_bit_for_bit(policy: str) -> None:
    lines = ("no_outcome = 0.0", "reward_window_s = 300.0", "exploration = { share_per_day = 0.6, floor = 0.2 }")
    house = House(_written(policy, *lines), record=True).everyone_agrees()
    _live(house, 60, 8, restart_every=9)
    made = {e.id: e.value for e in house.effects if isinstance(e, Append) and e.shelf == "decision"}
    journal = [e for e in house.effects if isinstance(e, Append) and e.shelf == "journal"]
    doors = Doors(
        secret=b"s" * 32,
        recall=lambda _where, key: made.get(key),
        models=house._models,
        over_budget=lambda *_: False,
        local_hour=lambda _: (12, 1),
    )
    again, replayed = Agent(house.loaded, DEVICE, doors), {}
    for row in journal:
        for effect in step(again, [msgspec.msgpack.decode(row.value, type=Happening)], row.made_ms):
            if isinstance(effect, Append) and effect.shelf == "decision":
                replayed[effect.id] = effect.value
    assert replayed == made
    assert len(made) == 60
