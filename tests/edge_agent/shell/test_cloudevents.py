"""Decisions carry CloudEvents attributes where the settings wish it, and whoever reads CloudEvents reads them."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.intake.event import decode
from edge_agent.shell.cloudevents import attributes
from firmware_configs.messages import JSON, MSGPACK, DecisionMade
from tests.benchmarks.load import broker
from tests.conformance.device import device, drive, profile, write
from tests.conformance.peer import peer

MADE = DecisionMade(
    id="d1", placement="p", items=("a",), propensity=1.0, score=0.5, subject="ann", decided_ms=1_800_000_000_123
)
WISHED = {"specversion": "1.0", "id": "d1", "source": "/edgeward/1/home-1", "type": "edgeward.decision.v1"}


def test_a_decision_is_named_dated_and_its_person_is_not() -> None:
    for payload, kind in ((msgspec.msgpack.encode(MADE), MSGPACK), (msgspec.json.encode(MADE), JSON)):
        found = dict(attributes("home-1", payload, kind))
        assert found == {**WISHED, "time": "2027-01-15T08:00:00.123Z"}
        assert "ann" not in str(found)


def test_what_takes_a_decision_back_is_another_event() -> None:
    word = msgspec.structs.replace(MADE, retracted="late", items=())
    found = dict(attributes("home-1", msgspec.msgpack.encode(word), MSGPACK))
    assert (found["id"], found["type"]) == ("d1-retracted", "edgeward.retraction.v1")


def test_our_own_intake_reads_it_back() -> None:
    payload = msgspec.json.encode(MADE)
    found = decode("cloudevents", payload, JSON, attributes("home-1", payload, JSON), "t")
    assert found["id"] == "d1"
    assert found["data"]["items"] == ["a"]


def test_an_actuators_command_has_none() -> None:
    assert attributes("home-1", b"ON", "text/plain") == ()


@given(raw=st.binary(max_size=60), at=st.integers())
def test_whatever_is_sent_there_are_attributes_or_none(raw: bytes, at: int) -> None:
    assert attributes("home-1", raw, MSGPACK) in {(), attributes("home-1", raw, MSGPACK)}
    word = msgspec.json.encode({"id": "x", "decided_ms": at})
    assert len(attributes("home-1", word, JSON)) in {0, 5}


def test_a_listener_at_the_broker_gets_them_only_where_they_are_wished(tmp_path: Path) -> None:
    with broker("iotcore", tmp_path) as port:
        for name, wished in (("plain", False), ("cloud", True)):
            file = write(tmp_path / name, f"mqtt://127.0.0.1:{port}", name, profile(), cloudevents=wished)
            with device(file) as one, peer(port, f"p-{name}", "5") as p:
                p.listen(f"edgeward/1/{name}/decision/+")
                p.say(f"conf/{name}/one", {"id": "e1", "value": 1.0})
                assert drive(one, until=lambda: p.heard), (one.said, one.loop.agent.counters)
                given = dict(getattr(p.heard[0].properties, "UserProperty", ()))
                assert (given.get("id") == p.decisions()[0].id) is wished
                assert ("specversion" in given) is wished
