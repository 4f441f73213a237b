"""One device in a faulty world. One PRNG drives clock, broker, disk, power and people; the agent and its loop are real.

Safety is checked after every step: what was acknowledged is not lost, no decision has two forms, nothing leaves that
the ledger has not entered, nothing is kept of who withdrew consent, propensities are probabilities. Then the world
heals, and everything that was ever said must have been decided once.
"""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from edge_agent.decide.decision import decision_id
from edge_agent.egress import ledger
from edge_agent.happenings import Message
from edge_agent.learn import cohort, earned, totals
from edge_agent.settings import LogSettings, Settings
from edge_agent.shell import database
from edge_agent.shell.run import Loop, Outside
from edge_agent.shell.writes import OutboxRow
from firmware_configs.loader import load
from firmware_configs.messages import JSON, MSGPACK, DecisionMade, Topics
from models.experiments import sums
from tests.sim.disk import SimStore, ledger_rows
from tests.sim.wire import Broker, Cut, Fuse, SimLink

PROFILE = load(Path(__file__).parent / "profile.toml")
DEVICE = "sim-1"
START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
YEARS_MS = 14 * 365 * 24 * HOUR_MS
"""A leap of the clock, as of a battery that fails."""
STEADFAST = ("ann", "bea")
"""They agree at the start and never take it back."""
FICKLE = ("cat", "dan")
NUDGE, CAP = f"sim/{DEVICE}/nudge", 3
PLACEMENTS = {"touch": "pick", "room": "lamp"}
HEALING_TURNS = 3_000
UNKNOWN, GARBAGE = f"sim/{DEVICE}/else", b"\xff{"


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Books:
    """What happened, for the summary."""

    steps: int = 0
    events: int = 0
    decisions: int = 0
    kills: int = 0
    plugs: int = 0
    jumps: int = 0
    partitions: int = 0
    full_disks: int = 0
    redelivered: int = 0
    nudges: int = 0
    observed: int = 0
    measured: int = 0
    boundaries: dict[str, int] = field(default_factory=dict)


class World:
    """A seed's life."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.prng = Random(seed)  # noqa: S311 - it plays the world, it keeps no secret
        self.books = Books()
        self.harsh = self.prng.random() < 0.5
        """Plugs are pulled and disks fill up: then only the critical source is promised to lose nothing."""
        self._folder, self._lives = folder, 0
        self._wall_ms, self._mono_s = START_MS, 0.0
        self.broker = Broker(self.prng)
        self.fuse = Fuse()
        self._said: dict[int, tuple[str, str]] = {}
        """Number at the broker → (source, event id)."""
        self._events: dict[str, list[str]] = {"touch": [], "room": []}
        self._payloads: list[Message] = []
        self._consent: dict[str, bool] = {}
        """Subject → the newest word that was acknowledged."""
        self._consent_said: dict[int, tuple[str, bool, int]] = {}
        self._newest_word: dict[str, int] = {}
        self._first: dict[str, bytes] = {}
        """Decision id → its payload when it was first received."""
        self._fickle: set[str] = set()
        """Ids that decisions on events of the fickle have, if they are made."""
        self._seen = 0
        self._over: dict[str, int] = {}
        """Message that was taken back → entry of its retraction."""
        self._nudges: dict[str, tuple[str, int]] = {}
        """Message → whom it reached, and when it was handed over."""
        self._order: dict[str, int] = {}
        self.loop = self._start()
        for subject in STEADFAST:
            self._say_consent(subject, granted=True)
        while any(subject not in self._consent for subject in STEADFAST):
            self.turn()

    # ---- the machine ---------------------------------------------------------------------------------------

    def _start(self) -> Loop:
        settings = Settings(device=DEVICE, state_dir=str(self._state), log=LogSettings(level="error"), timezone="UTC")
        outside = Outside(
            store=self._open,
            link=self._dial,
            wall_ms=lambda: self._wall_ms,
            monotonic_s=lambda: self._mono_s,
        )
        loop = Loop(settings, PROFILE, outside)
        loop.say = lambda *_: None
        self.store.fuse = self.fuse
        return loop

    def _open(self, path: Path, mib_max: int) -> SimStore:
        self.store = SimStore(path, mib_max)
        return self.store

    def _dial(self, _b: object, _d: object, _w: object, wall_ms: Callable[[], int], _wake: object) -> SimLink:
        self.link = SimLink(self.broker, self.prng, self.fuse, wall_ms)
        self.link.told, self.link.on_acknowledge = self._on_publish, self._on_acknowledge
        return self.link

    @property
    def _state(self) -> Path:
        return self._folder / f"life-{self._lives}"

    @property
    def _database(self) -> Path:
        return self._state / database.FILE

    def turn(self) -> None:
        """The loop goes round once; where the fuse burns down, the process dies and a new one starts."""
        self._mono_s += 0.2
        self._wall_ms += 200
        try:
            self.loop.turn()
        except Cut:
            self._die()

    def _die(self) -> None:
        plug = self.harsh and self.prng.random() < 0.5
        self.books.plugs += plug
        self.books.kills += not plug
        self.books.redelivered += len(self.broker.open)
        self.broker.line_gone()
        self.loop.errands.children.stop(0.0)
        self.loop._vigil.close()  # the kernel's part of a death
        self._lives += 1
        synced = self.store.leave(self._state, self.prng, plug=plug)
        shutil.rmtree(self._folder / f"life-{self._lives - 1}")
        self.fuse.left = -1
        self.loop = self._start()
        self.store.synced = synced
        if (broken := ledger.first_break(map(ledger.unpack, ledger_rows(self._database)))) is not None:
            raise Broken(f"the ledger's chain is broken at {broken} after a {'plug' if plug else 'kill'}")

    # ---- what the world does -------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing happens; then safety is checked."""
        self.books.steps += 1
        chosen: Callable[[], None] = self.prng.choices(
            [self.turn, self._event, self._noise, self._consent_changes, self._feedback, self._time, self._line,
             self._disk, self._light_fuse],
            [40, 22, 5, 4, 6, 6, 4, 2, 6],
        )[0]  # fmt: skip
        chosen()
        self._check()

    def _tell(self, topic: str, payload: bytes, kind: str = JSON) -> int:
        message = Message(topic=topic, payload=payload, content_type=kind, qos=1, arrived_ms=self._wall_ms)
        self._payloads.append(message)
        return self.broker.take(message)

    def _event(self) -> None:
        for _ in range(self.prng.randrange(1, 8)):
            self.books.events += 1
            source = self.prng.choice(["touch", "room"])
            key = f"{source}-{self.books.events}"
            self._events[source].append(key)
            word: dict[str, Any] = {"id": key}
            if source == "touch":
                word["user"] = self.prng.choice(STEADFAST) if self.prng.random() < 0.8 else self.prng.choice(FICKLE)
                word["item"] = self.prng.choice("abc")
                if self.books.events % 3 == 0:  # two persons: no word of the fickle holds the steadfast up
                    word["account"] = "fickle" if word["user"] in FICKLE else "steadfast"
                # Devices' own clocks: right, late, ahead, or at 1970.
                word["time"] = self.prng.choice(
                    [self._wall_ms, self._wall_ms - 5 * HOUR_MS, self._wall_ms + HOUR_MS, 1_000]
                )
                if word["user"] in FICKLE:
                    self._events[source].pop()
                    key = word["id"] = f"fickle-{self.books.events}"
                    self._fickle.add(decision_id(f"{source}:{key}", PLACEMENTS[source], PROFILE.hash, {}))
            else:
                word["light"] = self.prng.uniform(0, 900)
            number = self._tell(f"sim/{DEVICE}/{source}", msgspec.json.encode(word))
            if word.get("user") not in FICKLE:
                self._said[number] = (source, f"{source}:{key}")

    def _noise(self) -> None:
        """What is malformed, unknown, or said before."""
        kind = self.prng.randrange(4)
        if kind == 0 and self._payloads:
            self.broker.take(self.prng.choice(self._payloads[-50:]))
        elif kind == 1:
            self._tell(f"sim/{DEVICE}/touch", self.prng.randbytes(self.prng.randrange(40)))
        elif kind == 2:
            self._tell(UNKNOWN, GARBAGE)
        else:
            self._tell(f"sim/{DEVICE}/room", b'{"id": "x", "light": "much"}')

    def _consent_changes(self) -> None:
        self._say_consent(self.prng.choice(FICKLE), granted=self.prng.random() < 0.5)

    def _say_consent(self, subject: str, *, granted: bool) -> None:
        word = {"purposes": {"personalise": granted}, "time_ms": self._wall_ms}
        number = self._tell(Topics(DEVICE).of("consent", subject), msgspec.json.encode(word))
        self._consent_said[number] = (subject, granted, self._wall_ms)
        self._wall_ms += 1

    def _feedback(self) -> None:
        if self._first:
            made = self.prng.choice(list(self._first))
            word = {"decision_id": made, "outcome": self.prng.choice(["click", "dismiss"]), "time_ms": self._wall_ms}
            self._tell(Topics(DEVICE).of("feedback"), msgspec.json.encode(word))

    def _time(self) -> None:
        self._mono_s += (hop := self.prng.choice([1, 30, 90]))
        self._wall_ms += hop * 1_000
        if self.prng.random() < 0.1:
            self.books.jumps += 1
            self._wall_ms += self.prng.choice([-2 * HOUR_MS, HOUR_MS, 24 * HOUR_MS, -60_000, YEARS_MS, -YEARS_MS])

    def _line(self) -> None:
        self.broker.reachable = not self.broker.reachable
        self.books.partitions += not self.broker.reachable

    def _disk(self) -> None:
        if self.harsh:
            full = self.prng.random() < 0.5
            self.books.full_disks += full
            self.store.fill(full)

    def _light_fuse(self) -> None:
        self.fuse.left = self.prng.randrange(0, 25)

    # ---- what must hold ------------------------------------------------------------------------------------

    def _on_acknowledge(self, number: int, message: Message) -> None:
        if number in self._consent_said:
            subject, granted, time_ms = self._consent_said[number]
            if time_ms >= self._newest_word.get(subject, 0):
                self._newest_word[subject], self._consent[subject] = time_ms, granted
        source, key = self._said.get(number, ("", ""))
        if source and (source == "touch" or not self.harsh) and not self._is_taken(key):
            raise Broken(f"{key} was acknowledged and is not on the disk ({message.topic})")

    def _is_taken(self, key: str) -> bool:
        return bool(self.store._connection.execute("SELECT 1 FROM seen WHERE id = ?", (key,)).fetchone())

    def _on_publish(self, row: OutboxRow) -> None:
        """Nothing leaves that the ledger does not hold at this moment."""
        digest = hashlib.sha256(row[2]).hexdigest()
        store = self.store
        waiting = store._reserve.rows().values()
        found = any(ledger.unpack(one).sha256 == digest for one in waiting) or any(
            ledger.unpack(one).sha256 == digest for one in reversed(ledger_rows(store.path))
        )
        if not found:
            raise Broken(f"a message on {row[1]} left without a row in the ledger")

    def _check(self) -> None:
        for row in self.broker.received[self._seen :]:
            self._received(row)
        self._seen = len(self.broker.received)
        for subject, granted in self._consent.items():
            pending = any(m.topic.endswith(f"consent/{subject}") for _, m in self._in_the_air())
            rooms = (("profile", subject), ("touch", subject), ("identity", f"seen\x00{subject}"))
            for room, key in rooms if not granted and not pending else ():
                if self.store.recall(room, key) is not None:
                    raise Broken(f"{subject} took consent back, and the {room} is still there")

    def _in_the_air(self) -> list[tuple[int, Message]]:
        return [*self.broker.queue, *self.broker.open.values()]

    def _received(self, row: OutboxRow) -> None:
        entry, topic, payload = row[:3]
        if topic == NUDGE:
            self._nudged(entry, _unpack(payload))
        if "/decision/" not in topic:
            return
        word = msgspec.json.decode(payload, type=DecisionMade) if row[5] != MSGPACK else _unpack(payload)
        if not 0.0 < word.propensity <= 1.0:
            raise Broken(f"{word.id} has propensity {word.propensity}")
        before = self._first.setdefault(word.id, payload)
        if before != payload and ("/pick" in topic or not self.harsh):
            raise Broken(f"{word.id} was decided twice, and differently")
        if not self.harsh:
            if before is payload and entry < self._order.get(topic, 0):
                raise Broken(f"entry {entry} on {topic} came after {self._order[topic]}")
            self._order[topic] = max(entry, self._order.get(topic, 0))

    def _nudged(self, entry: int, word: DecisionMade) -> None:
        """Messages keep to their cap by the times at which they were handed over, and do not come after their end."""
        if word.retracted:
            self._over[word.id] = entry
        elif entry > self._over.get(word.id, entry):
            raise Broken(f"{word.id} was delivered after it was taken back")
        elif word.id not in self._nudges:
            (packed,) = self.store._connection.execute(
                "SELECT value FROM ledger WHERE seq = ?", (entry,)
            ).fetchone() or (self.store._backlog.ledger[entry],)
            self._nudges[word.id] = (word.subject, at := ledger.unpack(packed).time_ms)
            near = sum(who == word.subject and 0 <= at - then < HOUR_MS for who, then in self._nudges.values())
            if near > CAP and not self.books.jumps:
                raise Broken(f"{word.subject} was reached {near} times in an hour, and {CAP} are allowed")
            self.books.nudges += 1

    def heal(self) -> None:
        """Everything works again; now everything must be finished."""
        self.fuse.left, self.broker.reachable = -1, True
        self.store.fill(False)
        for _ in range(HEALING_TURNS):
            self._mono_s += 1.0
            self._wall_ms += 1_000
            self.loop.turn()
            self._check()
            if not self.broker.queue and not self.broker.open and not self.store.waiting(0, 1):
                break
        else:
            raise Broken(f"not finished after {HEALING_TURNS} turns: {len(self.broker.queue)} wait at the broker")
        self._balance()

    def _balance(self) -> None:
        expected: set[str] = set()
        for source, events in self._events.items():
            for key in events:
                made = decision_id(f"{source}:{key}", PLACEMENTS[source], PROFILE.hash, {})
                expected.add(made)
                if made not in self._first and not (self.harsh and source == "room"):
                    raise Broken(f"the decision on {source}:{key} was never received")
        if strays := set(self._first) - expected - self._fickle:
            raise Broken(f"decisions on no event: {strays}")
        rows = [ledger.unpack(one) for one in ledger_rows(self._database)]
        if (broken := ledger.first_break(rows)) is not None:
            raise Broken(f"the ledger's chain is broken at {broken}")
        self._balance_metrics()
        self._balance_experiment()
        self.books.decisions = len(self._first)
        self.books.boundaries = self.fuse.burnt

    def _balance_metrics(self) -> None:
        """What was added up is what was observed, once each: the sums and the rows were written together."""
        connection = sqlite3.connect(self._database)
        packed = connection.execute("SELECT value FROM shelf WHERE shelf = 'outcome'").fetchall()
        observed = [earned.unpack(value) for (value,) in packed]
        for name in ("clicks", "light"):
            rows = connection.execute("SELECT value FROM state WHERE room = 'metric' AND key = ?", (name,)).fetchall()
            counted = sum(cell.n for (value,) in rows for cell in totals.unpack(value).cells.values())
            found = sum(one.metric == name for one in observed)
            # A full disk takes decisions and rows, a day that the clock leapt over too; the sums stay.
            if found > counted or (found < counted and not self.books.jumps and not self.harsh):
                raise Broken(f"{name} was observed {found} times and counted {counted} times")
            self.books.observed += counted
        connection.close()

    def _balance_experiment(self) -> None:
        """Whoever was drawn is being measured, was counted, or was left out by name: nobody twice, nobody lost."""
        connection = sqlite3.connect(self._database)
        rows = dict(connection.execute("SELECT key, value FROM state WHERE room = 'experiment'").fetchall())
        connection.close()
        for key, packed in rows.items():
            if not key.startswith("sums\x00"):
                continue
            summary = cohort.read_summary(packed)
            tables = {number: np.array(table) for number, table in summary.tables.items()}
            counted = sum(int(table[:, 0].sum()) for table in tables.values())
            if sums.fault(tables, len(summary.arms), 1):
                raise Broken(f"the experiment's sums are {summary.tables}")
            if counted + summary.measured + sum(summary.skipped.values()) != summary.drawn:
                raise Broken(f"{summary.drawn} people were drawn, {counted} counted: {summary}")
            self.books.measured += counted


def _unpack(payload: bytes) -> DecisionMade:
    return msgspec.msgpack.decode(payload, type=DecisionMade)


def live(seed: int, steps: int = 150) -> Books:
    """One seed from start to healing.

    Raises:
        Broken: an invariant does not hold; the seed reproduces it.
    """
    folder = Path(tempfile.mkdtemp(prefix="edgeward-sim-"))
    try:
        world = World(seed, folder)
        for _ in range(steps):
            world.step()
        world.heal()
        world.loop.close()
    except Exception as error:
        error.add_note(f"replay it with: make sim SEED={seed}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return world.books
