"""The life of a rollout: cohort by cohort, halted by what goes wrong, back again, never more at risk than may be."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.rollout.machine import NEXT, WISHED, missing, refusal, step
from coordinator.rollout.state import Heard, Observation, Presence, Rollout, Wish, at_risk, touched
from firmware_configs.messages import BundleState
from tests.coordinator.rollout.plans import NEW, OLD, TEXT, Drive, plan, planned, tally, there, tried


def test_a_good_version_reaches_everyone_cohort_by_cohort() -> None:
    drive = Drive()
    assert len(drive.asked) == 3
    drive.everyone_does_well(6)
    assert len(drive.asked) == 3, "it soaks"
    drive.everyone_does_well(30)
    assert drive.rollout.state == "done"
    assert all(member.state == "settled" for member in drive.rollout.members.values())
    last = {order.device: order for order in drive.orders}
    assert all(order.version == NEW and order.watch is None for order in last.values()), "and is watched no more"


def test_a_cohort_waits_for_its_soak_and_its_evidence() -> None:
    drive = Drive()
    drive.everyone_does_well(3, decisions=1)
    assert any("soak" in one for one in missing(drive.rollout))
    drive.everyone_does_well(6, decisions=1)
    assert missing(drive.rollout) == ["decisions: 27 of 30"]
    drive.everyone_does_well(1, decisions=1)
    assert drive.rollout.cohort == 1


def test_nothing_soaks_while_nobody_watches() -> None:
    drive = Drive()
    drive.everyone_does_well(2)
    drive.says(after_s=7 * 86_400.0)  # the coordinator was down for a week
    assert drive.rollout.cohort == 0
    assert drive.rollout.state == "soaking"
    drive.says(after_s=-3_600.0)  # its clock is set back
    assert drive.rollout.cohort == 0


@pytest.mark.parametrize("state", ["failed", "returned"])
def test_a_device_that_does_not_keep_the_version_halts_and_everyone_goes_back(state: str) -> None:
    drive = Drive()
    device = drive.asked[0]
    made = drive.says(
        Heard(device=device, bundle=BundleState(version=NEW, state=state, reason="AGT505 boom", serving=OLD)),  # type: ignore[arg-type]
        after_s=5.0,
    )
    assert drive.rollout.state == "rolling-back"
    assert sorted(order.device for order in made.orders) == sorted(drive.asked)
    assert all((order.version, order.rollout, order.watch) == (OLD, "full", None) for order in made.orders)
    assert "AGT505 boom" in drive.rollout.reason
    drive.everyone_does_well(1)
    assert drive.rollout.state == "rolled-back"
    assert len(drive.asked) == 3, "nobody else was touched"


def test_a_slower_version_is_halted() -> None:
    drive = Drive()
    for turn in range(1, 60):
        words = [tried(d, tally(8 * turn, bucket=26), tally(8 * turn, bucket=20)) for d in drive.asked]
        drive.says(*words, after_s=10.0)
        if drive.rollout.state != "soaking":
            break
    assert drive.rollout.reason.startswith("latency")
    assert turn < 6


def test_a_version_that_earns_less_is_halted() -> None:
    drive = Drive(planned(plan(decisions_min="100000")))
    for turn in range(1, 60):
        words = [tried(d, tally(20 * turn, reward=0.2), tally(20 * turn, reward=0.6)) for d in drive.asked]
        drive.says(*words, after_s=10.0)
        if drive.rollout.state != "soaking":
            break
    assert drive.rollout.reason.startswith("reward")
    assert turn < 12


def test_devices_that_go_silent_with_it_halt_it_and_need_not_come_back_for_the_end() -> None:
    drive = Drive()
    drive.says(*[tried(d, tally(5), tally(5)) for d in drive.asked], after_s=5.0)
    for _ in range(14):
        drive.says(after_s=10.0)
    assert "silent" in drive.rollout.reason
    for _ in range(14):
        drive.says(after_s=10.0)
    assert drive.rollout.state == "rolled-back"


def test_one_silent_device_of_a_small_cohort_is_borne_and_may_come_back() -> None:
    drive = Drive()
    drive.says(*[tried(d, tally(5), tally(5)) for d in drive.asked], after_s=5.0)
    first, *others = drive.asked
    for turn in range(2, 12):
        drive.says(*[tried(d, tally(5 * turn), tally(5 * turn)) for d in others], after_s=10.0)
    assert drive.rollout.members[first].silent
    assert drive.rollout.state == "soaking"
    drive.says(tried(first, tally(6), tally(6)))
    assert not drive.rollout.members[first].silent


def interrupted(device: str) -> Heard:
    reason = "AGT701 no line to the registry; tried again in 30 s"
    return Heard(device=device, bundle=BundleState(version=NEW, state="failed", reason=reason, serving=OLD))


def test_a_download_that_is_interrupted_is_no_failure_of_the_version() -> None:
    drive = Drive()
    for _ in range(20):
        drive.says(*map(interrupted, drive.asked), after_s=10.0)
    assert drive.rollout.state == "soaking"
    assert {drive.rollout.members[d].reason.split()[0] for d in drive.asked} == {"AGT701"}
    assert drive.rollout.soaking_ms < 0, "nothing soaks before it runs"
    drive.everyone_does_well(12)
    assert drive.rollout.cohort == 1
    assert not any(member.reason for member in drive.rollout.members.values())


def test_a_download_that_never_ends_has_failed_after_the_time_that_the_plan_states() -> None:
    text = TEXT.replace("silent_after_s = 60.0", "silent_after_s = 60.0\nfetch_max_s = 300.0")
    drive, turns = Drive(planned(plan(text))), 0
    while drive.rollout.state == "soaking":
        drive.says(*map(interrupted, drive.asked), after_s=10.0)
        turns += 1
    assert 30 <= turns <= 32
    assert "it did not run within 300 s: AGT701" in drive.rollout.reason
    assert len(drive.asked) == 3


def test_a_window_that_is_waited_for_is_no_delay_of_the_download() -> None:
    text = TEXT.replace("silent_after_s = 60.0", "silent_after_s = 60.0\nfetch_max_s = 100.0")
    drive = Drive(planned(plan(text)))
    for _ in range(30):
        waits = [Heard(device=d, bundle=BundleState(version=NEW, state="waiting", serving=OLD)) for d in drive.asked]
        drive.says(*waits, after_s=10.0)
    assert drive.rollout.state == "soaking"


def test_what_the_device_refuses_is_a_failure_at_once() -> None:
    drive = Drive()
    reason = "AGT706 the probe ended with signal 11"
    drive.says(Heard(device=drive.asked[0], bundle=BundleState(version=NEW, state="failed", reason=reason)))
    assert "AGT706" in drive.rollout.reason


@pytest.mark.parametrize(("has_it", "halts"), [(False, False), (True, True)])
def test_who_goes_offline_before_it_has_the_version_may_be_offline_for_any_reason(has_it: bool, halts: bool) -> None:
    drive = Drive()
    if has_it:
        drive.says(*[tried(d, tally(5), tally(5)) for d in drive.asked], after_s=5.0)
    drive.says(*[Presence(device=device, online=False) for device in drive.asked], after_s=5.0)
    for _ in range(20):
        drive.says(after_s=10.0)
    assert ("silent" in drive.rollout.reason) == halts
    for _ in range(400):
        drive.says(after_s=10.0)
    assert "silent" in drive.rollout.reason, "at last it counts"


def test_who_is_away_is_asked_when_it_comes_back_and_takes_it_last() -> None:
    away = planned().members
    first = next(device for device, member in away.items() if member.cohort == 0)
    drive = Drive(planned())
    rollout = planned()
    made = step(
        rollout, [*there(rollout.members), Presence(device=first, online=False), Wish(kind="start", who="a")], 9
    )
    assert first not in {order.device for order in made.orders}
    assert len(made.orders) == 2
    back = step(made.rollout, [Heard(device=first, bundle=BundleState(version=OLD, state="active"))], 10)
    assert [order.device for order in back.orders] == [first]
    assert len(drive.asked) == 3


def test_a_pause_asks_nobody_and_the_guards_go_on() -> None:
    drive = Drive()
    drive.everyone_does_well(3)
    drive.says(Wish(kind="pause", who="ann", reason="lunch"))
    drive.everyone_does_well(30)
    assert (drive.rollout.state, drive.rollout.cohort) == ("paused", 0)
    drive.says(Heard(device=drive.asked[0], bundle=BundleState(version=NEW, state="failed", reason="x")))
    assert drive.rollout.state == "rolling-back"


def test_a_person_can_resume_promote_and_roll_back() -> None:
    drive = Drive()
    drive.everyone_does_well(1)
    drive.says(Wish(kind="pause", who="ann"), Wish(kind="resume", who="ann"), Wish(kind="promote", who="ann"))
    assert drive.rollout.cohort == 1
    made = drive.says(Wish(kind="rollback", who="ben", reason="a complaint"))
    assert drive.rollout.state == "rolling-back"
    assert made.notes[0].who == "ben"
    drive.everyone_does_well(2)
    assert drive.rollout.state == "rolled-back"


def test_what_is_done_can_still_be_rolled_back() -> None:
    drive = Drive()
    drive.everyone_does_well(40)
    assert drive.rollout.state == "done"
    drive.says(Wish(kind="rollback", who="ben"))
    assert {order.version for order in drive.orders[-12:]} == {OLD}
    drive.everyone_does_well(2)
    assert drive.rollout.state == "rolled-back"


def test_a_wish_that_cannot_be_had_changes_nothing_and_is_noted() -> None:
    drive = Drive()
    made = drive.says(Wish(kind="resume", who="ann"))
    assert [note.what for note in made.notes] == ["resume refused"]
    why = refusal(drive.rollout, Wish(kind="resume", who="ann"))
    assert why is not None
    assert "pause" in why.hint


def test_who_may_hold_it_at_once_is_bounded_within_a_cohort_too() -> None:
    drive = Drive(planned(plan(at_risk_max="2", share="0.5")))
    assert len(drive.asked) == 2
    drive.says(*[tried(d, tally(12), tally(12)) for d in drive.asked], after_s=5.0)
    assert len(drive.asked) == 4, "two have settled, two may follow"


def test_a_halted_rollout_waits_for_a_person_where_the_plan_says_so() -> None:
    text = plan().on_breach
    assert text == "rollback"
    drive = Drive(planned(msgspec.structs.replace(plan(), on_breach="halt")))
    drive.says(Heard(device=drive.asked[0], bundle=BundleState(version=NEW, state="failed", reason="x")))
    assert drive.rollout.state == "halted"
    drive.says(Wish(kind="rollback", who="ann"))
    assert drive.rollout.state == "rolling-back"


def test_every_state_of_the_table_can_be_left_or_has_ended() -> None:
    reached = {"planned"} | {after for afters in NEXT.values() for after in afters}
    assert reached == set(NEXT)
    assert {state for states in WISHED.values() for state in states} <= set(NEXT)


_WORDS = st.lists(
    st.tuples(
        st.sampled_from(["well", "failed", "returned", "silent", "away", "back", "stale", "odd"]),
        st.integers(0, 11),
        st.integers(0, 40),
    ),
    max_size=12,
)


@given(st.lists(st.tuples(_WORDS, st.floats(-50.0, 200.0)), max_size=25), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_whatever_devices_say_no_more_are_at_risk_than_may_be(
    turns: list[tuple[list[tuple[str, int, int]], float]], most: int, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311
    drive = Drive(planned(plan(at_risk_max=str(most))))
    before = drive.rollout
    for words, after_s in turns:
        wishes = (
            [Wish(kind=dice.choice(["pause", "resume", "promote", "rollback"]), who="x")] if dice.random() < 0.1 else []
        )
        drive.says(*[_word(drive.rollout, *word) for word in words], *wishes, after_s=after_s)
        _holds(before, drive.rollout, most)
        before = drive.rollout


def _word(rollout: Rollout, kind: str, number: int, count: int) -> Observation:
    device = f"device-{number}"
    match kind:
        case "well":
            member = rollout.members[device]
            return tried(device, tally(member.decisions + count), tally(member.decisions + count))
        case "failed" | "returned":
            return Heard(device=device, bundle=BundleState(version=NEW, state=kind, reason="x", serving=OLD))  # type: ignore[arg-type]
        case "away":
            return Presence(device=device, online=False)
        case "back":
            return Heard(device=device, bundle=BundleState(version=OLD, state="active"))
        case "stale":
            return Heard(device=device, bundle=BundleState(version=OLD, state="active"), fresh=False)
        case "odd":
            return tried("stranger", tally(count), tally(count))
        case _:
            return Heard(device=device, bundle=None)


def _holds(before: Rollout, after: Rollout, most: int) -> None:
    assert len(at_risk(after)) <= most
    assert after.state == before.state or _reachable(before.state, after.state)
    assert after.watched_ms >= before.watched_ms
    if after.cohort == 0 and after.state != "done":
        assert all(member.cohort == 0 for member in touched(after)), "only the first cohort was touched"
    if after.state == "rolled-back":
        assert all(m.state in {"waiting", "returning", "returned"} for m in after.members.values())


def _reachable(before: str, after: str) -> bool:
    seen, edge = {before}, [before]
    while edge:
        edge = [n for one in edge for n in NEXT[one] if n not in seen]  # type: ignore[index]
        seen |= set(edge)
    return after in seen


@given(st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_the_same_words_give_the_same_step(turns: int) -> None:
    drive = Drive()
    drive.everyone_does_well(turns)
    words = there(drive.rollout.members)
    first, second = (step(drive.rollout, words, int(drive.at_s * 1_000) + 10) for _ in range(2))
    assert msgspec.msgpack.encode(first) == msgspec.msgpack.encode(second)
