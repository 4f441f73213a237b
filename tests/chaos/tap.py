"""What left a device, read off the wire: payloads for the auditor, and every other byte with where it went."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.packets import SYN, NotMqtt, Speech, Stream, segment


@dataclass
class Connection:
    """One TCP connection of a device, from it outward."""

    stream: Stream
    speech: Speech = field(default_factory=Speech)


class Tap:
    """Listens where a device's packets come out, before the network can lose any.

    Attributes:
        messages: (SHA-256, bytes, topic) of each payload that a broker was handed → how often.
        sent: where to → bytes. `broker`: around payloads; `registry`, `superlink`: TLS to these; `cut`: of messages
            that were never whole, because the connection ended; `elsewhere`: to anything else.
    """

    def __init__(self, hub: str, broker: int, registry: int, superlink: int) -> None:
        """Args:
        hub: the address of all three.
        broker, registry, superlink: their ports.
        """
        self.messages: Counter[tuple[str, int, str]] = Counter()
        self.sent: Counter[str] = Counter()
        self._broker = (hub, broker)
        self._sealed = {(hub, registry): "registry", (hub, superlink): "superlink"}
        self._open: dict[tuple[str, int, int], Connection] = {}

    def hear(self, packet: bytes) -> None:
        """Take in a packet that the device has sent."""
        one = segment(packet)
        if one is None:
            self.sent["elsewhere"] += len(packet) if packet[0] >> 4 == 4 else 0  # the kernel's own words for IPv6
            return
        where = one.flow[:2]
        if where in self._sealed:
            self.sent[self._sealed[where]] += len(one.payload)
        elif where != self._broker:
            self.sent["elsewhere"] += len(one.payload)
        elif one.flags & SYN:
            self._close(one.flow)
            self._open[one.flow] = Connection(Stream(one.number + 1))
        elif (held := self._open.get(one.flow)) is not None:
            self._read(held, one.number, one.payload)
        else:
            self.sent["elsewhere"] += len(one.payload)

    def _read(self, held: Connection, number: int, payload: bytes) -> None:
        held.stream.add(number, payload)
        try:
            for said in held.speech.take(held.stream.whole):
                digest = hashlib.sha256(said.payload).hexdigest()
                self.messages[digest, len(said.payload), said.topic] += 1
        except NotMqtt:
            self.sent["elsewhere"] += len(held.stream.whole)
            held.stream.whole.clear()

    def _close(self, flow: tuple[str, int, int]) -> None:
        held = self._open.pop(flow, None)
        if held is not None:
            self.sent["broker"] += held.speech.around
            self.sent["cut"] += len(held.stream.whole) + sum(map(len, held.stream.early.values()))

    def close(self) -> None:
        """Nothing more comes."""
        for flow in list(self._open):
            self._close(flow)

    def record(self, path: Path) -> None:
        """Write what was handed to the broker as `edge-audit ledger reconcile --record` reads it."""
        lines = [
            json.dumps({"sha256": digest, "bytes": size, "destination": "mqtt", "topic": topic})
            for (digest, size, topic), times in self.messages.items()
            for _ in range(times)
        ]
        path.write_text("".join(f"{line}\n" for line in lines))
