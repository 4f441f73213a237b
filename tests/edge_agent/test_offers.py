"""An offered round: put off until the device is ready, resumed after a cut, told as it stands, and kept as one."""

import msgspec
import pytest

from edge_agent.effects import Answer, Train
from edge_agent.happenings import EgressAsked, Learned, LearnerEnded, RoundTaken, Tick
from edge_agent.learn.checkin import Readings
from edge_agent.offers import LOOK_MS, RESUME_MS, RESUMES_MAX
from firmware_configs.language.bundles import CheckIn
from firmware_configs.messages import MSGPACK, Desired, Reported, RoundOffer, Topics
from tests.edge_agent.house import DEVICE, PERSON, House

OWN = Topics(DEVICE)
DIED = LearnerEnded(run="7", code="AGT802", reason="learner ended by signal SIGKILL without a word")
ASK = EgressAsked(
    token="7-1", kind="update", destination="superlink", bytes=100, sha256="00", privacy="clip 1", run="7", state=b"two"
)
LEARNED = Learned(run="7", bundle="affinity", version="1.0.0", personal={}, examples=1, loss_before=1.0, loss_after=0.5)


def offered(readings: Readings | None = None, *, closes_in_ms: int = 600_000, **asked: object) -> House:
    """A home with one example, whose profile asks for this before a round, and a round on offer."""
    house = House().everyone_agrees()
    offers = house.agent.control.offers
    model = offers._models["affinity"]
    offers._models["affinity"] = msgspec.structs.replace(model, check_in=CheckIn(**asked))  # type: ignore[arg-type]
    house.agent.doors = msgspec.structs.replace(house.agent.doors, readings=lambda: readings or Readings())
    offers._doors = house.agent.doors
    house.tell(house.pick(1))
    offer = RoundOffer(
        run="7",
        bundle="affinity",
        version="1.0.0",
        superlink="h:1",
        app_hash="00",
        closes_ms=house.now + closes_in_ms if closes_in_ms else 0,
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
    pause = RESUME_MS
    for number in range(1, RESUMES_MAX + 1):
        house.tell(DIED)
        assert reported(house).learning == "interrupted"
        wait(house, pause - 1)
        assert trained(house) == number
        wait(house, 1)
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
    wait(house, RESUME_MS)
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
