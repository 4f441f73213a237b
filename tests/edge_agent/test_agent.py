"""The agent as a whole: events in, decisions out, nothing twice, nothing undeclared."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide import decision
from edge_agent.effects import Answer, Append, Fetch, Log, Put, Send, Train
from edge_agent.egress import ledger
from edge_agent.happenings import BundleFailed, Connected, EgressAsked, Learned, LearnerEnded, Tick
from edge_agent.learn import earned, examples, parameters
from firmware_configs.messages import (
    MSGPACK,
    DecisionMade,
    Desired,
    Feedback,
    Rejected,
    Reported,
    Request,
    RoundOffer,
    Topics,
)
from models.bundle import open_bundle
from tests.edge_agent.house import DEVICE, HOME, PERSON, House, bundle

OWN = Topics(DEVICE)


def _packed(word: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(word)


def test_an_event_becomes_a_decision_with_a_logged_propensity() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    (made,) = house.decisions()
    assert made.placement == "next-pick"
    assert made.items[0] in bundle("affinity").catalogue
    assert 0.0 < made.propensity <= 1.0
    assert made.bundles == {"affinity": "1.0.0"}


def test_without_consent_nothing_is_kept_and_nothing_is_decided() -> None:
    house = House()
    house.tell(house.pick(1), house.reading(1))
    assert house.decisions() == []
    assert not any(isinstance(e, Append) for e in house.effects)
    assert not any(isinstance(e, Put) and e.room in {"profile", "dedupe"} for e in house.effects)
    assert house.agent.counters["dropped.consent"] == 2


def test_withdrawn_consent_counts_from_the_next_event_on() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    house.now += 1
    house.consent(PERSON, "personalise", "improve-models", granted=False)
    house.tell(house.pick(2))
    assert len(house.decisions()) == 1
    assert ("profile", PERSON) not in house.rows


def test_an_older_word_of_consent_changes_nothing() -> None:
    house = House()
    house.now += 10
    house.consent(PERSON, "personalise")
    older = {"purposes": {"personalise": False}, "time_ms": house.now - 5}
    house.tell(house.message(OWN.of("consent", PERSON), older))
    assert house.agent.consents.granted(PERSON) == {"personalise"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_a_redelivered_event_changes_nothing(order: list[int]) -> None:
    once, again = House().everyone_agrees(), House().everyone_agrees()
    for number in dict.fromkeys(order):
        once.tell(once.pick(number))
    for number in order:
        again.tell(again.pick(number))
    assert [d.id for d in once.decisions()] == [d.id for d in again.decisions()]
    assert once.shelves.keys() == again.shelves.keys()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["pick", "room", "click"]), st.booleans()), max_size=14))
def test_a_restart_at_any_point_changes_no_future(moves: list[tuple[str, bool]]) -> None:
    steady, restarted = House().everyone_agrees(), House().everyone_agrees()
    for number, (move, dies) in enumerate(moves):
        for house in (steady, restarted):
            house.now += 1_000
            if move == "click" and house.decisions():
                word = Feedback(decision_id=house.decisions()[-1].id, outcome="click")
                house.tell(house.message(OWN.of("feedback"), _packed(word), content_type=MSGPACK))
            else:
                house.tell(house.reading(number) if move == "room" else house.pick(number))
        if dies:
            restarted.restart()
    assert steady.decisions() == restarted.decisions()
    assert steady.shelves.keys() == restarted.shelves.keys()
    assert _ledger(steady, "decision") == _ledger(restarted, "decision")


def _ledger(house: House, kind: str) -> list[str]:
    rows = [ledger.unpack(value) for (room, _), (value, _) in sorted(house.rows.items()) if room == "ledger"]
    assert ledger.first_break(rows) is None
    return [row.sha256 for row in rows if row.kind == kind]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=10, unique=True), st.integers(1, 5))
def test_a_batch_decides_what_single_steps_decide(numbers: list[int], size: int) -> None:
    single, batched = House().everyone_agrees(), House().everyone_agrees()
    for number in numbers:
        single.tell(single.pick(number))
    for start in range(0, len(numbers), size):
        batched.tell(*(batched.pick(n) for n in numbers[start : start + size]))
    assert single.decisions() == batched.decisions()


def test_what_was_not_committed_is_decided_again_with_the_same_id() -> None:
    house = House().everyone_agrees()
    lost = house.tell(house.pick(1), commit=False)
    house.restart()
    house.tell(house.pick(1))
    (made,) = house.decisions()
    ids = [msgspec.msgpack.decode(e.payload, type=DecisionMade).id for e in lost if isinstance(e, Send)]
    assert ids == [made.id]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["room", "interaction"]), st.sampled_from(["", MSGPACK]))
def test_any_bytes_are_counted_and_never_raise(payload: bytes, source: str, kind: str) -> None:
    house = House().everyone_agrees()
    house.tell(house.message(f"home/{DEVICE}/{source}", payload, content_type=kind))
    assert house.agent.counters["events"] == 1


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=100), st.sampled_from(["feedback", "desired", "request/shelf", "consent/u1", "request/x", ""])
)
def test_any_bytes_on_our_own_doors_never_raise(payload: bytes, door: str) -> None:
    house = House().everyone_agrees()
    house.tell(house.message(OWN.of(*door.split("/")), payload, content_type=MSGPACK, response_topic="r"))


def test_a_rejection_is_counted_sampled_and_holds_no_payload() -> None:
    house = House().everyone_agrees()
    for _ in range(5):
        house.tell(house.message(f"home/{DEVICE}/room", b'{"temperature": "my secret diary"'))
    told = [s for s in house.sent if s.topic.endswith("/rejected")]
    assert len(told) == 1
    word = msgspec.json.decode(told[0].payload, type=Rejected)
    assert (word.code, word.source) == ("AGT203", "room")
    assert house.agent.counters["rejected.AGT203"] == 5
    assert all(b"diary" not in s.payload for s in house.sent)
    assert all("diary" not in e.text for e in house.effects if isinstance(e, Log))


def test_an_unknown_topic_is_rejected_by_name() -> None:
    house = House()
    house.tell(house.message("somewhere/else", b"{}"))
    assert house.agent.counters["rejected.AGT201"] == 1


def test_a_field_of_the_wrong_type_is_rejected_and_the_rest_goes_on() -> None:
    house = House().everyone_agrees()
    house.tell(house.reading(1, light=True), house.reading(2))  # type: ignore[arg-type]
    assert house.agent.counters["rejected.AGT204"] == 1
    assert [d.placement for d in house.decisions()] == ["presence"]


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="abcdefghij", min_size=12, max_size=20))
def test_what_the_profile_drops_appears_in_nothing_that_is_kept_or_sent(secret: str) -> None:
    house = House(record=True).everyone_agrees()
    house.tell(house.pick(1, diary=secret, nested={"deep": [secret]}), house.reading(1, note=secret))
    house.tell(house.message(f"home/{DEVICE}/room", msgspec.json.encode({"note": secret, "id": 1})))
    everything = b"".join(msgspec.msgpack.encode(e, enc_hook=lambda _o: None) for e in house.effects)
    assert secret.encode() not in everything


def test_nothing_is_sent_that_is_not_in_the_ledger() -> None:
    house = House().everyone_agrees()
    for number in range(6):
        house.tell(house.pick(number), house.reading(number))
    house.tell(Connected(session_present=False), Tick())
    rows = [ledger.unpack(value) for (room, _), (value, _) in sorted(house.rows.items()) if room == "ledger"]
    assert ledger.first_break(rows) is None
    wills = [row for row in rows if row.privacy.startswith("a last will")]  # handed over with the connection
    assert [row.bytes for row in wills] == [len(house.agent.gate.last_will)]
    others = [row for row in rows if row not in wills]
    assert sum(row.bytes for row in others) == sum(len(s.payload) for s in house.sent)
    assert [row.seq for row in others] == [s.entered.seq for s in house.sent]


def test_a_kind_without_an_egress_does_not_leave() -> None:
    text = HOME.replace('[[egress]]\nkind = "status"', '[[egress]]\nkind = "metric"')
    house = House(text)
    house.tell(Connected(session_present=False))
    assert house.sent == []
    assert house.agent.counters["withheld.status.AGT401"] >= 1


def test_a_spent_budget_holds_back_and_says_so_once() -> None:
    house = House(HOME.replace("bytes_day_max = 50_000_000", "bytes_day_max = 600")).everyone_agrees()
    for number in range(6):
        house.tell(house.pick(number))
    assert sum(len(s.payload) for s in house.sent if "/decision/" in s.topic) <= 600
    assert house.agent.counters["withheld.decision.AGT402"] > 0
    assert sum(1 for e in house.effects if isinstance(e, Log) and e.code == "AGT402") == 1
    house.now += 86_400_000
    house.tell(house.pick(50))
    assert house.decisions()[-1].decided_ms == house.now


def test_a_rule_denies_with_its_reason_in_the_trail() -> None:
    house = House().everyone_agrees()
    house.tell(house.reading(1, light=900.0))
    (made,) = house.decisions()
    assert made.items == ("lights-off",)
    trail = decision.unpack(house.shelves["decision", made.id].value)
    assert [rule.reason for rule in trail.rules] == ["There is daylight enough."]


def test_a_decision_that_switches_sends_the_actuators_payload() -> None:
    house = House().everyone_agrees()
    house.tell(house.reading(1))
    (command,) = [s for s in house.sent if s.topic == f"home/{DEVICE}/lights/set"]
    assert command.payload in {b"ON", b"OFF"}


def test_an_actuator_is_not_switched_more_often_than_its_limit_also_across_a_restart() -> None:
    house = House(HOME.replace("per_minute_max = 60", "per_minute_max = 3")).everyone_agrees()
    for number in range(8):
        house.now += 1_000
        house.tell(house.reading(number))
        if number == 4:
            house.restart()
    assert sum(1 for s in house.sent if s.topic.endswith("/lights/set")) == 3
    assert len([d for d in house.decisions() if d.placement == "presence"]) == 8


def test_without_a_bundle_the_fallback_decides_and_says_why() -> None:
    house = House(models=("affinity",)).everyone_agrees()
    house.tell(house.reading(1))
    (made,) = house.decisions()
    assert (made.items, made.fallback) == (("lights-off",), "default")
    trail = decision.unpack(house.shelves["decision", made.id].value)
    assert "context" in trail.fallback_reason


def test_over_the_budget_the_fallback_decides() -> None:
    house = House(over_budget=True).everyone_agrees()
    house.tell(house.reading(1))
    (made,) = house.decisions()
    assert made.fallback == "default"


def test_a_request_is_answered_on_its_response_topic_with_its_correlation() -> None:
    house = House().everyone_agrees()
    items = bundle("affinity").catalogue[:15]
    ask = Request(subject=PERSON, items=items)
    house.tell(
        house.message(
            OWN.of("request", "shelf"), _packed(ask), content_type=MSGPACK, response_topic="reply/1", correlation=b"77"
        )
    )
    (answer,) = [s for s in house.sent if s.topic == "reply/1"]
    made = msgspec.msgpack.decode(answer.payload, type=DecisionMade)
    assert answer.correlation == b"77"
    assert len(made.items) == 10
    assert set(made.items) <= set(items)


def test_items_that_the_model_does_not_know_are_never_chosen() -> None:
    house = House().everyone_agrees()
    ask = Request(subject=PERSON, items=("unheard-of", bundle("affinity").catalogue[0]))
    house.tell(house.message(OWN.of("request", "shelf"), _packed(ask), content_type=MSGPACK, response_topic="reply"))
    (made,) = house.decisions()
    assert made.items == (bundle("affinity").catalogue[0],)


def test_feedback_becomes_a_reward_and_an_example_with_the_features_that_were_served() -> None:
    house = House().everyone_agrees()
    house.tell(house.reading(1))
    (made,) = house.decisions()
    word = _packed(Feedback(decision_id=made.id, outcome="override"))
    house.tell(house.message(OWN.of("feedback"), word, content_type=MSGPACK))
    (row,) = [a for a in house.shelves.values() if a.shelf == "example" and a.group == "context"]
    example = examples.unpack(row.value)
    trail = decision.unpack(house.shelves["decision", made.id].value)
    assert example.features == trail.features
    assert example.label == 0.0
    assert house.agent.counters["feedback.joined"] == 1
    (kept,) = [earned.unpack(a.value) for a in house.shelves.values() if a.shelf == "outcome"]
    assert kept == earned.Earned(made.id, made.items[0], "reward", 0.0, "override", house.now)


def test_the_same_feedback_counts_once_and_unknown_feedback_is_rejected() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    word = Feedback(decision_id=house.decisions()[0].id, outcome="click")
    for _ in range(3):
        house.tell(house.message(OWN.of("feedback"), _packed(word), content_type=MSGPACK))
    assert house.agent.counters["feedback.joined"] == 1
    unknown = Feedback(decision_id="nobody", outcome="click")
    house.tell(house.message(OWN.of("feedback"), _packed(unknown), content_type=MSGPACK))
    assert house.agent.counters["rejected.AGT206"] == 1


def test_feedback_after_the_window_is_not_joined() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    house.now += 2 * 86_400_000
    word = Feedback(decision_id=house.decisions()[0].id, outcome="click")
    house.tell(house.message(OWN.of("feedback"), _packed(word), content_type=MSGPACK))
    assert house.agent.counters["feedback.too-late"] == 1


def test_late_events_go_where_the_profile_says() -> None:
    for policy, decided in (("apply", 2), ("drop", 1)):
        house = House(HOME.replace('late = "apply"', f'late = "{policy}"')).everyone_agrees()
        house.tell(house.reading(1))
        house.tell(house.reading(2, time=house.now / 1_000 - 3_600))
        assert len(house.decisions()) == decided
        assert (house.agent.counters["late"], house.agent.counters["late.room"]) == (1, 1)


@pytest.mark.parametrize("seconds", [0, -1e9, 4e9, 1e11])
def test_a_clock_that_cannot_be_right_is_noticed_and_arrival_time_is_used(seconds: float) -> None:
    house = House().everyone_agrees()
    house.tell(house.reading(1, time=seconds))
    (made,) = house.decisions()
    assert made.event_time_ms == house.now
    assert house.agent.counters["clock.implausible"] == 1


def test_desired_bundles_are_fetched_once_and_only_within_the_profiles_versions() -> None:
    house = House()
    wish = Desired(revision=3, bundles={"affinity": "1.0.9", "context": "2.0.0"}, registry="https://r")
    for _ in range(2):
        house.tell(house.message(OWN.of("desired"), _packed(wish), content_type=MSGPACK))
    assert [(e.name, e.version) for e in house.effects if isinstance(e, Fetch)] == [("affinity", "1.0.9")]
    word = _reported(house)
    assert word.bundles["context"].state == "failed"
    assert "AGT708" in word.bundles["context"].reason


def test_an_older_wish_is_ignored_also_after_a_restart() -> None:
    house = House()
    house.tell(house.message(OWN.of("desired"), _packed(Desired(revision=5)), content_type=MSGPACK))
    house.restart()
    wish = Desired(revision=4, bundles={"affinity": "1.0.9"})
    house.tell(house.message(OWN.of("desired"), _packed(wish), content_type=MSGPACK))
    assert not any(isinstance(e, Fetch) for e in house.effects)


def test_a_fetch_that_a_crash_cut_off_is_taken_up_again() -> None:
    house = House()
    wish = Desired(revision=1, bundles={"affinity": "1.0.9"}, registry="https://r")
    house.tell(house.message(OWN.of("desired"), _packed(wish), content_type=MSGPACK))
    house.restart()
    house.tell(Connected(session_present=True))
    assert sum(isinstance(e, Fetch) for e in house.effects) == 2


def test_a_failed_bundle_is_reported_and_the_old_one_serves_on() -> None:
    house = House().everyone_agrees()
    house.tell(BundleFailed(name="affinity", version="1.0.9", code="AGT702", reason="unsigned"))
    assert _reported(house).bundles["affinity"].reason == "AGT702 unsigned"
    house.tell(house.pick(1))
    assert house.decisions()[0].bundles == {"affinity": "1.0.0"}


def _reported(house: House) -> Reported:
    return msgspec.msgpack.decode([s for s in house.sent if s.topic.endswith("/reported")][-1].payload, type=Reported)


def _offer(house: House, **more: object) -> None:
    offer = RoundOffer(
        run="7", bundle="affinity", version="1.0.0", superlink="h:1", app_hash="00", closes_ms=house.now + 60_000
    )
    revision = len(house.effects) + 1
    wish = Desired(revision=revision, offer=msgspec.structs.replace(offer, **more))
    house.tell(house.message(OWN.of("desired"), _packed(wish), content_type=MSGPACK))


def test_an_offered_round_is_joined_with_the_examples_of_those_who_agree() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    _offer(house)
    (train,) = [e for e in house.effects if isinstance(e, Train)]
    assert train.subjects == (PERSON,)


@pytest.mark.parametrize("why", ["no consent", "other version", "closed", "not federated"])
def test_a_round_is_refused_when_a_condition_is_missing(why: str) -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    if why == "no consent":
        house.now += 1
        house.consent(PERSON, "improve-models", granted=False)
    more = {"other version": {"version": "0.9.0"}, "closed": {"closes_ms": 1}, "not federated": {"bundle": "context"}}
    _offer(house, **more.get(why, {}))
    assert not any(isinstance(e, Train) for e in house.effects)
    assert any(isinstance(e, Log) and e.code == "AGT501" for e in house.effects)


def test_an_update_is_let_out_only_through_the_ledger_and_its_budget() -> None:
    house = House()
    ask = EgressAsked(token="t", kind="update", destination="superlink", bytes=100, sha256="00", privacy="clip 1")
    house.tell(ask)
    too_much = msgspec.structs.replace(ask, bytes=10**9)
    undeclared = msgspec.structs.replace(ask, kind="metric")
    house.tell(too_much)
    house.tell(undeclared)
    answers = [e for e in house.effects if isinstance(e, Answer)]
    assert [a.granted for a in answers] == [True, False, False]
    rows = [ledger.unpack(v) for (room, _), (v, _) in house.rows.items() if room == "ledger"]
    assert [r.bytes for r in rows if r.kind == "update"] == [100]


def test_personal_parameters_change_the_persons_scores_and_survive_a_restart() -> None:
    house = House().everyone_agrees()
    model = bundle("affinity")
    favourite = 7
    vector = open_bundle(Path(model.path)).weights()["item_embedding"][favourite] * 50
    packed = parameters.pack({"user_vector": vector, "user_bias": model.personal["user_bias"]})
    house.tell(
        Learned(
            run="1",
            bundle="affinity",
            version="1.0.0",
            personal={PERSON: packed},
            examples=1,
            loss_before=1,
            loss_after=0,
        ),
        LearnerEnded(run="1", code=""),
    )
    house.restart()
    ask = Request(subject=PERSON, items=model.catalogue)
    house.tell(house.message(OWN.of("request", "shelf"), _packed(ask), content_type=MSGPACK, response_topic="reply"))
    assert house.decisions()[0].items[0] == model.catalogue[favourite]


def test_a_journal_replays_to_the_same_decisions_bit_for_bit() -> None:
    house = House(record=True).everyone_agrees()
    for number in range(12):
        house.now += 700
        house.tell(house.pick(number), house.reading(number, light=300.0 + 60 * number))
        word = Feedback(decision_id=house.decisions()[-1].id, outcome="accepted")
        house.tell(house.message(OWN.of("feedback"), _packed(word), content_type=MSGPACK))
    from edge_agent.happenings import Happening

    again = House()
    for row in [a for a in house.shelves.values() if a.shelf == "journal"]:
        again.now = row.made_ms
        again.tell(msgspec.msgpack.decode(row.value, type=Happening))
    trails = [decision.unpack(a.value) for a in house.shelves.values() if a.shelf == "decision"]
    replayed = [decision.unpack(a.value) for a in again.shelves.values() if a.shelf == "decision"]
    assert len(trails) == 24
    assert trails == replayed
