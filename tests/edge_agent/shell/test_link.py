"""The line against strangers: whatever they send, each end of it is a named fault, and the loop goes on."""

import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import BrokerError, SettingsMalformed
from edge_agent.shell import faults
from edge_agent.shell.mqtt import Link
from edge_agent.shell.suspect import BURSTS_MAX, STRIKES_MAX, Suspect
from tests.edge_agent.shell.stranger import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    GREETING_5,
    GREETING_311,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    Line,
    Stranger,
    Talk,
    hear,
    packet,
    text,
)


@contextlib.contextmanager
def stranger(talk: Talk) -> Iterator[Stranger]:
    one = Stranger(talk)
    try:
        yield one
    finally:
        one.close()


def row(entry: int, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> tuple[object, ...]:
    return (entry, topic, payload, 1, retain, "application/json", b"", "", 0, "decision")


def greeting(*properties: bytes) -> bytes:
    told = b"".join(properties)
    return packet(CONNACK, b"\x00\x00" + bytes([len(told)]) + told)


PACKETS = st.builds(
    lambda kind, flags, body: packet(kind, body, flags),
    st.integers(0, 15),
    st.integers(0, 15),
    st.binary(max_size=40),
)
SPEECH = st.builds(
    lambda hello, rest: b"".join([hello, *rest]),
    st.sampled_from([b"", GREETING_5, GREETING_311, b"HTTP/1.1 200 OK\r\n\r\n"]),
    st.lists(st.one_of(st.binary(max_size=60), PACKETS), max_size=6),
)


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[Stranger, list[bytes]]]:
    """Says whatever is first in the list, and hangs up."""
    words = [b""]
    with stranger(lambda connection, _n: connection.sendall(words[0])) as one:
        yield one, words


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=SPEECH, protocol=st.sampled_from(["5", "3.1.1"]))
def test_whatever_bytes_a_peer_sends_the_end_is_a_named_fault(
    echo: tuple[Stranger, list[bytes]], said: bytes, protocol: str
) -> None:
    one, words = echo
    words[0] = said
    line = Line(one.port, protocol=protocol)
    assert line.until(lambda: line.link.fault is not None), said
    assert isinstance(line.link.fault, BrokerError)
    assert line.link.fault.code in {"AGT601", "AGT602"}
    assert line.link.fault.hint
    assert line.link.state == "down"
    line.link.close(0.1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from([b"", b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n", b"HTTP/1.1 404 Not Found\r\n"]),
    rest=st.one_of(st.binary(max_size=80), st.just(b"Sec-WebSocket-Accept\r\n\r\n"), st.just(b"\r\n\r\n")),
)
def test_whatever_a_web_server_answers_the_end_is_a_named_fault(
    echo: tuple[Stranger, list[bytes]], head: bytes, rest: bytes
) -> None:
    one, words = echo
    words[0] = head + rest
    line = Line(one.port, "ws")
    assert line.until(lambda: line.link.fault is not None), words[0]
    assert line.says("AGT601", "fix:")


def test_a_web_servers_ping_is_answered_in_a_masked_frame() -> None:
    """RFC 6455, section 5.1: a server must close the connection on a frame that is not masked."""
    answers: list[bytes] = []

    def talk(connection: socket.socket, _before: int) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(4_096)
        key = next(line.split(b": ")[1] for line in asked.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + guid).digest())  # noqa: S324  as RFC 6455 has it
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        connection.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        connection.recv(4_096)
        connection.sendall(b"\x82\x05" + GREETING_5 + b"\x89\x02hi")
        answers.append(connection.recv(4_096))

    with stranger(talk) as one:
        line = Line(one.port, "ws", protocol="5")
        assert line.until(lambda: answers), line.told
        first, second = answers[0][:2]
        assert (first, second) == (0x8A, 0x80 | 2), "PONG, masked, two bytes"
        mask, body = answers[0][2:6], answers[0][6:8]
        assert bytes(byte ^ mask[n] for n, byte in enumerate(body)) == b"hi"


def test_a_peer_that_never_greets_is_named() -> None:
    with stranger(lambda _connection, _n: threading.Event().wait(5) and None) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: line.link.state == "greeting")
        assert line.until(lambda: line.says("AGT601", "does not greet"), hurry=1.0)


def test_a_peer_that_floods_us_with_nothing_does_not_hold_the_loop() -> None:
    def flood(connection: socket.socket, _before: int) -> None:
        connection.sendall(GREETING_5)
        while True:
            connection.sendall(b"\xd0\x00" * 4_096)

    with stranger(flood) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: line.link.state == "up")
        for _ in range(20):
            line.turn()
        assert line.arrived == []
        line.link.close(0.1)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (packet(PUBLISH, text("a") + b"\x00{}") + GREETING_5, "before its greeting"),
        (GREETING_5 + GREETING_5, "greeted us twice"),
        (GREETING_5 + packet(PUBLISH, text("") + b"\x03\x23\x00\x07{}"), "topic alias 7 names nothing"),
        (GREETING_5 + packet(PUBLISH, text("") + b"\x03\x23\x00\x00{}"), "Protocol error"),
    ],
    ids=["message first", "greeting twice", "unknown alias", "alias nought"],
)
def test_what_breaks_the_protocol_is_named(said: bytes, words: str) -> None:
    with stranger(lambda connection, _n: connection.sendall(said)) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: line.says("AGT601", words)), line.told


def test_topics_that_a_broker_numbers_unasked_are_named_again() -> None:
    def talk(connection: socket.socket, _before: int) -> None:
        kind, body = hear(connection)
        assert kind == CONNECT
        # Brokers are told that topics are not to be numbered (one of them numbers them wrongly); some do all the same.
        assert b"\x22\x01\x00" not in body
        connection.sendall(GREETING_5)
        for topic, alias in (("a/long/topic", 1), ("another", 2), ("", 1), ("", 2), ("renamed", 1), ("", 1)):
            connection.sendall(packet(PUBLISH, text(topic) + b"\x03\x23" + alias.to_bytes(2, "big") + b"{}"))
        connection.sendall(packet(PUBLISH, text("plain") + b"\x00{}"))
        hear(connection)

    with stranger(talk) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: len(line.arrived) >= 7)
        named = [one.message.topic for one in line.arrived]
        assert named == ["a/long/topic", "another", "a/long/topic", "another", "renamed", "renamed", "plain"]
        line.link.close(0.1)


@pytest.mark.parametrize("code", sorted({*faults._MEANINGS, *faults.BAD_CREDENTIALS, *faults._ELSEWHERE, 128, 131}))
@pytest.mark.parametrize("when", ["greeting", "later"])
def test_each_reason_of_a_broker_is_said_with_its_fix(code: int, when: str) -> None:
    reason = text("because")
    told = bytes([len(reason) + 1]) + b"\x1f" + reason

    def talk(connection: socket.socket, _before: int) -> None:
        if when == "greeting":
            connection.sendall(packet(CONNACK, bytes([0, code]) + told))
        else:
            connection.sendall(GREETING_5 + packet(DISCONNECT, bytes([code]) + told))

    with stranger(talk) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: line.link.fault is not None)
        fault = line.link.fault
        assert fault is not None
        if code in VALID[when]:
            assert fault.code == "AGT602"
            assert "because" in fault.what
        assert fault.hint


VALID = {
    "greeting": {128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 144, 149, 151, 154, 155, 156, 157, 159},
    "later": {
        *(128, 129, 130, 131, 135, 137, 139, 141, 142, 143, 144, 147, 148, 149, 150, 151, 152, 154, 155, 156, 157),
        *(158, 159, 160, 162),
    },
}


def test_a_broker_that_says_that_it_does_not_speak_5_is_spoken_to_in_3_1_1() -> None:
    versions: list[int] = []

    def talk(connection: socket.socket, _before: int) -> None:
        _, body = hear(connection)
        versions.append(body[6])
        connection.sendall(GREETING_311 if body[6] == 4 else b"\x20\x02\x00\x01")
        if body[6] == 4:
            hear(connection)

    with stranger(talk) as one:
        line = Line(one.port)
        assert line.until(lambda: line.link.state == "up", hurry=0.01), line.told
        assert versions == [5, 4]
        assert sum("going on with 3.1.1" in words for words in line.told) == 1
        fixed = Line(one.port, protocol="5")
        assert fixed.until(lambda: fixed.says("AGT602", "broker.protocol"))


def test_a_broker_that_hangs_up_on_5_without_a_word_is_spoken_to_in_3_1_1_and_asked_again_later() -> None:
    versions: list[int] = []

    def talk(connection: socket.socket, _before: int) -> None:
        _, body = hear(connection)
        versions.append(body[6])
        if body[6] == 4:
            connection.sendall(GREETING_311)

    with stranger(talk) as one:
        line = Line(one.port)
        assert line.until(lambda: 5 in versions[3:], hurry=0.05), (versions, line.told)
        assert versions[:4] == [5, 5, 4, 5]


def test_what_a_broker_does_not_grant_is_said_once_and_not_asked_for() -> None:
    subscribed: list[bytes] = []

    def talk(connection: socket.socket, _before: int) -> None:
        hear(connection)
        limits = [b"\x24\x00", b"\x25\x00", b"\x27\x00\x00\x01\x00", b"\x28\x00", b"\x2a\x00", b"\x11\x00\x00\x00\x3c"]
        connection.sendall(greeting(*limits))
        while (heard := hear(connection))[0]:
            if heard[0] == SUBSCRIBE:
                subscribed.append(heard[1])
                connection.sendall(packet(SUBACK, heard[1][:2] + b"\x00\x00\x87"))

    with stranger(talk) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: line.link.state == "up"), line.told
        line.link.subscribe(
            {"fine": 1, "forbidden": 1, "a/+": 1, "$share/g/x": 1, "not/#/a/filter": 1}, [], lambda: None
        )
        assert line.link.publish(row(1, "t", retain=True))  # type: ignore[arg-type]
        assert line.link.publish(row(2, "t", b"x" * 300))  # type: ignore[arg-type]
        assert line.link.publish(row(3, "t/+"))  # type: ignore[arg-type]
        assert line.until(lambda: line.says("no subscription to forbidden")), line.told
        for words in (
            ("no subscription to a/+", "it has no wildcards"),
            ("no subscription to $share/g/x", "it has no shared subscriptions"),
            ("no subscription to not/#/a/filter", "`#`"),
            ("subscription to fine", "QoS 0, not 1"),
            ("keeps no retained messages",),
            ("300 bytes", "256", "broker's limit"),
            ("wildcards", "t/+"),
            ("keeps our messages for 60 s",),
        ):
            assert line.says(*words), (words, line.told)
        assert sorted(line.link.delivered) == [1, 2, 3], "at QoS 0 what is sent is done with"
        assert [body for body in subscribed if b"share" in body or b"+" in body] == []
        line.link.close(0.1)


def test_a_message_that_the_broker_refuses_is_named_and_done_with() -> None:
    def talk(connection: socket.socket, _before: int) -> None:
        hear(connection)
        connection.sendall(greeting(b"\x22\x00\x0a"))
        while (heard := hear(connection))[0]:
            if heard[0] == PUBLISH:
                mid = heard[1][2 + int.from_bytes(heard[1][:2], "big") :][:2]
                connection.sendall(packet(PUBACK, mid + b"\x87\x00"))

    with stranger(talk) as one:
        line = Line(one.port, protocol="5")
        assert line.until(lambda: line.link.state == "up")
        for entry in range(5):
            assert line.link.publish(row(entry, "forbidden/topic"))  # type: ignore[arg-type]
        assert line.until(lambda: len(line.link.delivered) >= 5)
        assert sum("forbidden/topic" in words for words in line.told) == 1, "once, not once a message"
        assert line.says("AGT602", "access list")
        assert line.link._aliases.numbered("forbidden/topic")[0] == "forbidden/topic", "its number is not relied on"
        line.link.close(0.1)


def test_a_key_with_a_passphrase_is_named_and_nobody_is_asked_for_it(tmp_path: object) -> None:
    from pathlib import Path

    from coordinator.shell import pki
    from tests.conformance import certificates

    folder = Path(str(tmp_path))
    pair = certificates.client(folder, pki.ensure_authority(folder), b"secret")
    with pytest.raises(SettingsMalformed, match="passphrase"):
        Line(1, "mqtts", cert=str(pair.certificate), key=str(pair.key))


def test_certificates_that_are_gone_at_the_next_connection_are_named_and_the_loop_goes_on(tmp_path: object) -> None:
    from pathlib import Path

    secret = Path(str(tmp_path)) / "password"
    secret.write_text("one")
    with stranger(lambda connection, _n: connection.sendall(GREETING_5)) as one:
        line = Line(one.port, protocol="5", user="u", password_file=str(secret))
        secret.unlink()
        assert line.until(lambda: line.says("AGT601", "password_file"))
        secret.write_text("two")
        assert line.until(lambda: line.link.line >= 1, hurry=0.05)


@given(st.lists(st.lists(st.integers(1, 3), max_size=3, unique=True), max_size=30))
def test_only_a_message_that_was_alone_each_time_is_given_up(breaks: list[list[int]]) -> None:
    suspect, alone = Suspect(), list[int]()
    for in_flight in breaks:
        found = suspect.hung_up(in_flight)
        if len(in_flight) == 1:
            alone.append(in_flight[0])
        if found is not None:
            assert alone[-STRIKES_MAX:] == [found] * STRIKES_MAX
            assert not suspect.cautious


def test_a_message_on_which_the_broker_hangs_up_is_found_among_others() -> None:
    suspect, waiting, guilty = Suspect(), [1, 2, 3, 4], 3
    for _ in range(BURSTS_MAX + STRIKES_MAX):
        sent = waiting[:1] if suspect.cautious else list(waiting)
        while suspect.cautious and sent != [guilty]:
            waiting = waiting[1:]
            sent = waiting[:1]
        found = suspect.hung_up(sent)
        if found is not None:
            waiting.remove(found)
    assert waiting == [4]


def test_the_line_keeps_to_its_interface() -> None:
    public = {name for name in vars(Link) if not name.startswith("_")}
    assert {"tend", "drain", "acknowledge", "publish", "flush", "subscribe", "close", "room", "socket"} <= public
