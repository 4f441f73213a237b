"""Events that come again: told from new ones by id, by time, or by the packet that brought them."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.intake.event import decode
from edge_agent.intake.retained import Retained
from edge_agent.limits import DAY_MS
from firmware_configs.topics import filter_fault, topic_fault
from tests.conformance.device import profile, source
from tests.edge_agent.house import DEVICE, House

TEXT = profile(source("named", "t/named"), source("bare", "t/bare", event_id=""))


def house() -> House:
    return House(TEXT, models=())


def decided(home: House, name: str) -> int:
    return sum(sent.topic.endswith(f"/decision/on-{name}") for sent in home.sent)


def say(home: House, name: str, value: float, *, mid: int = 1, dup: bool = False, retain: bool = False) -> None:
    body = msgspec.json.encode({"id": f"{value}", "value": value})
    home.tell(home.message(f"t/{name}", body, mid=mid, dup=dup, retain=retain))


def test_an_event_without_a_name_is_not_the_earlier_one_that_reads_the_same() -> None:
    home = house()
    for mid in (1, 2, 3, 1):
        say(home, "bare", 1.0, mid=mid)
    assert decided(home, "bare") == 4
    for _ in range(2):
        say(home, "named", 1.0)
    assert decided(home, "named") == 1


def test_what_is_delivered_again_has_its_packets_number_and_is_decided_once_across_a_restart() -> None:
    home = house()
    say(home, "bare", 1.0, mid=7)
    home.restart()
    say(home, "bare", 1.0, mid=7, dup=True)
    assert decided(home, "bare") == 1
    say(home, "bare", 2.0, mid=8, dup=True)
    assert decided(home, "bare") == 2, "delivered again, but never committed"


def test_a_retained_event_is_known_again_long_after_its_id_is_forgotten() -> None:
    home = house()
    for name in ("named", "bare"):
        say(home, name, 1.0, retain=True)
    for _ in range(3):
        home.now += 30 * DAY_MS
        home.restart()
        for name in ("named", "bare"):
            say(home, name, 1.0, retain=True)
    assert (decided(home, "named"), decided(home, "bare")) == (1, 1)
    for name in ("named", "bare"):
        say(home, name, 2.0, retain=True)
    assert (decided(home, "named"), decided(home, "bare")) == (2, 2)


def test_a_state_that_came_live_is_known_when_it_comes_as_the_retained_one() -> None:
    """MQTT 3.1.1 does not say of a live message that it is retained."""
    home = house()
    say(home, "bare", 1.0, retain=True)
    say(home, "bare", 2.0)
    home.restart()
    say(home, "bare", 2.0, retain=True)
    assert decided(home, "bare") == 2


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz"), st.booleans()), max_size=60))
def test_what_is_remembered_of_retained_events_is_bounded_and_can_be_taken_up_again(
    story: list[tuple[str, str, bool]],
) -> None:
    kept, rows = Retained(3), dict[str, bytes]()
    for topic, identity, retained in story:
        row, gone = kept.take(topic, identity, retained=retained)
        if row is not None:
            rows[topic] = row
        rows.pop(gone, None)
        assert kept.again(topic, identity)
    assert len(rows) <= 3
    later = Retained(3)
    for topic, row in rows.items():
        later.restore(topic, row)
        assert later.knows(topic)
        assert all(later.again(topic, word) == kept.again(topic, word) for word in "xyz")


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=8), st.one_of(st.integers(-9, 9), st.text(max_size=5)), max_size=20))
def test_without_a_content_type_the_first_byte_tells_json_from_msgpack(fields: dict[str, int | str]) -> None:
    for codec in ("json", "msgpack"):
        for encode in (msgspec.json.encode, msgspec.msgpack.encode):
            assert decode(codec, encode(fields), "", (), "t") == fields


@given(st.text(max_size=20))
def test_any_text_is_a_topic_or_says_why_it_is_none(text: str) -> None:
    if not topic_fault(text):
        assert text.encode()
        assert not filter_fault(text) or text.startswith("$share/")
    for good in ("a", "a/+", "+/b/#", "#", "$share/group/a/+", f"home/{DEVICE}/x"):
        assert filter_fault(good) == ""
    for bad in ("", "a/#/b", "a+", "a/b#", "$share/g", "$share//x", "$share/g/", "a\x00b", "x" * 70_000):
        assert filter_fault(bad)
