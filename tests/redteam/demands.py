"""A malicious coordinator: a real SuperLink runs an app that asks each device for something else.

The devices are real learners; what may leave is decided by a real agent's step and entered in its ledger, which is
compared with every byte that was heard on the line. One device is asked for what is allowed: its update must arrive,
or nothing was tried at all.
"""

import json
import os
import threading
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.shell import flower
from edge_agent.effects import Answer
from edge_agent.happenings import EgressAsked
from edge_agent.shell.pipe import AskEgress
from firmware_configs import ledger
from firmware_configs.ledger_evidence import Evidence
from firmware_configs.ledger_record import Reconciled, read_record, reconcile
from firmware_configs.messages import RoundOffer
from firmware_configs.stated import Stated, pack
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, Said, run_learner
from tests.edge_agent.house import House
from tests.redteam.wire import listening

BAIT = Path(__file__).parents[1] / "coordinator" / "bait"
NAMES = [p.name for p in open_bundle(CONTEXT).spec.of_share("shared")]
PLAN = {
    "bundle": "context",
    "version": "1.0.0",
    "round": 1,
    "rounds": 1,
    "epochs": 1,
    "lr": 0.1,
    "batch": 16,
    "negatives": 0,
    "clip_norm": 5.0,
    "prox_mu": 0.0,
    "seed": 0,
}
STATED = Stated(
    epsilon=9.0, delta=1e-5, unit="one device", sampling="Poisson", accountant="pld", population="homes",
    noise_by="coordinator",
)  # fmt: skip
ESCAPES = "context\x1b[2J\n2026-01-01 error AGT999 forged"


class Demand(Struct, frozen=True):
    """What one device is asked for."""

    plan: dict[str, object] = {}
    """Over the honest plan."""
    task: dict[str, object] = {}
    """What the device's profile says otherwise."""
    refused: bool = True
    """Whether the device must refuse. What is let through is capped by the device, or is an attack that wins."""


PRIVATE = {"epsilon_max": 8.0, "delta": 1e-5, "population": "homes"}
LIE = pack(msgspec.structs.replace(STATED, epsilon=0.1))
DEMANDS = {
    "honest": Demand(refused=False),
    "personal parameters": Demand({"names": [*NAMES, "offset"]}),
    "an undeclared part of a plan": Demand({"send_database": True}),
    "too many epochs": Demand({"epochs": 100_000}),
    "another bundle": Demand({"bundle": ESCAPES}),
    "no privacy stated": Demand(task=PRIVATE),
    "more privacy spent than allowed": Demand({"privacy": pack(STATED)}, PRIVATE),
    "a plain update of who wants secret sums": Demand(task={"secret": True}),
    "a larger clipping norm": Demand({"clip_norm": 1e9}, {"clip_norm": 0.01}, refused=False),
    "a false statement of privacy": Demand({"privacy": LIE}, PRIVATE, refused=False),
}


class Met(Struct, frozen=True):
    """What one device did."""

    asked: str
    refused: bool
    as_it_should: bool
    code: str
    entered: tuple[str, ...]
    """Kind and privacy of each entry of its ledger."""


class Found(Struct, frozen=True):
    """The whole attack."""

    devices: tuple[Met, ...]
    executed: int
    """Marks that the server's code would have left."""
    bytes_on_the_wire: int
    """Of the replies' objects."""
    bytes_in_the_ledgers: int
    undeclared_bytes: int
    envelope_bytes: int
    """Flower's calls around them: ids, node, sizes, seconds of training; no entry is made of these."""
    calls: dict[str, int]


class Keeper:
    """A device's agent: its profile and its ledger, in memory, decide what its learner may send."""

    def __init__(self, name: str) -> None:
        self.name, self.house = name, House()
        self._granted: dict[str, bool] = {}

    def grants(self, ask: AskEgress) -> bool:
        """The agent's own answer."""
        if ask.token in self._granted:  # asked once more of the same thing
            return self._granted[ask.token]
        asked = EgressAsked(**{field: getattr(ask, field) for field in EgressAsked.__struct_fields__})
        effects = self.house.tell(asked)
        self._granted[ask.token] = any(isinstance(effect, Answer) and effect.granted for effect in effects)
        return self._granted[ask.token]

    def evidence(self) -> Evidence:
        """Its ledger, of what went to the SuperLink and elsewhere."""
        rows = sorted((key, value) for (room, key), (value, _) in self.house.rows.items() if room == "ledger")
        return Evidence(device=self.name, rows=tuple(value for _, value in rows))


class Attack:
    """One run of the hostile app against all devices at once."""

    def __init__(
        self, place: Coordinator, folder: Path, *, bypass: bool = False, kinds: tuple[str, ...] = tuple(DEMANDS)
    ) -> None:
        """Run it.

        Args:
            bypass: devices that let everything out and enter nothing: the books must then not balance.
            kinds: the demands, a device each.
        """
        self.kinds, named = kinds, "bypassed" if bypass else "asked"
        self.devices = {kind: Device(f"{named}-{n}", folder / f"{named}-{n}") for n, kind in enumerate(kinds)}
        self.keepers = {kind: Keeper(device.name) for kind, device in self.devices.items()}
        self.said: dict[str, Said] = {}
        self._bypass, self._folder = bypass, folder
        for n, device in enumerate(self.devices.values()):
            device.live_through(30, seed=n)
        devices = list(self.devices.values())
        for n in range(0, len(devices), 2):  # each enrolment is a process of Flower's
            place.enrol(devices[n : n + 2])
        self.nodes = {kind: int(place.store.device(device.name).node) for kind, device in self.devices.items()}
        superlink = place.running.endpoints.superlink
        with listening(place.home, superlink, place.ca) as (address, self.heard):
            self._run(place, address)

    def _run(self, place: Coordinator, superlink: str) -> None:
        job = self._folder / "job.json"
        asks = {str(self.nodes[kind]): DEMANDS[kind].plan for kind in self.kinds}
        job.write_text(json.dumps({"bundle": str(CONTEXT), "plan": PLAN, "ask": asks, "until": list(asks)}))
        run, app_hash = flower.start_run(place.home, BAIT, job)
        closes = int((time.time() + 60) * 1_000)
        offer = RoundOffer(
            run=run, bundle="context", version="1.0.0", superlink=superlink, app_hash=app_hash, closes_ms=closes
        )

        def learn(kind: str) -> None:
            home = self._folder / f"user-{self.devices[kind].name}"
            home.mkdir()
            verdict = (lambda _ask: True) if self._bypass else self.keepers[kind].grants
            task = self.devices[kind].task(offer, place.ca, **DEMANDS[kind].task)
            self.said[kind] = run_learner(task, verdict, {**os.environ, "HOME": str(home)})

        threads = [threading.Thread(target=learn, args=(kind,)) for kind in self.kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def books(self, kind: str) -> Reconciled:
        """One device's ledger against what was heard of it."""
        record = self._folder / f"{self.devices[kind].name}.jsonl"
        self.heard.record(record, self.nodes[kind])
        return reconcile(self.keepers[kind].evidence(), read_record(record))

    def found(self) -> Found:
        """What came of it."""
        books = [self.books(kind) for kind in self.kinds]
        rows = [ledger.unpack(one) for keeper in self.keepers.values() for one in keeper.evidence().rows]
        objects = sum(len(one) for one in self.heard.payloads())
        return Found(
            devices=tuple(self._met(kind, DEMANDS[kind]) for kind in self.kinds),
            executed=len(list(self._folder.rglob("EXECUTED"))),
            bytes_on_the_wire=objects,
            bytes_in_the_ledgers=sum(row.bytes for row in rows if row.destination == "superlink"),
            undeclared_bytes=sum(one.undeclared_bytes for one in books),
            envelope_bytes=sum(self.heard.size.values()) - sum(len(one) for one in self.heard.objects.values()),
            calls=dict(sorted(self.heard.calls.items())),
        )

    def _met(self, kind: str, demand: Demand) -> Met:
        ended = self.said[kind].ended
        code = ended.code if ended is not None else "none"
        rows = [ledger.unpack(one) for one in self.keepers[kind].evidence().rows]
        told = tuple(f"{row.kind}: {row.privacy}" for row in rows if row.destination == "superlink")
        refused = code != ""
        return Met(kind, refused, refused == demand.refused, code, told)


def attack(place: Coordinator, folder: Path) -> Found:
    """All demands at once."""
    return Attack(place, folder).found()
