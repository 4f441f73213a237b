"""A new version of a bundle: it is tried beside the old one, takes over, is watched, and gives way when it is worse."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.effects import Fetch, Log, Switch
from edge_agent.happenings import BundleAsked, BundleFailed, Connected, Happening, Learned, Tick
from edge_agent.learn import parameters
from edge_agent.trials import in_canary
from firmware_configs.messages import DecisionMade
from firmware_configs.profile import Stage
from tests.edge_agent.house import PERSON, House, bundle
from tests.edge_agent.trial_house import TrialHouse, fails

NEW = "1.0.1"


def house(start: Stage | None = None, **more: bool) -> TrialHouse:
    """Everyone agrees; `context` 1.0.1 starts where it is told to."""
    made = TrialHouse(**more)
    made.everyone_agrees()
    if start is not None:
        made.wish("context", NEW, start)
    return made


def versions(made: TrialHouse) -> list[str]:
    return [one.bundles["context"] for one in made.decisions() if "context" in one.bundles]


def trails(made: House) -> list[Trail]:
    return [decision.unpack(row.value) for row in made.shelves.values() if row.shelf == "decision"]


def bare(one: DecisionMade) -> tuple[object, ...]:
    return (one.id, one.items, one.propensity, one.score, one.bundles)


# ── forward ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_word_a_new_version_serves_everyone_at_once() -> None:
    made = house()
    made.wish("context", NEW)
    made.read_room(1)
    assert versions(made) == [NEW]
    assert made.stored("bundle:context") == NEW
    assert made.reported().bundles["context"].state == "active"


def test_in_shadow_it_scores_and_decides_nothing() -> None:
    plain, made = house(), house("shadow")
    plain.read_room(5)
    made.read_room(5)
    assert [bare(one) for one in made.decisions()] == [bare(one) for one in plain.decisions()]
    shadows = [trail.shadow for trail in trails(made)]
    assert all(len(one) == 1 and one[0].version == NEW and one[0].error == "" for one in shadows)
    assert any(one[0].score != trail.score for one, trail in zip(shadows, trails(made), strict=True))
    word = made.reported().bundles["context"]
    assert (word.version, word.state, word.serving) == (NEW, "shadow", "1.0.0")


def test_it_goes_from_shadow_to_canary_to_everyone_and_is_kept() -> None:
    made = house("shadow")
    seen = []
    for number in range(60):
        made.read_room(1, start=number)
        made.tell(Tick())
        word = made.reported().bundles["context"]
        stage = word.state if word.state != "active" else f"{word.version} active"
        if stage not in seen:
            seen.append(stage)
    assert seen == ["shadow", "canary", f"{NEW} active"]
    assert made.stored("bundle:context") == NEW
    assert made.stored("previous:context") == "1.0.0"
    assert made.stored("trial:context") == ""
    assert not made.agent.trials.running


def test_figures_are_reported_with_the_stage() -> None:
    made = house("shadow")
    made.read_room(4)
    made.now += 61_000
    made.tell(Tick())
    figures = made.reported().bundles["context"].figures
    assert figures["decisions"] == 4
    assert 0.0 <= figures["agreement"] <= 1.0
    assert figures["score_difference"] > 0.0


def test_a_canary_serves_its_share_of_people_and_each_always_the_same_version() -> None:
    made = house()
    people = [f"p{n}" for n in range(12)]
    for person in people:
        made.consent(person, "personalise", "improve-models")
    made.wish("affinity", NEW, "canary")
    for turn in range(2):
        for number, person in enumerate(people):
            made.now += 1_000
            made.tell(made.pick(100 * turn + number, user=person))
            if turn == 0 and number == 2:
                assert made.agent.trials.running["affinity"].stage == "canary"
    served: dict[str, set[str]] = {}
    for trail in trails(made)[:8]:
        served.setdefault(trail.subject, set()).add(trail.bundles["affinity"])
    assert all(len(found) == 1 for found in served.values())
    for trail in trails(made)[:6]:
        drawn = in_canary(b"s" * 32, "affinity", NEW, trail.subject, 0.5)
        assert trail.bundles["affinity"] == (NEW if drawn else "1.0.0")


def test_a_canary_of_a_household_is_drawn_by_event() -> None:
    made = house("canary")
    made.read_room(9)
    assert {"1.0.0", NEW} == set(versions(made)[:9])


def test_what_was_counted_in_shadow_does_not_shorten_the_canary() -> None:
    made = TrialHouse("{ shadow_decisions = 50, canary_share = 0.05, canary_decisions = 2 }").everyone_agrees()
    assert isinstance(made, TrialHouse)
    made.wish("context", NEW, "shadow")
    made.read_room(52)
    assert made.agent.trials.running["context"].stage == "canary"
    assert made.agent.trials.running["context"].old.decisions <= 2


# ── back ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", ["shadow", "canary", "full"])
def test_a_version_that_fails_gives_way_and_says_why(stage: Stage) -> None:
    made = house()
    made.shelf.faults["context", NEW] = fails
    made.wish("context", NEW, stage)
    made.read_room(20)
    assert versions(made)[-5:] == ["1.0.0"] * 5
    assert made.stored("bundle:context") == "1.0.0"
    assert not made.agent.trials.running
    assert made.shelf.trials == {}
    word = made.reported().bundles["context"]
    assert (word.version, word.state, word.serving) == (NEW, "returned", "1.0.0")
    assert "failed" in word.reason
    assert made.agent.counters["swap.returned"] == 1
    assert any(isinstance(e, Log) and "gives way" in e.text for e in made.effects)


def test_a_failing_shadow_harms_no_decision() -> None:
    plain, made = house(), house()
    made.shelf.faults["context", NEW] = fails
    made.wish("context", NEW, "shadow")
    plain.read_room(10)
    made.read_room(10)
    assert [bare(one) for one in made.decisions()] == [bare(one) for one in plain.decisions()]
    assert "MOD110" in trails(made)[0].shadow[0].error


def test_a_failing_canary_falls_back_for_the_few_it_serves_only() -> None:
    made = house()
    made.shelf.faults["context", NEW] = fails
    made.wish("context", NEW, "canary")
    made.read_room(30)
    fell = [trail for trail in trails(made) if trail.fallback]
    assert 0 < len(fell) <= 3
    assert {trail.bundles["context"] for trail in fell} == {NEW}


def test_a_version_that_is_much_slower_gives_way() -> None:
    made = house()
    made.shelf.faults["context", "1.0.0"] = made.takes(0.001)
    made.shelf.faults["context", NEW] = made.takes(0.02)
    made.switch(Switch(name="context", version="1.0.0", to="full"))
    made.wish("context", NEW, "shadow")
    made.read_room(20)
    word = made.reported().bundles["context"]
    assert word.state == "returned"
    assert "20.00 ms, the old version's 1.00" in word.reason


def test_microseconds_more_are_no_reason() -> None:
    made = house()
    made.shelf.faults["context", "1.0.0"] = made.takes(1e-6)
    made.shelf.faults["context", NEW] = made.takes(9e-4)
    made.wish("context", NEW, "shadow")
    made.read_room(40)
    assert made.stored("bundle:context") == NEW


def test_a_version_whose_decisions_overrun_their_budget_gives_way() -> None:
    made = house(over_budget=True)
    made.wish("context", NEW, "full")
    made.read_room(10)
    assert made.reported().bundles["context"].state == "returned"
    assert made.stored("bundle:context") == "1.0.0"


def test_a_version_that_people_like_less_gives_way() -> None:
    made = TrialHouse(
        "{ canary_share = 0.5, canary_decisions = 1000, decisions_min = 10, reward_drop_max = 0.05 }"
    ).everyone_agrees()
    assert isinstance(made, TrialHouse)
    made.wish("context", NEW, "canary")
    for number in range(200):
        made.read_room(1, start=number)
        newest = made.decisions()[-1]
        made.feedback(newest.id, "override" if newest.bundles["context"] == NEW else "accepted")
        if not made.agent.trials.running and not made.pending:
            break
    word = made.reported().bundles["context"]
    assert word.state == "returned"
    assert "mean reward" in word.reason
    assert 10 <= number < 150


# ── wishes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_gave_way_is_not_fetched_again_until_something_else_was_wanted() -> None:
    made = house()
    made.shelf.faults["context", NEW] = fails
    made.wish("context", NEW, "full")
    made.read_room(10)
    fetched = sum(isinstance(e, Fetch) for e in made.effects)
    made.restart()
    made.tell(Connected(session_present=True))
    made.wish("context", NEW)  # the same wish in a newer revision
    assert sum(isinstance(e, Fetch) for e in made.effects) == fetched
    assert made.reported().bundles["context"].state == "returned"
    made.wish("context", "1.0.0")
    made.shelf.faults["context", NEW] = lambda _f: None
    made.wish("context", NEW)
    made.read_room(1, start=50)
    assert versions(made)[-1] == NEW


def test_the_coordinator_can_go_back_and_can_call_a_trial_off() -> None:
    made = house()
    made.wish("context", NEW, "full")
    made.wish("context", "1.0.0", "full")
    made.read_room(1)
    assert versions(made) == ["1.0.0"]
    made.wish("context", NEW, "shadow")
    made.wish("context", "1.0.0")
    made.tell(Tick())
    assert not made.agent.trials.running
    assert made.shelf.trials == {}


def test_an_operator_goes_back_and_the_standing_wish_does_not_undo_it() -> None:
    made = house()
    made.wish("context", NEW, "full")
    made.read_room(1)
    made.tell(BundleAsked(name="context"))
    made.read_room(1, start=1)
    assert versions(made) == [NEW, "1.0.0"]
    made.restart()
    made.tell(Connected(session_present=True))
    made.read_room(1, start=2)
    assert versions(made)[-1] == "1.0.0"
    assert "operator" in made.reported().bundles["context"].reason


def test_an_operator_gives_a_trial_up_uses_another_version_and_is_told_what_cannot_be() -> None:
    made = house("shadow")
    made.tell(BundleAsked(name="context"))
    made.tell(Tick())
    assert not made.agent.trials.running
    made.tell(BundleAsked(name="context", version=NEW, to="canary"))
    made.tell(Tick())
    assert made.agent.trials.running["context"].stage == "canary"
    made.tell(BundleAsked(name="context", version="7.0.0"))
    assert any(isinstance(e, Log) and e.code == "AGT708" for e in made.effects)
    made.tell(BundleAsked(name="context", version="1.5.0"))
    made.tell(Tick())
    assert made.agent.counters["bundle.failed"] == 1
    made.read_room(3)
    assert "1.0.0" in versions(made)


def test_what_is_not_in_use_any_more_is_given_up_once() -> None:
    made = house()
    made.wish("context", NEW, "full")
    made.tell(BundleAsked(name="context", leaving=NEW))
    made.tell(BundleAsked(name="context", leaving=NEW))  # a crash between the deed and the deletion of the wish
    made.tell(Tick())
    assert made.shelf.active["context"].version == "1.0.0"
    assert made.agent.counters["swap.returned"] == 1


def test_a_trial_whose_file_cannot_be_loaded_ends_and_the_old_version_serves() -> None:
    made = house("shadow")
    made.tell(BundleFailed(name="context", version=NEW, code="MOD105", reason="no"))
    assert not made.agent.trials.running
    made.read_room(1)
    assert versions(made) == ["1.0.0"]


# ── survival ────────────────────────────────────────────────────────────────────────────────────────────────────────

MOVES = st.lists(
    st.tuples(st.sampled_from(["room", "pick", "accept"]), st.sampled_from(["", "", "dies", "torn"])), max_size=30
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["shadow", "canary", "full"]), MOVES, st.booleans())
def test_a_restart_at_any_point_resumes_with_the_old_or_the_new_version_whole(
    start: Stage, moves: list[tuple[str, str]], faulty: bool
) -> None:
    steady, killed = house(), house()
    for made in (steady, killed):
        if faulty:
            made.shelf.faults["context", NEW] = fails
        made.wish("context", NEW, start, revision=1)
    for number, (move, fate) in enumerate(moves):
        for made in (steady, killed):
            made.now += 1_000
            if made is killed and fate == "torn":
                # Power fails before the transaction: the broker brings the message again.
                made.tell(made.reading(number), commit=False)
                made.restart()
            if move == "accept" and made.decisions():
                made.feedback(made.decisions()[-1].id, "accepted")
            else:
                made.tell(made.reading(number) if move == "room" else made.pick(number))
            if made is killed and fate == "dies":
                made.restart()
            made.tell(Tick())  # the turn in which the shell's answer is heard
    for made in (steady, killed, steady, killed):
        made.tell(Tick())
    # What the fallback took from the cache is not kept over a restart, so items are not compared.
    assert [(d.id, d.bundles) for d in steady.decisions()] == [(d.id, d.bundles) for d in killed.decisions()]
    for key in ("bundle:context", "previous:context", "refused:context"):
        assert steady.rows.get(("meta", key)) == killed.rows.get(("meta", key))
    assert standing(steady) == standing(killed)


def standing(made: TrialHouse) -> tuple[object, ...]:
    """Where a trial stands."""
    trial = made.agent.trials.running.get("context")
    return (trial.stage, trial.new.decisions, trial.old.decisions) if trial is not None else ()


def test_a_version_that_cannot_be_loaded_after_a_restart_gives_way_to_the_one_before() -> None:
    made = house("full")
    made.read_room(1)
    real = made.shelf.load

    def torn(name: str, version: str) -> object:
        if version == NEW:
            from models.errors import BundleMalformed

            raise BundleMalformed("torn for a test", hint="nothing to do")
        return real(name, version)

    made.shelf.load = torn  # type: ignore[method-assign, assignment]
    made.restart()
    made.read_room(1, start=1)
    assert versions(made) == [NEW, "1.0.0"]
    assert made.stored("bundle:context") == "1.0.0"
    assert "MOD101" in made.agent.control._bundles._refused["context"][NEW]


@pytest.mark.parametrize("start", ["shadow", "canary", "full"])
@pytest.mark.parametrize("faulty", [False, True])
def test_a_journal_with_trials_replays_to_the_same_decisions_bit_for_bit(start: Stage, faulty: bool) -> None:
    made = house(record=True)
    if faulty:
        made.shelf.faults["context", NEW] = fails
    for number in range(40):
        if number == 3:
            made.wish("context", NEW, start)
        if number == 11:
            made.restart()
        made.now += 1_000
        made.tell(made.reading(number, light=300.0 + 60 * (number % 7)), made.pick(number))
    again = TrialHouse()
    if faulty:
        again.shelf.faults["context", NEW] = fails
    again.shelf.active.clear()
    for row in [a for a in made.shelves.values() if a.shelf == "journal"]:
        again.now = row.made_ms
        _follow(again, msgspec.msgpack.decode(row.value, type=Happening))
    assert len(trails(made)) == 80
    assert trails(made) == trails(again)


def _follow(again: TrialHouse, happening: Happening) -> None:
    """As the replay does: models change when the journal says so, and the agent's own wishes are ignored."""
    from edge_agent.happenings import BundleReady, BundleStaged, BundleWithdrawn

    match happening:
        case BundleReady(name=name, version=version, base=base):
            again.shelf.active[name] = again.shelf.load(name, version)
            if base:
                again.shelf.trials.pop(name, None)
        case BundleStaged(name=name, version=version):
            again.shelf.trials[name] = again.shelf.load(name, version)
        case BundleWithdrawn(name=name):
            again.shelf.trials.pop(name, None)
        case _:
            pass
    again.pending = []
    House.tell(again, happening)


def test_personal_parameters_survive_a_swap_whose_shapes_match_and_start_again_where_they_do_not() -> None:
    made = house()
    model = bundle("affinity")
    own = {name: value + np.float32(0.25) for name, value in model.personal.items()}
    made.tell(
        Learned(
            run="1",
            bundle="affinity",
            version="1.0.0",
            personal={PERSON: parameters.pack(own)},
            examples=1,
            loss_before=1,
            loss_after=0,
        )
    )
    made.wish("affinity", NEW, "full")
    new = made.shelf.active["affinity"]
    assert new.version == NEW
    kept = made.agent.control.personal(new, PERSON)
    assert all(np.array_equal(kept[name], own[name]) for name in own)
    wider = {name: np.zeros((*value.shape[:-1], value.shape[-1] + 1), np.float32) for name, value in own.items()}
    made.tell(
        Learned(
            run="2",
            bundle="affinity",
            version=NEW,
            personal={PERSON: parameters.pack(wider)},
            examples=1,
            loss_before=1,
            loss_after=0,
        )
    )
    assert made.agent.control.personal(new, PERSON) == {}
    made.tell(made.pick(1))
    assert made.decisions()[-1].fallback == ""
