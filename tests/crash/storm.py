"""A stream of events into a real agent that is killed again and again; afterwards, the books must balance.

What is claimed: an event that the broker took is decided exactly once, whatever is killed when. A decision's *message*
may come twice with the same id (QoS 1, sent again because the acknowledgement was lost with the process); that is
counted as `redelivered`, and is what the id is for.
"""

import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.decide import decision
from firmware_configs.messages import DecisionMade, Topics
from tests.benchmarks import load

RATE_PER_S = 1_000
SETTLE_S = 40.0
PROFILE = load.PROFILE.replace('event_id = "id"', 'event_id = "id"\ncritical = true')


class Books(Struct, frozen=True, kw_only=True):
    """What was found."""

    kills: int
    events: int
    undecided: int
    """Events that the broker took and the agent never decided."""
    unheard: int
    """Decisions that were made and never reached the subscriber."""
    repeated: int
    """Events with more than one decision."""
    redelivered: int
    """Decision messages that came again with the same id."""


class Ears:
    """Hears every decision, across the agent's deaths."""

    def __init__(self, port: int) -> None:
        self.heard: Counter[str] = Counter()
        self.agent_listens = False
        """The agent's status came: it is sent after the agent's subscriptions, so the broker has these."""
        self._status = Topics(load.DEVICE).of("status")
        listens = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "ears", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: listens.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert listens.wait(load.READY_S), "the broker did not answer to a subscription"

    def _on_connect(self, client: Client, *_: object) -> None:
        client.subscribe([(Topics(load.DEVICE).of("decision", "presence"), 1), (self._status, 1)])

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if message.topic == self._status:
            self.agent_listens = True
            return
        self.heard[msgspec.msgpack.decode(message.payload, type=DecisionMade).id] += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def storm(folder: Path, kills: int, seed: int, broker: str = "iotcore", rate: int = RATE_PER_S) -> Books:
    """Run one storm.

    Args:
        kills: how often the agent is killed with SIGKILL.
        seed: chooses the moments.
        broker: `iotcore` or `mosquitto`.
        rate: events a second.
    """
    dice = random.Random(seed)  # noqa: S311
    with load.broker(broker, folder) as port:
        settings = load.write_agent(folder / "agent", port, PROFILE)
        ears, mouth = Ears(port), load.Driver(port, "mouth")
        running = _start(settings, folder)
        database = folder / "agent" / "state" / "edgeward.db"
        load.wait_for(lambda: ears.agent_listens, "the agent")
        sent = 0
        for _ in range(kills):
            until = time.monotonic() + dice.uniform(0.15, 1.2)
            due = time.monotonic()
            while time.monotonic() < until:
                mouth.send(f"bench/{load.DEVICE}/in")
                sent += 1
                due += 1 / rate
                while time.monotonic() < due:
                    mouth.tend(1)
            running.send_signal(signal.SIGKILL)
            running.wait()
            for _ in range(dice.randrange(60)):  # life goes on without us
                mouth.send(f"bench/{load.DEVICE}/in")
                sent += 1
            mouth.tend(5)
            running = _start(settings, folder)
        _settle(mouth, database, sent, ears)
        running.terminate()
        running.wait(10)
        ears.close()
        mouth.close()
        return _count(database, ears.heard, kills, sent)


def lost(books: Books) -> int:
    """What should be there and is not."""
    return books.undecided + books.unheard


def _start(settings: Path, folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen(load.agent_command(settings), stdout=log, stderr=log)


def _settle(mouth: load.Driver, database: Path, sent: int, ears: Ears) -> None:
    """Until every event is decided and heard, or nothing moves any more."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        mouth.tend(20)
        if _decided(database) >= sent and len(ears.heard) >= sent:
            return


def _decided(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as reader:
        return int(reader.execute("SELECT count(*) FROM shelf WHERE shelf = 'decision'").fetchone()[0])


def _count(database: Path, heard: Counter[str], kills: int, sent: int) -> Books:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as reader:
        rows = reader.execute("SELECT id, value FROM shelf WHERE shelf = 'decision'").fetchall()
    events = Counter(decision.unpack(value).event_id for _, value in rows)
    unheard = {identity for identity, _ in rows} - set(heard)
    return Books(
        kills=kills,
        events=sent,
        undecided=sent - len(events),
        unheard=len(unheard),
        repeated=sum(count - 1 for count in events.values()) + len(set(heard) - {identity for identity, _ in rows}),
        redelivered=sum(count - 1 for count in heard.values()),
    )
