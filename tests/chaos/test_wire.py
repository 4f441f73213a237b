"""What the tap reads is what a device sent, however its packets come; what roads do is what they say."""

import socket
import struct
import threading
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from firmware_configs.ledger_record import read_record
from tests.chaos.packets import SYN, NotMqtt, Speech, Stream, segment
from tests.chaos.roads import Crossing, Lane, Road
from tests.chaos.tap import Tap
from tests.redteam.wire import Heard

HUB, BROKER, REGISTRY, SUPERLINK, PORT = "10.77.0.1", 1883, 8443, 8444, 40_000


def packet(payload: bytes, number: int, *, flags: int = 0, port: int = BROKER, source_port: int = PORT) -> bytes:
    """An IPv4 packet with a TCP segment from a device to the hub; checksums are the kernels' business."""
    tcp = struct.pack("!HHIIBBHHH", source_port, port, number % 2**32, 0, 5 << 4, flags, 1_000, 0, 0)
    whole = 20 + len(tcp) + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, whole, 0, 0, 64, 6, 0, bytes([10, 77, 1, 1]), bytes([10, 77, 0, 1]))
    return head + tcp + payload


@given(
    st.binary(max_size=400),
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_a_stream_is_whole_however_its_segments_come(
    sent: bytes, first: int, pieces: list[tuple[int, int]], dice: Random
) -> None:
    """Each byte at least once, and some again, in any order, across the end of the sequence numbers."""
    parts = [(at, sent[at : at + 40]) for at in range(0, len(sent), 40)]
    parts += [(at, sent[at : at + size]) for at, size in pieces if at < len(sent)]
    dice.shuffle(parts)
    stream = Stream(first)
    for at, payload in parts:
        stream.add((first + at) % 2**32, payload)
    assert bytes(stream.whole) == sent
    assert stream.early == {}


@given(st.binary(max_size=300))
def test_any_bytes_are_packets_or_are_refused(data: bytes) -> None:
    speech, whole = Speech(), bytearray(data)
    try:
        for said in speech.take(whole):
            assert len(said.payload) <= len(data)
    except NotMqtt:
        pass


@given(st.binary(max_size=120))
def test_any_packet_can_be_looked_at(data: bytes) -> None:
    tap = Tap(HUB, BROKER, REGISTRY, SUPERLINK)
    if data:
        tap.hear(data)


def said_by_paho(version: MQTTProtocolVersion, payloads: list[bytes]) -> bytes:
    """What a real client sends: connecting with a last will, publishing at QoS 0 and 1 in turn, saying goodbye."""
    modern, heard = version == MQTTProtocolVersion.MQTTv5, bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            line, _ = server.accept()
            with line:
                heard.extend(line.recv(65_536))
                line.sendall(b"\x20\x03\x00\x00\x00" if modern else b"\x20\x02\x00\x00")
                while more := line.recv(65_536):
                    heard.extend(more)

        listening = threading.Thread(target=listen)
        listening.start()
        client = Client(CallbackAPIVersion.VERSION2, "house", protocol=version)
        will, told = Properties(PacketTypes.WILLMESSAGE), Properties(PacketTypes.PUBLISH)
        will.ContentType, told.UserProperty = "application/msgpack", ("traceparent", "00-1")
        client.will_set("edgeward/1/house/status", b"gone", qos=1, retain=True, properties=will if modern else None)
        client.connect("127.0.0.1", server.getsockname()[1])
        while not client.is_connected():
            client.loop(0.1)
        for number, payload in enumerate(payloads):
            client.publish("edgeward/1/house/decision/x", payload, number % 2, properties=told if modern else None)
        client.disconnect()
        while client.want_write():
            client.loop_write()
        listening.join(10)
    return bytes(heard)


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
def test_every_payload_of_a_real_client_is_found_and_every_other_byte_is_counted(
    version: MQTTProtocolVersion, tmp_path: Path
) -> None:
    payloads = [b"", b"one", bytes(300), b"x" * 20_000]
    whole, tap = said_by_paho(version, payloads), Tap(HUB, BROKER, REGISTRY, SUPERLINK)
    tap.hear(packet(b"", 7, flags=SYN))
    parts = [(at, whole[at : at + 1_000]) for at in range(0, len(whole), 1_000)]
    for at, part in [*parts[1::2], *parts, *parts[:2]]:
        tap.hear(packet(part, 8 + at))
    tap.close()
    tap.record(tmp_path / "record.jsonl")
    record = read_record(tmp_path / "record.jsonl")
    assert sorted(one.bytes for one in record) == sorted([len(b"gone"), *map(len, payloads)])
    assert {one.topic for one in record} == {"edgeward/1/house/status", "edgeward/1/house/decision/x"}
    assert tap.sent["broker"] + sum(one.bytes for one in record) == len(whole)
    assert tap.sent["elsewhere"] == tap.sent["cut"] == 0


def test_what_goes_elsewhere_or_was_never_whole_is_told_apart() -> None:
    tap = Tap(HUB, BROKER, REGISTRY, SUPERLINK)
    tap.hear(packet(b"hello", 1, port=REGISTRY))
    tap.hear(packet(b"masked", 1, port=SUPERLINK))
    tap.hear(packet(b"to whom?", 1, port=25))
    tap.hear(packet(b"", 10, flags=SYN))
    tap.hear(packet(b"\x30\x0a\x00\x01tx", 11))
    tap.hear(packet(b"", 99, flags=SYN))
    tap.close()
    assert tap.sent == {"registry": 5, "superlink": 6, "elsewhere": 8, "cut": 6, "broker": 0}


def test_a_learners_reply_counts_once_and_only_when_all_of_it_came() -> None:
    heard = Heard(objects={"a": b"one", "b": b"two"})
    heard.replies = [(1, ("a", "b")), (1, ("a", "cut")), (1, ("a", "b")), (2, ("b",))]
    assert heard.whole(1) == [b"onetwo"]
    assert heard.whole(2) == [b"two"]
    assert heard.whole(3) == []


def test_what_was_read_is_what_was_written() -> None:
    one = segment(packet(b"abc", 5, source_port=9))
    assert one is not None
    assert (one.source, one.flow, one.number, one.payload) == ("10.77.1.1", (HUB, BROKER, 9), 5, b"abc")


def test_a_narrow_link_delays_in_order_and_drops_what_its_buffer_has_no_room_for() -> None:
    road, lane, dice = Road(delay_s=0.1, jitter_s=0.05, bytes_s=1_000.0), Lane(), Random(1)  # noqa: S311
    arrivals = [lane.due(road, 100, 0.0, dice) for _ in range(40)]
    through = [one for one in arrivals if one is not None]
    assert through == sorted(through)
    assert 10 <= len(through) <= 12, "a second's worth waits"
    assert through[0] >= 0.2, "0.1 s to send it, 0.1 s under way"


def test_a_cut_line_loses_what_is_under_way_and_carries_again_when_it_is_mended() -> None:
    crossing = Crossing(1, seed=1)
    crossing.roads[0] = Road(delay_s=1.0)
    crossing.enter(0, packet(b"", 1, flags=SYN), 0.0, out=True)
    crossing.roads[0] = Road(is_cut=True)
    assert list(crossing.arrived(2.0)) == []
    crossing.roads[0] = Road()
    crossing.enter(0, packet(b"x", 2), 3.0, out=True)
    assert [(number, out) for number, out, _ in crossing.arrived(3.0)] == [(0, True)]
    assert crossing.dropped == 1


def test_a_gateway_that_forgot_a_connection_drops_it_both_ways_and_lets_a_new_one_through() -> None:
    crossing = Crossing(1, seed=1)
    crossing.roads[0] = Road(nat_s=4.0)

    def passes(now_s: float, flags: int = 0) -> bool:
        crossing.enter(0, packet(b"x", 1, flags=flags), now_s, out=True)
        return bool(list(crossing.arrived(now_s)))

    assert passes(0.0, SYN)
    assert passes(3.0), "it is spoken on often enough"
    assert not passes(8.0), "silent for five seconds"
    assert passes(9.0, SYN)
    crossing.gateways[0].forget()
    assert not passes(9.1)
