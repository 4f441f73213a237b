"""Who takes consent back: own parameters and examples are gone at once, and nothing of theirs leaves any more."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.control import personal_key
from edge_agent.effects import Answer, Append, Erase, Train
from edge_agent.errors import ChildDied
from edge_agent.happenings import EgressAsked, Learned, LearnerEnded, RoundTaken, Tick
from edge_agent.learn import parameters
from edge_agent.shell.writes import Writes
from firmware_configs.errors import EdgeError
from firmware_configs.loader import parse
from firmware_configs.messages import Desired, RoundOffer, Topics
from tests.edge_agent.house import DEVICE, HOME, NOW, PERSON, House, bundle

FORGET = (
    HOME.replace('[[egress]]\nkind = "update"', '[[egress]]\nkind = "update"\nunlearn = "be-forgotten"', 1)
    + """
[[purpose]]
name = "be-forgotten"
legal_basis = "consent"
consent = "required"
text = "When you leave, one last message takes what the shared model has learned from you out of it again."
"""
)


def _examples(house: House, subject: str) -> int:
    return sum(row.shelf == "example" and row.subject == subject for row in house.shelves.values())


def _lived(text: str = HOME) -> House:
    """A person with examples and own parameters."""
    house = House(text).everyone_agrees()
    house.tell(*(house.pick(number) for number in range(5)))
    held = {name: np.ones_like(value) for name, value in bundle("affinity").personal.items()}
    packed = parameters.pack({name: np.asarray(value, np.float32) for name, value in held.items()})
    house.tell(
        Learned(run="r", bundle="affinity", version="1.0.0", personal={PERSON: packed}, examples=5,
                loss_before=1.0, loss_after=0.5)
    )  # fmt: skip
    assert _examples(house, PERSON)
    assert ("personal", personal_key("affinity", PERSON)) in house.rows
    return house


def _offer(house: House, kind: str = "train", run: str = "run-1") -> None:
    offer = RoundOffer(
        run=run, bundle="affinity", version=bundle("affinity").version, superlink="s:1", app_hash="", closes_ms=NOW * 2,
        kind=kind,
    )  # type: ignore[arg-type]  # fmt: skip
    house.now += 1
    desired = Desired(revision=house.now, offer=offer)
    house.tell(house.message(Topics(DEVICE).of("desired"), msgspec.to_builtins(desired)))


COUNTED = (
    HOME
    + """
[[egress]]
kind = "statistic"
destination = "superlink"
purposes = ["tell-scores"]
bytes_day_max = 100_000
k_min = 3

[[purpose]]
name = "tell-scores"
legal_basis = "consent"
consent = "required"
text = "Counts of how well the suggestions fitted leave the device, added up with those of others."
"""
)


def test_counts_are_told_only_of_those_who_agree_to_that_and_no_more_once_they_withdraw() -> None:
    house = _lived(COUNTED)
    _offer(house, "statistic", "run-1")
    assert not [one for one in house.effects if isinstance(one, Train)]
    house.consent(PERSON, "tell-scores")
    _offer(house, "statistic", "run-2")
    (train,) = [one for one in house.effects if isinstance(one, Train)]
    assert (train.subjects, train.statistic, train.unlearn) == ((PERSON,), True, False)
    house.consent(PERSON, "tell-scores", granted=False)
    effects = house.tell(msgspec.structs.replace(_asked("run-2"), kind="statistic"))
    assert [one.granted for one in effects if isinstance(one, Answer)] == [False]
    assert _examples(house, PERSON), "they still agree that the models learn from them"


def test_without_a_declared_statistic_nothing_is_counted() -> None:
    house = _lived()
    _offer(house, "statistic")
    assert not [one for one in house.effects if isinstance(one, Train)]


def _asked(run: str) -> EgressAsked:
    return EgressAsked(
        run=run, token="t", kind="update", destination="superlink", bytes=10, sha256="0" * 64, privacy=""
    )


@pytest.mark.parametrize("purpose", ["improve-models", "personalise"])
def test_examples_and_own_parameters_are_gone_with_the_word(purpose: str) -> None:
    house = _lived()
    house.consent(PERSON, purpose, granted=False)
    assert _examples(house, PERSON) == 0
    assert ("personal", personal_key("affinity", PERSON)) not in house.rows
    assert house.agent.control.personal(bundle("affinity"), PERSON) == {}
    house.restart()
    assert house.agent.control.personal(bundle("affinity"), PERSON) == {}


def test_examples_of_the_same_step_do_not_outlive_it() -> None:
    house = _lived()
    word = {"purposes": {"improve-models": False}, "time_ms": house.now}
    house.tell(house.pick(9), house.message(Topics(DEVICE).of("consent", PERSON), word))
    assert _examples(house, PERSON) == 0


def test_what_the_learner_made_meanwhile_neither_leaves_nor_comes_back() -> None:
    house = _lived()
    _offer(house)
    assert any(isinstance(one, Train) for one in house.effects)
    house.consent(PERSON, "improve-models", granted=False)
    effects = house.tell(_asked("run-1"))
    assert [one.granted for one in effects if isinstance(one, Answer)] == [False]
    packed = parameters.pack({"user_vector": np.ones(3, np.float32)})
    house.tell(Learned(run="run-1", bundle="affinity", version="1", personal={PERSON: packed}, examples=1,
                       loss_before=1.0, loss_after=1.0))  # fmt: skip
    house.tell(LearnerEnded(run="run-1", code="X"))
    assert ("personal", personal_key("affinity", PERSON)) not in house.rows
    house.consent("u2", "personalise", "improve-models")
    _offer(house, run="run-2")
    effects = house.tell(_asked("run-2"))
    assert [one.granted for one in effects if isinstance(one, Answer)] == [True]


def test_another_offer_meanwhile_does_not_make_a_learner_forget_who_withdrew() -> None:
    house = _lived()
    house.consent("u2", "personalise", "improve-models")
    _offer(house)
    house.consent(PERSON, "improve-models", granted=False)
    _offer(house, run="run-2")
    house.tell(LearnerEnded(run="run-2", code="X", reason="a learner is still at work"))
    effects = house.tell(_asked("run-1"))
    assert [one.granted for one in effects if isinstance(one, Answer)] == [False]


def _left(house: House) -> list[str]:
    """Runs of which a learner's state is stored: own parameters, and what rounding took from the last update."""
    return sorted(key for room, key in house.rows if room == "round")


@pytest.mark.parametrize("cut", ["not", "learner", "agent", "learner, then agent"])
def test_what_a_learner_has_left_goes_with_the_word_and_does_not_come_back(cut: str) -> None:
    house = _lived()
    _offer(house)
    house.tell(RoundTaken(run="run-1", state=b"own parameters"))
    assert _left(house) == ["run-1"]
    if "learner" in cut:
        house.tell(LearnerEnded(run="run-1", code=ChildDied.code))
    if "agent" in cut:
        house.restart()
    assert _left(house) == ["run-1"], "what a cut learner goes on from"
    house.consent(PERSON, "improve-models", granted=False)
    assert _left(house) == []
    house.tell(RoundTaken(run="run-1", state=b"own parameters"))
    assert _left(house) == []


def test_what_a_learner_has_left_goes_when_the_device_takes_up_another_round() -> None:
    house = _lived()
    _offer(house)
    house.tell(RoundTaken(run="run-1", state=b"own parameters"))
    house.tell(Tick())  # counts are stored once a tick
    house.restart()
    _offer(house, run="run-2")
    house.tell(RoundTaken(run="run-2", state=b"newer"))
    assert _left(house) == ["run-2"]


def test_a_last_update_is_made_only_of_those_who_asked_for_it_and_once() -> None:
    house = _lived(FORGET)
    house.consent("u2", "personalise", "improve-models")
    house.consent(PERSON, "be-forgotten")
    _offer(house, "unlearn", "run-0")
    assert not [one for one in house.effects if isinstance(one, Train)], "nobody has withdrawn yet"
    house.consent(PERSON, "improve-models", "personalise", granted=False)
    assert _examples(house, PERSON), "locked, until the last update leaves"
    assert ("personal", personal_key("affinity", PERSON)) not in house.rows
    _offer(house, run="run-1")
    _offer(house, "unlearn", "run-2")
    trains = [one for one in house.effects if isinstance(one, Train)]
    assert [(one.run, one.subjects, one.unlearn) for one in trains] == [
        ("run-1", ("u2",), False),
        ("run-2", (PERSON,), True),
    ]
    effects = house.tell(_asked("run-2"))
    assert [one.granted for one in effects if isinstance(one, Answer)] == [True]
    assert _examples(house, PERSON) == 0
    packed = parameters.pack({"user_vector": np.ones(3, np.float32)})
    house.tell(Learned(run="run-2", bundle="affinity", version="1", personal={PERSON: packed}, examples=1,
                       loss_before=1.0, loss_after=1.0))  # fmt: skip
    assert ("personal", personal_key("affinity", PERSON)) not in house.rows


def test_who_wants_no_last_message_either_is_only_erased() -> None:
    house = _lived(FORGET)
    house.consent(PERSON, "be-forgotten")
    house.consent(PERSON, "improve-models", "personalise", granted=False)
    house.consent(PERSON, "be-forgotten", granted=False)
    assert _examples(house, PERSON) == 0


def test_a_purpose_to_be_forgotten_by_must_be_asked_for() -> None:
    with pytest.raises(EdgeError, match="unlearn"):
        parse(FORGET.replace('consent = "required"\ntext = "When', 'consent = "not-needed"\ntext = "When'))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("pick"), st.sampled_from(["u1", "u2"])),
            st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["u1", "u2"])),
            st.tuples(st.just("restart"), st.just("")),
        ),
        max_size=14,
    ),
    st.sampled_from(["improve-models", "personalise"]),
)
def test_after_a_no_nothing_of_a_person_is_left_whatever_came_before(said: list[tuple[str, str]], purpose: str) -> None:
    house = House().everyone_agrees()
    house.consent("u2", "personalise", "improve-models")
    for number, (what, who) in enumerate(said):
        house.now += 1_000
        if what == "pick":
            house.tell(house.pick(number, user=who))
        elif what == "restart":
            house.restart()
        else:
            house.consent(who, purpose, granted=what == "yes")
            if what == "no":
                assert _examples(house, who) == 0


def test_a_transaction_erases_what_an_earlier_step_added_and_keeps_what_comes_after() -> None:
    def row(number: int) -> Append:
        return Append(shelf="example", id=str(number), group="m", value=b"", made_ms=1, expires_ms=0, subject="u1")

    writes, later = Writes(), Writes()
    writes.add([row(1)])
    later.add([row(2), Erase(shelf="example", group="m", subject="u1"), row(3)])
    writes.absorb(later)
    assert [key for _, key in writes.shelf] == ["3"]
    assert writes.erased == [("example", "m", "u1")]
