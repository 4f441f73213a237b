"""The short way past paho hears what paho hears and writes what paho writes, packet by packet and however it is cut."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from edge_agent.shell.packets import Publish
from edge_agent.shell.properties import of_publish
from edge_agent.shell.quick import READ_BYTES, PahoClient, QuickClient, heard, quick

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
POSTED = 3
"""Messages that are on their way when the broker speaks; their packet identifiers are 1, 2 and 3."""

number = st.integers(0, 65_535).map(lambda n: n.to_bytes(2, "big"))
word = st.one_of(st.binary(max_size=12), st.text(max_size=8).map(str.encode))


def sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def varied(content: bytes) -> bytes:
    """With its length before it, as MQTT writes lengths that vary (MQTT 5, section 1.5.5)."""
    length, head = len(content), bytearray()
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((*head, length)) + content


properties = st.lists(
    st.one_of(
        st.sampled_from([b"\x01\x00", b"\x01\x01", b"\x01\x02", b"\x02\x00\x00\x00\x09", b"\x0b\x05", b"\x7f"]),
        number.map(lambda n: b"\x23" + n),
        st.tuples(st.sampled_from([b"\x03", b"\x08", b"\x09"]), word).map(lambda it: it[0] + sized(it[1])),
        st.tuples(word, word).map(lambda it: b"\x26" + sized(it[0]) + sized(it[1])),
    ),
    max_size=4,
).map(lambda parts: varied(b"".join(parts)))


@st.composite
def publishes(draw: st.DrawFn, *, modern: bool) -> bytes:
    flags = draw(st.integers(0, 15).filter(lambda flags: flags & 0x06 != 0x04))
    body = sized(draw(word)) + (draw(number) if flags & 0x06 else b"")
    body += (draw(properties) if modern else b"") + draw(st.binary(max_size=40))
    cut = draw(st.sampled_from([len(body)] * 9 + [len(body) // 2]))
    return bytes((0x30 | flags,)) + varied(body[:cut])


def pubacks(*, modern: bool) -> st.SearchStrategy[bytes]:
    mid = st.integers(0, POSTED + 2).map(lambda n: n.to_bytes(2, "big"))
    told = st.sampled_from([b"", b"\x10", b"\x87", b"\x87\x00", b"\x97\x09\x26\x00\x01a\x00\x03bcd"])
    return st.tuples(mid, told if modern else st.just(b"")).map(lambda it: b"\x40" + varied(it[0] + it[1]))


def streams(*, modern: bool) -> st.SearchStrategy[bytes]:
    rest = st.sampled_from([b"\xd0\x00", b"\xf0\x00", b"\x30\xff\xff\xff\xff\x7f", b"\x40\x00", b"\x40\x01\x00"])
    one = st.one_of(publishes(modern=modern), publishes(modern=modern), pubacks(modern=modern), rest)
    return st.lists(one, max_size=8).map(b"".join)


@contextmanager
def connected(kind: type[PahoClient], version: MQTTProtocolVersion) -> Iterator[tuple[PahoClient, socket.socket]]:
    """A client of that kind and the broker's end of its line."""
    client = kind(
        CallbackAPIVersion.VERSION2,
        "c",
        clean_session=None if version == V5 else True,
        protocol=version,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.max_inflight_messages = 0
    client.on_socket_register_write = lambda *_: None
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    client._sock = ours
    try:
        yield client, theirs
    finally:
        ours.close()
        theirs.close()


def made_of(kind: type[PahoClient], version: MQTTProtocolVersion, stream: bytes, cuts: list[int]) -> list[Any]:
    """What a client makes of a stream that comes in pieces, until it gives up."""
    found: list[Any] = []
    with connected(kind, version) as (client, broker):
        for n in range(POSTED):
            client.post("t", b"x", 1, b"\x00" if version == V5 else b"", retain=False)
            assert n < POSTED
        client.on_message = lambda _c, _d, came: found.append(told(heard(came)))
        client.on_publish = lambda _c, _d, mid, reason, _p: found.append((mid, reason.value))
        places = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
        for start, stop in zip([0, *places], places, strict=False):
            broker.send(stream[start:stop])
            for _ in range(len(stream) + 1):
                try:
                    rc = client.loop_read(1)
                except Exception as error:  # noqa: BLE001 - which one is the point
                    return [*found, type(error)]
                if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return [*found, rc]
    return found


def told(message: Publish) -> tuple[Any, ...]:
    return tuple(getattr(message, name) for name in Publish.__struct_fields__)


@given(streams(modern=True), st.lists(st.integers(0, 200), max_size=4))
def test_any_stream_of_mqtt_5_is_heard_as_paho_hears_it(stream: bytes, cuts: list[int]) -> None:
    assert made_of(QuickClient, V5, stream, cuts) == made_of(PahoClient, V5, stream, cuts)


@given(streams(modern=False), st.lists(st.integers(0, 200), max_size=4))
def test_any_stream_of_mqtt_3_is_heard_as_paho_hears_it(stream: bytes, cuts: list[int]) -> None:
    assert made_of(QuickClient, V311, stream, cuts) == made_of(PahoClient, V311, stream, cuts)


plain = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="+#"), min_size=1, max_size=8)


@given(
    topic=plain,
    payload=st.binary(max_size=200),
    qos=st.integers(0, 1),
    flags=st.tuples(st.booleans(), st.booleans()),
    alias=st.integers(0, 65_535),
    texts=st.tuples(st.one_of(st.just(""), plain), st.one_of(st.just(""), plain)),
    correlation=st.binary(max_size=12),
    user=st.lists(st.tuples(plain, plain), max_size=3),
)
def test_a_whole_message_is_heard_as_it_was_written_with_all_that_it_carries(
    topic: str,
    payload: bytes,
    qos: int,
    flags: tuple[bool, bool],
    alias: int,
    texts: tuple[str, str],
    correlation: bytes,
    user: list[tuple[str, str]],
) -> None:
    """Streams of anything seldom hold a whole message with properties; here each one is, and says what it must."""
    dup, retain = flags[0] and qos == 1, flags[1]
    kept = b"".join(
        [
            b"\x23" + alias.to_bytes(2, "big") if alias else b"",
            b"\x03" + sized(texts[0].encode()) if texts[0] else b"",
            b"\x08" + sized(texts[1].encode()) if texts[1] else b"",
            b"\x09" + sized(correlation) if correlation else b"",
            *(b"\x26" + sized(name.encode()) + sized(value.encode()) for name, value in user),
        ]
    )
    body = sized(topic.encode()) + (b"\x00\x07" if qos else b"") + varied(kept) + payload
    packet = bytes((0x30 | dup << 3 | qos << 1 | retain,)) + varied(body)
    wanted = told(
        Publish(
            7 if qos else 0,
            topic.encode(),
            payload,
            qos,
            dup,
            retain,
            alias,
            texts[0],
            texts[1],
            correlation,
            tuple(user),
        )
    )
    for kind in (QuickClient, PahoClient):
        assert made_of(kind, V5, packet, [])[:1] == [wanted]


def written(kind: type[PahoClient], version: MQTTProtocolVersion, said: list[Any]) -> bytes:
    """What a client writes when it is asked for these."""
    with connected(kind, version) as (client, broker):
        for one in said:
            if isinstance(one, int):
                client.confirm(one)
            elif one is None:
                client.subscribe("a/b")
            else:
                topic, payload, qos, retain, content_type, alias = one
                carried = of_publish(content_type, b"", "", 60, alias) if version == V5 else b""
                client.post(topic, payload, qos, carried, retain=retain)
        for _ in said:
            client.loop_write()
        assert not client.want_write()
        found = b""
        while True:
            try:
                found += broker.recv(READ_BYTES)
            except BlockingIOError:
                return found


said = st.lists(
    st.one_of(
        st.integers(1, 65_535),
        st.none(),
        st.tuples(
            st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=5),
            st.one_of(st.binary(max_size=300), st.sampled_from([100, 127, 20_000]).map(bytes)),
            st.integers(0, 1),
            st.booleans(),
            st.sampled_from(["", "application/msgpack"]),
            st.integers(0, 3),
        ),
    ),
    max_size=6,
)


@given(said, st.sampled_from([V5, V311]))
def test_what_is_said_is_written_as_paho_writes_it_and_in_order(asked: list[Any], version: Any) -> None:
    assert written(QuickClient, version, asked) == written(PahoClient, version, asked)


def test_what_the_socket_does_not_take_at_once_leaves_later_and_whole() -> None:
    payload = bytes(range(256)) * 40_000
    with connected(QuickClient, V5) as (client, broker):
        client.post("t", payload, 1, b"\x00", retain=False)
        client.confirm(7)
        found = b""
        while client.want_write():
            client.loop_write()
            found += broker.recv(READ_BYTES)
        client.confirm(8)
        client.loop_write()
        broker.setblocking(True)
        while not found.endswith(b"\x40\x02\x00\x08"):
            found += broker.recv(READ_BYTES)
    assert found[5:].removesuffix(b"\x40\x02\x00\x07\x40\x02\x00\x08") == b"\x00\x01t\x00\x01\x00" + payload


def test_messages_beyond_what_was_asked_for_wait_for_the_next_reading() -> None:
    found: list[Any] = []
    with connected(QuickClient, V5) as (client, broker):
        client.on_message = lambda _c, _d, came: found.append(came)
        broker.send(b"\x30\x05\x00\x01t\x00x" * 5)
        client.loop_read(2)
        assert (len(found), client.held) == (2, True)
        client.loop_read(9)
        assert (len(found), client.held, client.dry) == (5, False, True)


def test_this_paho_is_one_that_the_short_way_was_written_for() -> None:
    assert quick() is QuickClient


def test_a_message_of_pahos_own_reading_says_the_same() -> None:
    message = MQTTMessage(mid=3, topic=b"a")
    message.payload, message.qos = b"x", 1
    assert told(heard(message)) == (3, b"a", b"x", 1, False, False, 0, "", "", b"", ())
