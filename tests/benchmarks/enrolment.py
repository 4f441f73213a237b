"""`python -m tests.benchmarks.enrolment --json`: what one more device costs a coordinator that has many, by how many.

CPU of what `edge-coordinator` itself does when a device comes in (Flower's own command is `capacity`'s `enrol_s`), and
of the real mosquitto when it reads its lists again, with how long a client that is connected waits for it meanwhile.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import time
from contextlib import closing
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from coordinator.fleet.access import topology
from coordinator.shell import authority, mosquitto, pki
from coordinator.shell.broker import free_port
from coordinator.shell.enrol import let_in
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.store import Store
from firmware_configs.loader import load as load_profile
from firmware_configs.messages import Desired
from tests.benchmarks import load

KEY = "ecdsa-sha2-nistp384 " + "A" * 180
PROFILE = Path(__file__).parents[2] / "firmware_configs" / "profiles" / "home-gateway.toml"
COMING, READS = 20, 3
QUIET_S = 0.2


def fill(home: Path, devices: int) -> None:
    """A coordinator's home with so many devices, each told what to run."""
    names = [f"home-{number}" for number in range(devices)]
    store, wanted = Store(home), Desired(revision=3, bundles={"affinity": "1.0.0", "context": "1.0.0"})
    store.put_desired(names[0], wanted)
    with store.transaction() as database:
        rows = [(name, number + 1, KEY) for number, name in enumerate(names)]
        database.executemany("INSERT INTO device (name, node, public_key, enrolled_ms) VALUES (?, ?, ?, 1)", rows)
        copied = "INSERT INTO desired SELECT ?, value FROM desired WHERE device = ?"
        database.executemany(copied, [(name, names[0]) for name in names[1:]])
    FleetStore(home).give_profile(topology(load_profile(PROFILE).profile), names)


def coming(home: Path, devices: int) -> dict[str, float]:
    """CPU, in seconds, of letting one more in."""
    began, wall = time.process_time(), time.monotonic()
    for number in range(COMING):
        let_in(home, f"new-{number}", devices + number + 1, KEY)
        Store(home).newest_desired(f"new-{number}")
    spent, took = time.process_time() - began, time.monotonic() - wall
    began = time.process_time()
    mosquitto.write_access(home)
    return {"device_s": spent / COMING, "device_wall_s": took / COMING, "whole_list_s": time.process_time() - began}


def reading(home: Path) -> dict[str, float]:
    """What it costs mosquitto to read its lists again, and a connected client to wait for that."""
    port, own = free_port(), free_port()
    pki.ensure_authority(home)
    mosquitto.write(home, pki.ensure_server(home, pki.LOCAL), "127.0.0.1", port, own)
    pair = authority.operator(home)
    with load.process(*mosquitto.command(home), log=home / "mosquitto.log") as broker:
        load.wait_for(lambda: _listens(own), "mosquitto", 120.0)
        client = Client(CallbackAPIVersion.VERSION2, "coordinator")
        client.tls_set(str(pki.ensure_authority(home).certificate), str(pair.certificate), str(pair.key))
        heard: list[float] = []
        client.on_message = lambda *_: heard.append(time.monotonic())
        client.connect("127.0.0.1", own)
        client.subscribe("edgeward/1/#")
        client.loop_start()
        costs, waits = [], []
        for number in range(READS):
            time.sleep(QUIET_S)
            before = _cpu_s(broker)
            broker.send_signal(signal.SIGHUP)
            said, count = time.monotonic(), len(heard)
            time.sleep(0.01)
            client.publish("edgeward/1/home-0/desired", str(number))
            load.wait_for(lambda count=count: len(heard) > count, "an answer", 120.0)  # type: ignore[misc]
            waits.append(heard[-1] - said)
            time.sleep(QUIET_S)
            costs.append(_cpu_s(broker) - before)
        client.disconnect()
        client.loop_stop()
    size = (mosquitto.folder(home) / mosquitto.LIST).stat().st_size
    return {"read_again_s": statistics.median(costs), "client_waits_s": max(waits), "list_bytes": float(size)}


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _cpu_s(process: "subprocess.Popen[bytes]") -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure at each size, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument(
        "--read-max", type=int, default=10_000, help="with more, mosquitto is not asked: it is quadratic"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told = []
    for devices in given.devices:
        with load.workplace() as folder:
            fill(folder, devices)
            pki.ensure_authority(folder)
            mosquitto.write(folder, pki.ensure_server(folder, pki.LOCAL), "127.0.0.1", free_port(), free_port())
            found = coming(folder, devices) | (reading(folder) if devices <= given.read_max else {})
            told.append({"devices": devices, **{name: round(value, 6) for name, value in found.items()}})
    print(json.dumps({"load": round(os.getloadavg()[0], 1), "sizes": told}, indent=2 if given.json else None))


if __name__ == "__main__":
    main()
