"""`python -m tests.benchmarks.capacity --json`: the costs that `edge-coordinator capacity` reckons with.

Each is CPU of the process that does the work (`clock_gettime` of the process), resident memory, or bytes on disk, with
real processes: an agent, mosquitto, the embedded broker, a SuperLink with TLS and node keys, the HTTPS door. So a busy
machine changes the figures little, and another processor changes them as a whole. `--write FILE` makes the table;
without it the figures are compared with the table that is shipped (`ratio`: now ÷ shipped).
"""

import argparse
import json
import os
import platform
import resource
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import tomli_w

from coordinator.aggregate import Report, average
from coordinator.capacity import Costs, parse
from coordinator.commands.capacity import COSTS
from coordinator.shell.fleet_store import FleetStore, Heard
from coordinator.shell.listening import word
from coordinator.shell.store import Store
from coordinator.shell.train import train
from edge_agent.shell.fleet import Fleet
from edge_agent.shell.fleet_line import FleetLine, NodeKey
from firmware_configs.messages import Status
from tests.benchmarks import capacity_broker, load
from tests.benchmarks import round as rounds
from tests.coordinator.fleet import coordinator, start_learner

COMMAND = "python -m tests.benchmarks.capacity --only {}"
FILES = 4
"""Of metadata that a visit reads: timestamp, snapshot, targets, the bundle's role (docs/registry.md)."""
Figures = dict[str, float]


def agent() -> Figures:
    """CPU of a real agent an event, and a decision more."""
    found: Figures = {}
    silent = load.PROFILE.replace('trigger = { kind = "event", source = "room" }', 'trigger = { kind = "request" }')
    for name, profile in (("event", silent), ("decided", load.PROFILE)):
        with load.workplace() as folder, load.broker("mosquitto", folder, "set_tcp_nodelay true\n") as port:
            settings = load.write_agent(folder / "agent", port, profile)
            with load.process(*load.agent_command(settings), log=folder / "log") as running:
                driver = load.Driver(port, "driver")
                topic, answers = f"bench/{load.DEVICE}/in", "bench/answer"
                driver.listen(f"edgeward/1/{load.DEVICE}/decision/#")
                driver.listen(answers)
                asked = f"edgeward/1/{load.DEVICE}/request/presence"
                driver.ask_until_answered(asked, answers)
                driver.fill(topic, 500)
                driver.ask_until_answered(asked, answers)
                before = load.cpu_s(running.pid)
                driver.fill(topic, 5_000)
                driver.ask_until_answered(asked, answers)
                found[name] = (load.cpu_s(running.pid) - before) / 5_000
                driver.close()
    return {"agent_event_s": found["event"], "agent_decision_s": max(1e-9, found["decided"] - found["event"])}


def broker() -> Figures:
    """mosquitto: a message, a connection, a connection with mutual TLS; the embedded broker beside it."""
    found: Figures = {}
    with load.workplace() as folder:
        with capacity_broker.plain_mosquitto(folder) as (port, pid):
            found["mosquitto_message_s"] = capacity_broker.message_s(port, pid, 10_000)
        with capacity_broker.embedded(folder / "embedded") as (port, pid):
            found["embedded_message_s"] = capacity_broker.message_s(port, pid, 10_000)
            found["embedded_connection_bytes"] = capacity_broker.connection_bytes(port, pid, 2_000)
        with capacity_broker.plain_mosquitto(folder) as (port, pid):
            found["plain_connection_bytes"] = capacity_broker.connection_bytes(port, pid, 2_000)
        with capacity_broker.fleet_mosquitto(folder / "home") as (port, pid, context):
            connect_s, held = capacity_broker.secure_connections(port, pid, context, 400)
            found |= {"mosquitto_connect_s": connect_s, "mosquitto_connection_bytes": held}
    return found


def superlink() -> Figures:
    """Rounds of four devices: what a device in a round costs SuperLink and door, and a question without an answer."""
    with load.workplace() as folder, coordinator(folder) as place:
        devices = rounds.devices_of(folder)
        began = _children_s()
        place.enrol(devices)
        enrol_s = (_children_s() - began) / len(devices)
        link, door = (place.running.processes[name].pid for name in ("superlink", "door"))
        started: list[Any] = []
        before: list[float] = []

        def offered() -> None:
            before.extend((load.cpu_s(link), load.cpu_s(door)))
            started.extend(start_learner(d.task(place.offer_of(d.name), place.ca)) for d in devices)

        train(place.home, rounds.requested(rounds.ROUNDS), lambda line: offered() if "offered to" in line else None)
        for one in started:
            one.join()
        spent = load.cpu_s(link) - before[0], load.cpu_s(door) - before[1]
        share = len(devices) * rounds.ROUNDS
        found = {"enrol_s": enrol_s, "superlink_round_s": spent[0] / share, "door_round_s": spent[1] / share}
        with closing(FleetLine(place.running.endpoints.superlink, place.ca, NodeKey(devices[0].key))) as line:
            found["superlink_call_s"] = _questions(line, link, 200)
        (place.home / "registry" / "targets" / "large").write_bytes(bytes(4 * 2**20))
        return found | _fetches(place.running.endpoints.registry, place.ca, door)


def _children_s() -> float:
    """CPU of the children that have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _questions(line: FleetLine, link: int, count: int) -> float:
    """CPU of the SuperLink for a waiting learner's question, s."""
    node = Fleet(line, 1, "0" * 64, lambda: True).node
    before = load.cpu_s(link)
    for _ in range(count):
        line.call("PullMessages", node={"node_id": node})
    return (load.cpu_s(link) - before) / count


def _fetches(registry: str, ca: str, door: int) -> Figures:
    """CPU of the door for a visit with a TLS handshake and a small file, and a MiB of a large one more."""
    context = ssl.create_default_context(cafile=ca)
    visits, mib = 200, 4
    before = load.cpu_s(door)
    for _ in range(visits):
        with httpx.Client(verify=context, trust_env=False) as client:
            for _ in range(FILES):
                assert client.get(f"{registry}/metadata/timestamp.json").status_code == 200
    small = load.cpu_s(door) - before
    before = load.cpu_s(door)
    with httpx.Client(verify=context, trust_env=False) as client:
        for _ in range(16):
            assert len(client.get(f"{registry}/targets/large").content) == mib * 2**20
    large = load.cpu_s(door) - before
    return {"door_fetch_s": small / visits, "door_mib_s": large / 16 / mib}


def listener() -> Figures:
    """Words of a thousand devices into the coordinator's database, and the disk that they take."""
    devices, turns = 1_000, 40
    with load.workplace() as folder:
        store = Store(folder)
        for number in range(devices):
            store.enrol(f"home-{number}", number + 1, "key" * 40)
        fleet = FleetStore(folder)
        # Each word says another thing than the last one, so that each is a row of the log, too.
        words = [_heard(n % devices, _status(n % devices, online=n // devices % 2 == 0)) for n in range(turns * 250)]
        began = time.process_time()
        for turn in range(turns):
            fleet.hear(words[turn * 250 : turn * 250 + 250])
        spent = time.process_time() - began
        with closing(sqlite3.connect(folder / "coordinator.db")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = (folder / "coordinator.db").stat().st_size
    return {
        "listener_word_s": spent / turns / 250,
        "listener_device_bytes": size / devices,
    }


def _status(number: int, *, online: bool) -> bytes:
    said = Status(device=f"home-{number}", online=online, agent="0.1.0", profile="ab" * 8, time_ms=1_800_000_000_000)
    return msgspec.msgpack.encode(said)


def _heard(number: int, packed: bytes) -> Heard:
    found = word(f"home-{number}", "status", packed, int(time.time() * 1_000), live=True, as_json=False)
    assert found is not None
    return found


def aggregation() -> Figures:
    """The mean of a hundred updates of ten thousand parameters."""
    dice = np.random.default_rng(0)
    shared = {"weight": dice.normal(size=10_000).astype(np.float32)}
    reports = [
        Report(
            node=number,
            delta={"weight": dice.integers(-127, 128, 10_000).astype(np.int8)},
            scales={"weight": 0.001},
            examples=64,
            loss_before=0.5,
            loss_after=0.4,
        )
        for number in range(100)
    ]
    average(shared, reports)
    began = time.process_time()
    for _ in range(5):
        average(shared, reports)
    return {"combine_parameter_s": (time.process_time() - began) / 5 / len(reports) / 10_000}


PARTS: Mapping[str, Callable[[], Figures]] = {
    "agent": agent,
    "broker": broker,
    "superlink": superlink,
    "listener": listener,
    "aggregation": aggregation,
}
WHAT: Mapping[str, tuple[str, str, str]] = {
    "agent_event_s": ("agent", "s", "an agent's CPU for an event: decoded, minimised, in the profile, committed"),
    "agent_decision_s": ("agent", "s", "what a decision of the model `context` costs it on top"),
    "mosquitto_message_s": ("broker", "s", "mosquitto's CPU for a message in and out at QoS 1"),
    "mosquitto_connect_s": ("broker", "s", "mosquitto's CPU for a client that comes with mutual TLS"),
    "mosquitto_connection_bytes": ("broker", "B", "mosquitto's memory for such a client, connected and listening"),
    "listener_word_s": ("listener", "s", "the listener's CPU for a status of a device, written down"),
    "listener_device_bytes": ("listener", "B", "what a device with ten words takes in coordinator.db"),
    "enrol_s": ("superlink", "s", "a device that is let in: the CPU of Flower's own command"),
    "superlink_round_s": ("superlink", "s", "the SuperLink's CPU for a device in a round of `context`, four at once"),
    "superlink_call_s": ("superlink", "s", "the SuperLink's CPU for one question of a learner that waits"),
    "door_round_s": ("superlink", "s", "the HTTPS door's CPU for a device in such a round"),
    "door_fetch_s": ("superlink", "s", "the door's CPU for a visit to the registry: a TLS handshake, four small files"),
    "door_mib_s": ("superlink", "s", "the door's CPU for a MiB of a bundle"),
    "combine_parameter_s": ("aggregation", "s", "the mean of updates: CPU a report and parameter"),
}
"""Cost → part that measures it, unit, what it is."""
ELSEWHERE = {
    "rollout_device_s": {
        "value": 2.6e-3,
        "unit": "s",
        "what": "the coordinator's CPU for a device over a whole rollout of four cohorts",
        "command": "python -m tests.benchmarks.rollout --json",
    },
    "rollout_device_bytes": {
        "value": 3_900.0,
        "unit": "B",
        "what": "the coordinator's memory for a device of a rollout: 110 MiB for 10,000 less 73 without any",
        "command": "python -m tests.benchmarks.rollout --json",
    },
    "mosquitto_read_s": {
        "value": 8.9e-8,
        "unit": "s",
        "what": "mosquitto's CPU to read its access list, for the square of the devices in it: 8.9 s for 10,000",
        "command": "python -m tests.benchmarks.enrolment --json",
    },
    "enrol_known_s": {
        "value": 9.6e-7,
        "unit": "s",
        "what": "our CPU for a device that is let in, for each that is there already: 96 ms with 100,000",
        "command": "python -m tests.benchmarks.enrolment --json",
    },
}
"""What another benchmark measures, as docs/rollout.md and docs/scale.md have it."""


def table(found: Figures) -> str:
    """The figures as `costs.toml`."""
    listed = {
        name: {"value": float(f"{found[name]:.3g}"), "unit": unit, "what": what, "command": COMMAND.format(part)}
        for name, (part, unit, what) in WHAT.items()
    }
    where = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    head = f"# Written by `python -m tests.benchmarks.capacity --write FILE` ({where}).\n"
    return head + tomli_w.dumps(listed | ELSEWHERE)


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--only", choices=sorted(PARTS), help="measure one part")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table of costs, for --costs FILE")
    given = parser.parse_args()
    assert {*WHAT, *ELSEWHERE} == set(Costs.__struct_fields__)
    if given.write and given.only:
        parser.error("--write needs all parts")
    shipped, _ = parse(COSTS.read_text()) if COSTS.exists() else (None, None)
    found: Figures = {}
    for name in [given.only] if given.only else PARTS:
        found |= PARTS[name]()
        if not given.json:
            print(f"{name}: done", file=sys.stderr)
    if given.write:
        parse(table(found))
        given.write.write_text(table(found))
    ratio = {
        name: round(value / getattr(shipped, name), 2) for name, value in found.items() if name in WHAT and shipped
    }
    print(
        json.dumps(
            {
                "costs": {name: float(f"{value:.4g}") for name, value in found.items()},
                "ratio": ratio,
                "load": [round(one, 2) for one in os.getloadavg()],
                "versions": {
                    name: version(name) for name in ("edgeward", "flwr", "onnxruntime", "iotcore", "paho-mqtt")
                },
                "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
            }
        )
    )


if __name__ == "__main__":
    main()
