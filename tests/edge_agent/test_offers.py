"""An offered round: put off until the device is ready, resumed after a cut, told as it stands, and kept as one."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.effects import Answer, Train
from edge_agent.happenings import Connected, EgressAsked, Learned, LearnerEnded, RoundTaken, Tick
from edge_agent.learn.checkin import Readings
from edge_agent.learn.pacing import PAUSE_MS
from edge_agent.limits import SWEEP_EVERY_MS
from edge_agent.offers import LOOK_MS, RESUMES_MAX
from edge_agent.settings import Settings
from edge_agent.shell.learn_task import learn_task
from firmware_configs.fleet_drift import drift_shape_of
from firmware_configs.language.bundles import CheckIn
from firmware_configs.loader import parse
from firmware_configs.messages import MSGPACK, Counts, Desired, Reported, RoundOffer, Status, Topics
from tests.edge_agent.house import DEVICE, HOME, PERSON, House

OWN = Topics(DEVICE)
DIED = LearnerEnded(run="7", code="AGT802", reason="learner ended by signal SIGKILL without a word")
ASK = EgressAsked(
    token="7-1", kind="update", destination="superlink", bytes=100, sha256="00", privacy="clip 1", run="7", state=b"two"
)
LEARNED = Learned(run="7", bundle="affinity", version="1.0.0", personal={}, examples=1, loss_before=1.0, loss_after=0.5)


def offered(
    readings: Readings | None = None,
    *,
    closes_in_ms: int = 600_000,
    wanted: dict[str, object] | None = None,
    secret: bytes = b"",
    events: int = 1,
    **asked: object,
) -> House:
    """A home with so many examples, whose profile asks for this, and a round on offer that wants this."""
    house = House().everyone_agrees()
    offers = house.agent.control.offers
    model = offers._models["affinity"]
    offers._models["affinity"] = msgspec.structs.replace(model, check_in=CheckIn(**asked))  # type: ignore[arg-type]
    house.agent.doors = msgspec.structs.replace(house.agent.doors, readings=lambda: readings or Readings())
    if secret:
        house.agent.doors = msgspec.structs.replace(house.agent.doors, secret=secret)
    offers._doors = house.agent.doors
    house.tell(*(house.pick(number) for number in range(1, events + 1)))
    offer = RoundOffer(
        run="7",
        bundle="affinity",
        version="1.0.0",
        superlink="h:1",
        app_hash="00",
        closes_ms=house.now + closes_in_ms if closes_in_ms else 0,
        **wanted or {},  # type: ignore[arg-type]
    )
    wish = msgspec.msgpack.encode(Desired(revision=1, offer=offer))
    house.tell(house.message(OWN.of("desired"), wish, content_type=MSGPACK))
    return house


def wait(house: House, ms: int) -> None:
    house.now += ms
    house.tell(Tick())


def trained(house: House) -> int:
    return sum(isinstance(effect, Train) for effect in house.effects)


def reported(house: House) -> Reported:
    return msgspec.msgpack.decode([s for s in house.sent if s.topic.endswith("/reported")][-1].payload, type=Reported)


def held(house: House) -> dict[str, bytes]:
    return {key: value for (room, key), (value, _) in house.rows.items() if room == "round"}


def test_a_device_on_battery_says_so_waits_and_takes_part_once_it_is_plugged_in() -> None:
    house = offered(Readings(mains=False, battery=0.2), battery_min=0.5)
    assert trained(house) == 0
    assert reported(house).learning == "waiting: battery at 20%, 50% are asked for"
    wait(house, LOOK_MS)
    assert trained(house) == 0
    house.agent.control.offers._doors = msgspec.structs.replace(
        house.agent.doors, readings=lambda: Readings(mains=True, battery=0.2)
    )
    wait(house, LOOK_MS // 2)
    assert trained(house) == 0, "it looks at itself now and then, not all the time"
    wait(house, LOOK_MS)
    assert trained(house) == 1
    assert reported(house).learning == "running"


def test_a_device_that_waited_too_long_says_that_the_round_is_closed() -> None:
    house = offered(Readings(metered=True), closes_in_ms=15_000, unmetered=True)
    wait(house, LOOK_MS)
    wait(house, LOOK_MS)
    assert (trained(house), reported(house).learning) == (0, "AGT501")


def test_too_few_fresh_examples_put_a_round_off_until_there_are_more() -> None:
    house = offered(fresh_min=3)
    assert reported(house).learning == "waiting: 1 fresh examples, 3 are asked for"
    house.tell(house.pick(2), house.pick(3))
    wait(house, LOOK_MS)
    assert trained(house) == 1
    house.tell(LEARNED, LearnerEnded(run="7", code=""))
    again = Desired(
        revision=2,
        offer=RoundOffer(run="8", bundle="affinity", version="1.0.0", superlink="h:1", app_hash="00", closes_ms=0),
    )
    house.tell(house.message(OWN.of("desired"), msgspec.msgpack.encode(again), content_type=MSGPACK))
    assert reported(house).learning == "waiting: 0 fresh examples, 3 are asked for"


def test_a_learner_that_is_cut_is_started_again_a_few_times_ever_later() -> None:
    house = offered()
    pause = PAUSE_MS
    for number in range(1, RESUMES_MAX + 1):
        house.tell(DIED)
        assert reported(house).learning == "interrupted"
        wait(house, pause // 2 - 1)
        assert trained(house) == number
        wait(house, pause + 1)
        assert trained(house) == number + 1
        pause *= 2
    house.tell(DIED)
    wait(house, 100_000)
    assert (trained(house), reported(house).learning) == (RESUMES_MAX + 1, "AGT802")


@pytest.mark.parametrize("code", ["AGT803", "AGT804", "AGT501", "AGT504", "AGT402"])
def test_a_learner_that_was_too_slow_too_large_or_refused_is_not_started_again(code: str) -> None:
    house = offered()
    house.tell(LearnerEnded(run="7", code=code))
    wait(house, 100_000)
    assert (trained(house), reported(house).learning) == (1, code)


def test_a_cut_after_the_last_answer_takes_nothing_back() -> None:
    house = offered()
    house.tell(RoundTaken(run="7", state=b"one"), ASK, LEARNED, DIED)
    wait(house, 100_000)
    assert (trained(house), reported(house).learning) == (1, "sent")
    assert held(house) == {}


def test_no_learner_goes_on_with_a_round_that_has_closed() -> None:
    house = offered(closes_in_ms=2_000)
    house.tell(RoundTaken(run="7", state=b"one"), DIED)
    wait(house, 2 * PAUSE_MS)
    assert (trained(house), reported(house).learning) == (1, "AGT501")


def test_what_a_learner_goes_on_from_is_kept_with_the_ledgers_row_and_not_without_it() -> None:
    house = offered()
    house.tell(RoundTaken(run="7", state=b"one"))
    assert held(house) == {"7": b"one"}
    house.tell(msgspec.structs.replace(ASK, bytes=10**9))
    assert held(house) == {"7": b"one"}, "what was not entered is not kept"
    house.tell(ASK)
    assert held(house) == {"7": b"two"}
    assert [e.granted for e in house.effects if isinstance(e, Answer)] == [False, True]
    house.tell(RoundTaken(run="6", state=b"of another run"))
    assert held(house) == {"7": b"two"}


def test_who_withdraws_leaves_nothing_of_theirs_for_a_learner_to_go_on_from() -> None:
    house = offered()
    house.tell(RoundTaken(run="7", state=b"one"))
    house.now += 1
    house.consent(PERSON, "improve-models", granted=False)
    assert held(house) == {}


def test_a_device_of_another_class_refuses_a_round_and_logs_why() -> None:
    house = offered(wanted={"classes": ("doorbell",)})
    assert (trained(house), reported(house).learning) == (0, "AGT501")
    assert "the round is for doorbell, this device is of class home-gateway" in str(house.effects)
    assert trained(offered(wanted={"classes": ("doorbell", "home-gateway")})) == 1


def test_a_device_with_fewer_examples_than_a_round_wants_waits_for_them_and_tells_the_count_when_it_begins() -> None:
    house = offered(wanted={"examples_min": 3})
    assert reported(house).learning == "waiting: 1 examples, the round is for devices with 3"
    house.tell(house.pick(2), house.pick(3))
    wait(house, LOOK_MS)
    assert trained(house) == 1
    assert [effect.examples_min for effect in house.effects if isinstance(effect, Train)] == [3]
    word = [msgspec.msgpack.decode(s.payload, type=Status) for s in house.sent if s.topic.endswith("/status")][-1]
    assert (word.counters["examples.affinity"], word.device_class) == (3, "home-gateway")


def test_a_device_without_examples_waits_for_its_first_and_takes_part_then() -> None:
    house = offered(events=0)
    assert (trained(house), reported(house).learning) == (0, "waiting: 0 examples, the round is for devices with 1")
    house.tell(house.pick(1))
    wait(house, LOOK_MS)
    assert (trained(house), reported(house).learning) == (1, "running")


def told(house: House) -> list[int]:
    """The count of examples in each status, as far as it was sent."""
    words = [msgspec.msgpack.decode(s.payload, type=Status) for s in house.sent if s.topic.endswith("/status")]
    return [word.counters.get("examples.affinity", 0) for word in words]


def test_the_first_example_is_told_at_once_and_then_each_doubling() -> None:
    house = House().everyone_agrees()
    house.tell(Tick())
    assert told(house) == [0]
    for number in range(1, 41):
        house.tell(house.pick(number))
        wait(house, 1_000)
    assert told(house) == [0, 1, 2, 4, 8, 16, 32]
    wait(house, SWEEP_EVERY_MS)
    wait(house, 1_000)
    assert told(house)[7:] == [40], "the status of each minute counts as well"


def test_a_flood_of_examples_is_told_once_a_second_at_most() -> None:
    house = House().everyone_agrees()
    house.tell(Tick())
    house.tell(*(house.pick(number) for number in range(1, 40)))
    wait(house, 1_000)
    wait(house, 1_000)
    assert told(house) == [0, 39]


def test_a_device_that_starts_again_with_its_examples_says_no_more_than_its_status() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1), house.pick(2), house.pick(3))
    house.tell(Tick())
    house.restart()
    house.sent.clear()
    house.tell(Connected(session_present=False), Tick())
    for _ in range(30):
        wait(house, 1_000)
    assert told(house) == [3, 3], "with the line's return, and with the first sweep"


def began_at(secret: bytes, opens_ms: int) -> int:
    """Milliseconds after the offer at which a device with this key begins."""
    house = offered(secret=secret, wanted={"opens_ms": opens_ms, "window_ms": 60_000})
    for second in range(61):
        if trained(house):
            return second * 1_000
        wait(house, 1_000)
    raise AssertionError("it never began")


def test_devices_begin_at_moments_of_their_own_within_the_window_and_each_at_the_same_again() -> None:
    opens = House().now
    first = {key: began_at(bytes([key]) * 32, opens) for key in range(1, 9)}
    assert len(set(first.values())) > 4
    assert max(first.values()) - min(first.values()) > 20_000
    assert began_at(bytes([3]) * 32, opens) == first[3]
    assert began_at(bytes([3]) * 32, opens - 60_000) == 0, "the window is over"


def test_a_device_whose_turn_is_to_come_says_that_others_begin_first() -> None:
    house = offered(secret=b"\x01" * 32, wanted={"opens_ms": House().now, "window_ms": 600_000})
    assert reported(house).learning == "waiting: others begin first"
    assert trained(house) == 0


WATCHED = """
[[drift]]
name = "air"
watch = "input"
source = "room"
field = "co2"
fleet = true

[[egress]]
kind = "statistic"
destination = "superlink"
purposes = ["improve-models"]
bytes_day_max = 100_000
k_min = 3
privacy = { clip_norm = 20.0, noise_multiplier = 1.0, secret_sum = true }
"""


@pytest.mark.parametrize("fleet", ["true", "false"])
def test_what_detectors_count_is_asked_of_a_model_that_learns_from_nobody_where_the_profile_says_so(fleet: str) -> None:
    text = HOME.replace("[sensitive]", WATCHED.replace("fleet = true", f"fleet = {fleet}") + "\n[sensitive]", 1)
    house = House(text).everyone_agrees()
    house.tell(house.reading(1, occupied=True))
    offer = RoundOffer(
        run="7", bundle="context", version="1.0.0", superlink="h:1", app_hash="00", closes_ms=0, kind="statistic"
    )
    wish = msgspec.msgpack.encode(Desired(revision=1, offer=offer))
    house.tell(house.message(OWN.of("desired"), wish, content_type=MSGPACK))
    wait(house, LOOK_MS)
    began = [effect for effect in house.effects if isinstance(effect, Train)]
    assert len(began) == (1 if fleet == "true" else 0)
    if began:
        profile = parse(text).profile
        task = learn_task(Settings(device="d", state_dir="s"), profile, began[0], path="", database=Path(), seed=b"")
        assert task.drift == drift_shape_of(profile, "context")
        assert task.drift is not None
        assert (task.noise_multiplier, task.clip_norm, task.k_min) == (1.0, 20.0, 3)


@pytest.mark.parametrize(
    ("counts", "takes_part"), [("drift", 1), ("bandit", 1), ("scores", 0), ("subgroups", 0), ("", 0)]
)
def test_a_device_without_examples_counts_what_is_made_of_something_else(counts: Counts, takes_part: int) -> None:
    house = House(HOME.replace("[sensitive]", WATCHED + "\n[sensitive]", 1)).everyone_agrees()
    offer = RoundOffer(
        run="7",
        bundle="context",
        version="1.0.0",
        superlink="h:1",
        app_hash="00",
        closes_ms=0,
        kind="statistic",
        counts=counts,
    )
    wish = msgspec.msgpack.encode(Desired(revision=1, offer=offer))
    house.tell(house.message(OWN.of("desired"), wish, content_type=MSGPACK))
    wait(house, LOOK_MS)
    assert [effect.counts for effect in house.effects if isinstance(effect, Train)] == [counts] * takes_part
    assert ("no examples for context yet" in str(house.effects)) is not bool(takes_part)
