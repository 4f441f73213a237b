"""A home as it looks after some weeks, written by the real stores and loops, and the real dashboard upon it."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from playwright.sync_api import Page

from coordinator import business
from coordinator.accountant import Budget
from coordinator.experiments import Plan
from coordinator.rollout.state import Rollout, Wish
from coordinator.shell.dashboard.users import Users
from coordinator.shell.experiment_store import ExperimentStore
from coordinator.shell.fleet_drift import FILE, FleetDrift
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.listening import word
from coordinator.shell.private_run import enter
from coordinator.shell.quarantine_store import QuarantineStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_loop import RolloutLoop
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.store import Store
from firmware_configs import histogram
from firmware_configs.fleet_drift import TENTHS, DriftShape
from firmware_configs.ledger import DAY_MS, Seal
from firmware_configs.loader import parse
from firmware_configs.measured import Measured
from firmware_configs.messages import BundleState, ExperimentReport, Rejected, Reported, Status
from firmware_configs.profile import DriftDetector
from models.fleet_drift import moved
from tests.coordinator.rollout.plans import OLD, planned
from tests.coordinator.rollout.test_store import Clock, Town
from tests.coordinator.test_business import BOUGHT, WORTH, plan_of, report, text
from tests.coordinator.written import PRIVATE, begin, job_of, row
from tests.edge_agent.experiment_house import profile

ROOT = Path(__file__).parents[3]
PROFILE = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
BUNDLE = ROOT / "models" / "zoo" / "bundles" / "context-1.0.0.edgeward"
RUN, PRIVATE_RUN, ROLLOUT = "20270114-090000-aaaaaa", "20270115-080000-abcdef", "r"
PASSWORD = "four words without sense"
ROLES = {"vera": "viewer", "emil": "engineer", "olga": "operator", "otto": "officer"}
READY_S = 40.0
DEVICES = 12
QUICK = msgspec.structs.replace(PRIVATE, budget=Budget(epsilon=8.0, delta=1e-5, accountant="rdp"))
"""By the accountant that takes a tenth of the time."""
KEY = "ecdsa-sha2-nistp384 AAAA"


def status(device: str, n: int, now_ms: int, *, online: bool = True) -> bytes:
    """What a device says of itself every minute."""
    times = histogram.told({20 + n % 5: 900, 26 + n % 7: 100})
    seal = Seal(
        device=device,
        day=now_ms // DAY_MS - 1,
        first=1,
        last=40 + n,
        head="ab" * 32,
        root=f"{n:02x}" * 32,
        made_ms=now_ms,
        signature=b"s",
    )
    return msgspec.msgpack.encode(
        Status(
            device=device,
            online=online,
            agent="0.1.0",
            profile="ab12cd34ef567890",
            counters={"events": 1_000 * (n + 1), "decisions": 100 * (n + 1)},
            arrival_to_decision_ms={"evening-pick": times},
            ledger_seal=msgspec.msgpack.encode(seal),
            time_ms=now_ms,
        )
    )


def say(home: Path, device: str, kind: str, payload: bytes, now_ms: int) -> None:
    """A device says something, and the coordinator writes it down as it does."""
    heard = word(device, kind, payload, now_ms, live=True, as_json=False)
    assert heard is not None
    FleetStore(home).hear([heard])


def fill(home: Path, now_ms: int) -> None:
    """Devices, runs, a rollout that goes on, an experiment, alerts, a quarantine, a registry, users."""
    _devices(home, now_ms)
    _runs(home, now_ms)
    _rollout(home, now_ms)
    _experiment(home)
    _drift(home, now_ms)
    _business(home, now_ms)
    Registry.ensure(home).publish(BUNDLE)
    Registry.existing(home).publish_document(PROFILE, "profile", "homes", "", approved=False)
    QuarantineStore(home).quarantine("device-11", "its reports were far from all others", 7.0)
    people(home)


def people(home: Path) -> None:
    """A user of each role."""
    for name, role in ROLES.items():
        Users(home).add(name, role, PASSWORD)  # type: ignore[arg-type]


def _devices(home: Path, now_ms: int) -> None:
    store, fleet = Store(home), FleetStore(home)
    for n in range(DEVICES):
        store.enrol(f"device-{n}", n + 1, KEY)
    for n in range(DEVICES - 1):
        device = f"device-{n}"
        say(home, device, "status", status(device, n, now_ms, online=n != 7), now_ms - 1_000 * n)
        state = BundleState(version=OLD, state="failed" if n == 5 else "active", reason="MOD302: golden outputs differ")
        told = Reported(device=device, revision=0, bundles={"context": state}, ledger_head="cd" * 32, learning="")
        say(home, device, "reported", msgspec.msgpack.encode(told), now_ms)
    fleet.tag([f"device-{n}" for n in range(6)], {"site": "lab"})
    fleet.join("beta", [f"device-{n}" for n in range(3)])
    rejected = Rejected(code="INT203", source="lights", reason="no number at `$.lux`", count=3, time_ms=now_ms)
    say(home, "device-3", "rejected", msgspec.msgpack.encode(rejected), now_ms)
    alert = {
        "kind": "drift",
        "name": "light",
        "state": "firing",
        "severity": "ticket",
        "what": "lux is higher than before",
    }
    more = {"value": 0.31, "threshold": 0.2, "bundle": "context", "since_ms": now_ms, "time_ms": now_ms}
    say(home, "device-4", "alert", msgspec.msgpack.encode({"device": "device-4", **alert, **more}), now_ms)
    burn = {
        "kind": "burn-rate",
        "name": "picks-in-time",
        "state": "firing",
        "severity": "page",
        "what": "14 of 200 late",
    }
    more = {"value": 15.2, "threshold": 14.4, "placement": "evening-pick", "since_ms": now_ms, "time_ms": now_ms}
    say(home, "device-6", "alert", msgspec.msgpack.encode({"device": "device-6", **burn, **more}), now_ms)


def _runs(home: Path, now_ms: int) -> None:
    plain = begin(home, RUN, None, now_ms - 9 * 3_600_000)
    for number in range(1, 9):
        plain.put_round(row(RUN, number, loss_before=1.0 / number**0.5, loss_after=0.9 / number**0.5))
    plain.end(RUN, result="1.0.1")
    private = begin(home, PRIVATE_RUN, QUICK, now_ms - 3_600_000)
    private.put_round(row(PRIVATE_RUN, 1, state="abandoned", reports=1, reason="1 of 10 reports, 5 are the minimum"))
    for number in (1, 2, 3):
        private.put_round(row(PRIVATE_RUN, number, attempt=1 + (number == 1), loss_before=0.0, loss_after=0.0))
    for number in (1, 2, 3):
        enter(job_of(home, PRIVATE_RUN, QUICK), QUICK, number, "affinity")
    private.end(PRIVATE_RUN, failure="the broker was away")


def _rollout(home: Path, now_ms: int) -> None:
    clock = Clock()
    clock.ms = now_ms - 60_000
    rollout = msgspec.structs.replace(planned(), started_ms=clock.ms)
    store = RolloutStore(home)
    store.begin(rollout, Wish(kind="start", who="ann"))
    town = Town(list(rollout.members))
    loop = RolloutLoop(store, town, clock, lambda _line: None)
    for _ in range(6):
        loop.turn(0.0)
    store.close()


def _experiment(home: Path) -> None:
    loaded = parse(profile()).profile
    experiment = loaded.placement[0].experiment
    assert experiment is not None
    plan = Plan(experiment=experiment, egress=next(one for one in loaded.egress if one.kind == "experiment"))
    store = ExperimentStore(home)
    store.put_plan(plan)
    for n in range(6):
        clicks = [30.0 + n, 62.0 + 2 * n]
        # Each of 100 people counts +1/2 for a click and -1/2 else, see `models.experiments.sums`.
        table = [[100.0, clicked - 50.0, 25.0, 0.0, 0.0, 0.0] for clicked in clicks]
        report = ExperimentReport(
            device=f"device-{n}", experiment=experiment.name, plan=plan.hash, tables={0: table}, time_ms=1
        )
        store.put_report(f"device-{n}", report)


def _drift(home: Path, now_ms: int) -> None:
    """Two cohorts were asked, and what three detectors say."""
    detectors = tuple(
        DriftDetector(name=name, watch="input", source="room", field=name, fleet=True)
        for name in ("light", "co2", "humidity")
    )
    shape = DriftShape(detectors=detectors)
    brighter = np.concatenate([np.linspace(0.02, 0.18, TENTHS), np.full(TENTHS, 0.1), np.linspace(0.06, 0.14, TENTHS)])
    for cohort, devices, deviation in (("", 400, 10.0), ("group:beta", 3, 10.0)):
        total = brighter * devices * 20.0 / 3**0.5
        run = f"20270116-070000-{devices:06d}"
        found = FleetDrift(
            run=run,
            bundle="context",
            version="1.0.0",
            profile="home-gateway 1.0.0",
            cohort=cohort,
            devices=devices,
            privacy="ε = 10.73 at δ = 1e-05 for one device, by RDP (dp-accounting).",
            epsilon=10.73,
            deviation=deviation,
            detectors=moved(total, shape, 20.0, deviation, np.random.default_rng(0)),
            made_ms=now_ms - devices * 1_000,
        )
        (home / "runs" / run).mkdir(parents=True)
        (home / "runs" / run / FILE).write_bytes(msgspec.json.encode(found))


def _business(home: Path, now_ms: int) -> None:
    """What four hundred shops measured, blurred; an arm that too few of them saw is not told."""
    plan = plan_of(text(BOUGHT, WORTH, noisy=True))
    dice = np.random.default_rng(0)
    reports = []
    for shop in range(400):
        cells = {("plain", "other"): (int(dice.integers(5, 40)), 0.28), ("warm", "evening"): (9, 0.36)}
        sums = {group: (n, float(dice.binomial(n, rate))) for group, (n, rate) in cells.items()}
        worth = {("plain", "other"): (4, float(dice.uniform(20.0, 400.0)))} if shop < 60 else {}
        totals = [*report("s", sums).totals, *report("s", worth, "worth").totals]
        reports.append(Measured(device=f"shop-{shop}", profile="shop", k_min=3, totals=totals))
    total, scale, devices, refused = business.gather(plan, reports, [one.device for one in reports])
    found = business.Release(
        number=2,
        plan=plan,
        sums=business.blurred(total, plan.noise, dice.standard_normal).tolist(),
        scale=scale,
        noise=plan.noise,
        devices=str(devices),
        privacy=business.claim(plan, 5.68, 2),
        epsilon=5.68,
        refused={**refused, "shop-400": "it is not enrolled"},
        time_ms=now_ms - 3_600_000,
    )
    (home / "business").mkdir()
    (home / "business" / "shop.jsonl").write_bytes(msgspec.json.encode(found) + b"\n")


@contextmanager
def carried_on(home: Path, until: threading.Event) -> Iterator[Town]:
    """The rollout's loop runs, as `edge-coordinator up` has it run, with devices that do as they are told."""
    store = RolloutStore(home)
    town = Town(list(store.rollout(ROLLOUT).members))
    for device in town.decisions:
        if (wanted := Store(home).desired(device)).revision:
            town.wanted[device] = wanted
    store.close()

    def live() -> None:
        own = RolloutStore(home)
        loop = RolloutLoop(own, town, lambda: int(time.time() * 1_000), lambda _line: None)
        while not until.wait(0.1):
            loop.turn(0.0)
        own.close()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield town
    finally:
        until.set()
        thread.join()


def rollout_of(home: Path) -> Rollout:
    store = RolloutStore(home)
    try:
        return store.rollout(ROLLOUT)
    finally:
        store.close()


@contextmanager
def served(home: Path, *more: str) -> Iterator[str]:
    """The real command, on a free port of loopback; the address."""
    home.mkdir(parents=True, exist_ok=True)
    ready, log = home / "dashboard.ready", home / "dashboard.log"
    command = [str(Path(sys.executable).parent / "edge-coordinator"), "dashboard", "--home", str(home), "--port", "0"]
    with log.open("wb") as out:
        child = subprocess.Popen([*command, "--ready-file", str(ready), *more], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + READY_S
        while not ready.exists() or not ready.read_text().endswith("\n"):
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"{'https' if '--tls' in more else 'http'}://127.0.0.1:{ready.read_text().strip()}"
    finally:
        child.terminate()
        child.wait(20)
        told = log.read_text()
        assert "Traceback" not in told, told


def sign_in(page: Page, address: str, name: str = "olga") -> None:
    """As somebody does it."""
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/fleet$"))
