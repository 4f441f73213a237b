"""Events in, decisions out: each once, at every broker, whatever the QoS and the version of MQTT."""

from collections import Counter
from pathlib import Path

import msgspec

from firmware_configs.messages import JSON, MSGPACK, Topics
from tests.conformance.brokers import PACKET_BYTES_MAX, Place
from tests.conformance.device import SOURCES, Device, device, drive, profile, source, url, write
from tests.conformance.peer import peer
from tests.conformance.table import runs

PAYLOAD_BYTES_MAX = 262_144


def agent(folder: Path, place: Place, version: str, name: str, text: str = "", listener: str = "plain") -> Path:
    """Settings of an agent at a broker."""
    return write(folder, url(place, listener, version), name, text or profile(), protocol=version)


def settle(running: Device, events: int, topic: str = "") -> bool:
    """Until so many events came, and nothing waits in the outbox."""
    counted = ("events", "duplicates")
    done = drive(running, until=lambda: running.count("events") >= events)
    drive(running, until=lambda: not running.link._entries, seconds=2.0)
    assert done, {name: running.count(name) for name in counted}
    return done


@runs("qos")
def test_each_event_is_decided_once_at_every_qos(place: Place, version: str, name: str, folder: Path) -> None:
    with (
        device(agent(folder, place, version, name)) as one,
        peer(place.port("plain", version), f"p-{name}", version) as p,
    ):
        p.listen(f"edgeward/1/{name}/decision/+")
        for qos in (0, 1, 2):
            for to in SOURCES:
                p.say(f"conf/{name}/{to}", {"id": f"{qos}", "value": 1.0}, qos)
        assert drive(one, until=lambda: len(p.decisions()) >= 9), one.loop.agent.counters
        heard = Counter((d.placement, d.event_time_ms > 0) for d in p.decisions())
        assert heard == {(f"on-{to}", True): 3 for to in SOURCES}
        assert one.count("duplicates") == 0


@runs("flood")
def test_a_flood_at_qos_2_is_decided_once_each(place: Place, version: str, name: str, folder: Path) -> None:
    with (
        device(agent(folder, place, version, name)) as one,
        peer(place.port("plain", version), f"p-{name}", version) as p,
    ):
        for n in range(300):
            p.say(f"conf/{name}/two", {"id": f"{n}", "value": 1.0}, 2, wait=False)
        assert drive(one, until=lambda: one.count("decisions") >= 300), one.loop.agent.counters
        assert one.count("decisions") == 300


@runs("mixed")
def test_clients_of_the_other_version_are_served(place: Place, version: str, name: str, folder: Path) -> None:
    other = "3.1.1" if version == "5" else "5"
    with device(agent(folder, place, version, name)) as one, peer(place.port("plain", other), f"p-{name}", other) as p:
        p.listen(f"edgeward/1/{name}/decision/+")
        p.say(f"conf/{name}/one", {"id": "json", "value": 1.0})
        p.say(f"conf/{name}/two", msgspec.msgpack.encode({"id": "msgpack", "value": 1.0}), 2)
        assert drive(one, until=lambda: len(p.decisions()) >= 2), one.loop.agent.counters
        assert one.count("decisions") == 2


@runs("wildcards")
def test_wildcards_in_a_source_reach_its_topics(place: Place, version: str, name: str, folder: Path) -> None:
    text = profile(source("plus", "conf/{device}/+/t"), source("hash", "conf/{device}/deep/#"))
    with (
        device(agent(folder, place, version, name, text)) as one,
        peer(place.port("plain", version), f"p-{name}", version) as p,
    ):
        for topic in ("a/t", "b/t", "deep", "deep/er/still"):
            p.say(f"conf/{name}/{topic}", {"id": topic, "value": 1.0})
        p.say(f"conf/{name}/a/other", {"id": "not ours", "value": 1.0})
        settle(one, 4)
        assert one.count("decisions") == 4


@runs("retained")
def test_a_retained_event_that_comes_again_is_decided_once(place: Place, version: str, name: str, folder: Path) -> None:
    known, probe = source("known", "conf/{device}/known"), source("probe", "conf/{device}/probe")
    text = profile(known, source("bare", "conf/{device}/bare", event_id=""), probe)
    file = agent(folder, place, version, name, text)
    with peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(f"edgeward/1/{name}/decision/+")
        due: set[str] = set()
        for word in ("first", "second"):
            for topic in ("known", "bare"):
                p.say(f"conf/{name}/{topic}", {"id": word, "value": 1.0}, retain=True)
                due.add(f"{topic} {word}")
            for again in range(3):
                with device(file) as one:
                    p.say(f"conf/{name}/probe", {"id": f"{word} {again}", "value": 1.0})
                    due.add(f"probe {word} {again}")
                    done = drive(one, until=lambda: len({d.id for d in p.decisions()}) >= len(due))
                    assert done, (one.said, one.loop.agent.counters, Counter(d.placement for d in p.decisions()))
        heard = Counter(placement for _, placement in {(d.id, d.placement) for d in p.decisions()})
        assert heard == {"on-known": 2, "on-bare": 2, "on-probe": 6}
        for topic in ("known", "bare"):
            p.say(f"conf/{name}/{topic}", b"", retain=True)


@runs("qos")
def test_events_that_read_the_same_and_have_no_id_are_each_decided(
    place: Place, version: str, name: str, folder: Path
) -> None:
    bare, zero = (
        source(topic, f"conf/{{device}}/{topic}", qos, event_id="") for topic, qos in (("bare", 1), ("zero", 0))
    )
    text = profile(bare, zero)
    file = agent(folder, place, version, name, text)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        for _ in range(5):
            for topic in ("bare", "zero"):
                p.say(f"conf/{name}/{topic}", {"value": 1.0})
        settle(one, 10)
        assert one.count("decisions") == 10


@runs("shared")
def test_agents_that_share_a_subscription_decide_each_event_once(
    place: Place, version: str, name: str, folder: Path
) -> None:
    text = profile(source("pool", f"$share/{name}/pool/{name}/+"))
    first = agent(folder / "a", place, version, f"{name}-a", text)
    second = agent(folder / "b", place, version, f"{name}-b", text)
    with device(first) as a, device(second) as b, peer(place.port("plain", version), f"p-{name}", version) as p:
        for n in range(40):
            p.say(f"pool/{name}/{n % 3}", {"id": f"{n}", "value": 1.0})
        assert drive(a, b, until=lambda: a.count("decisions") + b.count("decisions") >= 40), (a.said, b.said)
        assert a.count("decisions") + b.count("decisions") == 40
        assert min(a.count("decisions"), b.count("decisions")) > 0


@runs("large")
def test_a_payload_over_the_limit_is_rejected_by_name_and_the_line_stays(
    place: Place, version: str, name: str, folder: Path
) -> None:
    def event(identity: str, size: int) -> bytes:
        head = msgspec.json.encode({"id": identity, "value": 1.0, "pad": ""})
        return head[:-2] + b"x" * (size - len(head)) + b'"}'

    with (
        device(agent(folder, place, version, name)) as one,
        peer(place.port("plain", version), f"p-{name}", version) as p,
    ):
        line = one.link.line
        p.say(f"conf/{name}/one", event("fits", PAYLOAD_BYTES_MAX))
        p.say(f"conf/{name}/one", event("too large", PAYLOAD_BYTES_MAX + 1))
        p.say(f"conf/{name}/one", event("more than a packet may hold", 1_200_000), wait=False)
        p.say(f"conf/{name}/one", event("small", 100))
        assert drive(one, until=lambda: one.count("decisions") >= 2), one.loop.agent.counters
        assert one.count("decisions") == 2
        assert one.count("rejected.AGT202") >= 1
        assert one.complaint("AGT202", str(PAYLOAD_BYTES_MAX)) or one.said
        assert one.link.line == line
    assert PACKET_BYTES_MAX > 1_200_000


@runs("properties")
def test_properties_come_through_in_both_directions(place: Place, version: str, name: str, folder: Path) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    text = profile(
        source("one", "conf/{device}/one"),
        source("cloud", "conf/{device}/cloud", codec="cloudevents", path="data.value"),
    )
    cloud = [("specversion", "1.0"), ("id", "c"), ("source", "s"), ("type", "t"), ("traceparent", parent)]
    with (
        device(agent(folder, place, version, name, text)) as one,
        peer(place.port("plain", version), f"p-{name}", version) as p,
    ):
        p.listen(f"edgeward/1/{name}/decision/+")
        packed = msgspec.msgpack.encode({"id": "m", "value": 2.0})
        p.say(f"conf/{name}/one", packed, ContentType=MSGPACK, UserProperty=("traceparent", parent))
        p.say(f"conf/{name}/cloud", {"value": 3.0}, ContentType=JSON, UserProperty=cloud)
        assert drive(one, until=lambda: len(p.decisions()) >= 2), (one.loop.agent.counters, one.said)
        for message in p.heard:
            told = vars(message.properties)
            assert told["ContentType"] == MSGPACK
            (child,) = (value for key, value in told["UserProperty"] if key == "traceparent")
            version_, trace, span, flags = child.split("-")
            assert (version_, trace, flags) == ("00", parent.split("-")[1], "01")
            assert span != parent.split("-")[2]
            assert 0 < told["MessageExpiryInterval"] <= 300


@runs("aliases")
def test_a_topic_is_named_once_and_then_numbered(place: Place, version: str, name: str, folder: Path) -> None:
    with (
        device(agent(folder, place, version, name)) as one,
        peer(place.port("plain", version), f"p-{name}", version) as p,
    ):
        p.listen(f"edgeward/1/{name}/decision/+")
        for n in range(30):
            p.say(f"conf/{name}/one", {"id": f"{n}", "value": 1.0})
        assert drive(one, until=lambda: len(p.decisions()) >= 30)
        assert {m.topic for m in p.heard} == {Topics(name).of("decision", "on-one")}
        assert one.link._terms.aliases > 0
        topic = Topics(name).of("decision", "on-one")
        assert drive(one, until=lambda: one.link._aliases.numbered(topic)[0] == "")
        p.say(f"conf/{name}/one", {"id": "numbered", "value": 1.0})
        assert drive(one, until=lambda: len(p.decisions()) >= 31)
        assert {m.topic for m in p.heard} == {topic}
        assert one.link.line == 1
