"""The line itself: sessions, restarts, encryption, identity, refusals."""

from pathlib import Path

import msgspec
from paho.mqtt.client import MQTTMessage

from edge_agent.shell.writes import Writes
from firmware_configs.messages import Status, Topics
from tests.conformance.brokers import PACKET_BYTES_MAX, PASSWORD, USER, Place
from tests.conformance.device import Device, device, drive, profile, url, write
from tests.conformance.peer import peer
from tests.conformance.table import runs

DAY_MS = 86_400_000


@runs("session")
def test_events_that_came_while_the_agent_was_away_are_decided(
    place: Place, version: str, name: str, folder: Path
) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file):
        pass
    with peer(place.port("plain", version), f"p-{name}", version) as p:
        for n in range(50):
            p.say(f"conf/{name}/{('one', 'two')[n % 2]}", {"id": f"{n}", "value": 1.0}, 1 + n % 2)
        with device(file) as one:
            assert drive(one, until=lambda: one.count("decisions") >= 50), one.loop.agent.counters
            assert one.count("decisions") == 50
            assert not one.complaint("new session")


@runs("restart")
def test_after_the_brokers_restart_the_agent_goes_on(place: Place, version: str, name: str, folder: Path) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one:
        place.stop()
        assert drive(one, until=lambda: one.complaint("AGT601"))
        place.start()
        assert drive(one, until=lambda: one.up and one.link.line > 1), one.said
        with peer(place.port("plain", version), f"p-{name}", version) as p:
            p.say(f"conf/{name}/one", {"id": "after", "value": 1.0})
            assert drive(one, until=lambda: one.count("decisions") >= 1), one.said


@runs("tls")
def test_tls_with_a_client_certificate(place: Place, version: str, name: str, folder: Path) -> None:
    certified = {"ca": place.authority.certificate, "cert": place.client.certificate, "key": place.client.key}
    where = url(place, "tls", version)
    file = write(folder, where, name, profile(), protocol=version, **certified)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        for n in range(20):
            p.say(f"conf/{name}/one", {"id": f"{n}", "value": 1.0})
        assert drive(one, until=lambda: one.count("decisions") >= 20), one.said


@runs("certificates")
def test_without_a_client_certificate_the_fault_says_what_is_wanted(
    place: Place, version: str, name: str, folder: Path
) -> None:
    where = url(place, "tls", version)
    bare = Device(write(folder, where, name, profile(), protocol=version, ca=place.authority.certificate))
    assert drive(bare, until=lambda: bare.complaint("AGT601", "broker.cert")), bare.said
    bare.close()


@runs("tls")
def test_a_broker_whose_certificate_is_not_trusted_is_named(
    place: Place, version: str, name: str, folder: Path
) -> None:
    where = url(place, "tls", version)
    stranger = Device(write(folder, where, name, profile(), protocol=version))
    assert drive(stranger, until=lambda: stranger.complaint("AGT601", "not trusted", "broker.ca")), stranger.said
    stranger.close()


@runs("websocket")
def test_websockets(place: Place, version: str, name: str, folder: Path) -> None:
    _over_web(place, "ws", version, write(folder, url(place, "ws", version), name, profile(), protocol=version))


@runs("secure-websocket")
def test_websockets_over_tls(place: Place, version: str, name: str, folder: Path) -> None:
    where = url(place, "wss", version) + "/mqtt"
    ca = place.authority.certificate
    _over_web(place, "wss", version, write(folder, where, name, profile(), protocol=version, ca=ca))


def _over_web(place: Place, listener: str, version: str, file: Path) -> None:
    with device(file) as one, peer(place.port("plain", version), f"p-{one.name}", version) as p:
        p.listen(f"edgeward/1/{one.name}/decision/+")
        for n in range(20):
            p.say(f"conf/{one.name}/one", {"id": f"{n}", "value": 1.0})
        p.say(f"conf/{one.name}/one", {"id": "large", "value": 1.0, "pad": "x" * 200_000})
        assert drive(one, until=lambda: len(p.decisions()) >= 21), one.said


@runs("will")
def test_the_last_will_tells_that_the_agent_is_gone(place: Place, version: str, name: str, folder: Path) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)

    def says_online(p_heard: list[MQTTMessage]) -> list[bool]:
        return [msgspec.msgpack.decode(m.payload, type=Status).online for m in p_heard]

    with peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(Topics(name).of("status"))
        for leave in (Device.close, Device.vanish):
            one = Device(file)
            seen = len(p.heard)
            assert drive(one, until=lambda: True in says_online(p.heard[seen:]) and one.up), one.said  # noqa: B023
            leave(one)
            assert drive(until=lambda: says_online(list(p.heard))[-1:] == [False]), leave


@runs("password")
def test_a_wrong_password_is_named_and_the_right_one_is_used_as_soon_as_it_is_there(
    place: Place, version: str, folder: Path
) -> None:
    secret = folder.parent / "password"
    secret.write_text("wrong\n")
    where = url(place, "locked", version)
    one = Device(write(folder, where, USER, profile(), protocol=version, user=USER, password_file=secret))
    assert drive(one, until=lambda: one.complaint("broker.password_file")), one.said
    secret.write_text(f"{PASSWORD}\n")
    assert drive(one, until=lambda: one.up), one.said
    one.close()


@runs("access")
def test_what_the_access_list_forbids_is_named_and_the_rest_goes_on(place: Place, version: str, folder: Path) -> None:
    secret = folder.parent / "password"
    secret.write_text(PASSWORD)
    where = url(place, "locked", version)
    file = write(folder, where, USER, profile(), protocol=version, user=USER, password_file=secret)
    with device(file) as one, peer(place.port("locked", version), "p", version, user=USER, password=PASSWORD) as p:
        assert drive(one, until=lambda: version == "3.1.1" or one.complaint("AGT602", "status", "access list")), (
            one.said
        )
        p.say(Topics(USER).of("request", "ask"), {"reply_to": Topics(USER).of("answer")})
        assert drive(one, until=lambda: one.count("decisions") >= 1), one.said
        assert drive(one, until=lambda: not one.link._entries), "what was refused must not wait for ever"
        assert one.link.line == 1


@runs("taken-over", slow=("mosquitto-3.1.1", "iotcore-3.1.1"))
def test_a_second_agent_with_the_same_id_is_named(place: Place, version: str, name: str, folder: Path) -> None:
    where = url(place, "plain", version)
    first = write(folder / "a", where, name, profile(), protocol=version)
    second = write(folder / "b", where, name, profile(), protocol=version)
    with device(first) as a, device(second) as b:
        assert drive(a, b, until=lambda: a.complaint("`device`") or b.complaint("`device`"), seconds=20), (
            a.said,
            b.said,
        )


@runs("limit", slow=("mosquitto-3.1.1", "iotcore-3.1.1"))
def test_a_message_larger_than_the_broker_takes_is_given_up_by_name(
    place: Place, version: str, name: str, folder: Path
) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(f"edgeward/1/{name}/decision/+")
        row = (1_000_000, f"big/{name}", b"x" * (PACKET_BYTES_MAX + 1), 1, False, "", b"", "", 0, "decision")
        one.loop.store.commit(Writes(outbox={row[0]: row}), durable=False)
        one.loop._outgoing.rescan(paced=False)
        assert drive(one, until=lambda: one.complaint("AGT602", f"big/{name}"), seconds=20), one.said
        p.say(f"conf/{name}/one", {"id": "after", "value": 1.0})
        assert drive(one, until=lambda: len(p.decisions()) >= 1), one.said


@runs("expiry")
def test_a_decision_that_has_expired_is_not_sent(place: Place, version: str, name: str, folder: Path) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(f"late/{name}/+")
        now = one.loop._timeline.now_ms()
        for number, (topic, expires) in enumerate((("past", now - 60_000), ("future", now + DAY_MS))):
            row = (10_000 + number, f"late/{name}/{topic}", b"{}", 1, False, "", b"", "", expires, "decision")
            assert one.link.publish(row)
        assert drive(one, until=lambda: p.heard), one.said
        assert [message.topic for message in p.heard] == [f"late/{name}/future"]
        if version == "5":
            assert vars(p.heard[0].properties)["MessageExpiryInterval"] in range(
                DAY_MS // 1_000 - 5, DAY_MS // 1_000 + 1
            )
