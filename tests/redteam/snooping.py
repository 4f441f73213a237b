"""Another device's client at the broker: what it hears of its neighbour, and what it can make others believe.

The real mosquitto with what `edge-coordinator` writes for it, certificates and access lists; then the same broker, the
same certificates and no access list. The attack must win there, or it was none.
"""

import shutil
import subprocess
import time
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from coordinator.fleet.access import topology
from coordinator.shell.broker import free_port
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.mosquitto import command, folder, write_access
from edge_agent.settings import Settings, load
from firmware_configs.loader import load as load_profile
from firmware_configs.messages import Topics
from tests.benchmarks.load import _listens, wait_for
from tests.coordinator.seat import PROFILE, QUIET_S, Seat, peer, started

READ = ("desired", "status", "reported", "alert", "metric", "reply/x", "consent/u1", "feedback")
"""What a neighbour's topics carry; the victim is told or says all of these."""
SECRET = b"somebody's own"


class Snooped(Struct, frozen=True):
    """What the neighbour got."""

    tried: int
    heard: int
    """Of the victim's messages, by wildcards and by name."""
    forged: int
    """Words of its own that the victim, or who listens to the victim, took for the victim's or its coordinator's."""


def snoop(thief: Settings, victim: Settings) -> Snooped:
    """Listen to everything, and write everywhere below the victim's prefix."""
    topics = [Topics(victim.device).of(*part.split("/")) for part in READ]
    with peer(thief) as spy, peer(victim) as honest:
        spy.listen("#", "edgeward/1/#", f"edgeward/1/{victim.device}/#", "$share/x/#", *topics)
        honest.listen("#", *topics)
        time.sleep(QUIET_S)
        for topic in topics:
            honest.say(topic, SECRET)
            spy.say(topic, b"forged")
        time.sleep(QUIET_S)
        heard = {topic for topic, payload in spy.heard if payload == SECRET}
        # A device that may write nowhere but at its own prefix reaches nobody; without lists all of it arrives.
        forged = {topic for topic, payload in [*honest.heard, *spy.heard] if payload == b"forged"}
    return Snooped(tried=len(topics), heard=len(heard), forged=len(forged))


def two_devices(seat: Seat, where: Path) -> tuple[Settings, Settings]:
    """Two enrolled devices with the home gateway's profile."""
    names = ("spy-1", "victim-1")
    for name in names:
        seat.enrol(name, where / name)
    FleetStore(seat.home).give_profile(topology(load_profile(PROFILE).profile), names)
    write_access(seat.home)
    seat.settle()
    one, two = (load(where / name / "agent.toml", {}) for name in names)
    return one, two


def without_lists(seat: Seat, where: Path, settings: tuple[Settings, Settings]) -> Snooped:
    """The control: the same broker and certificates on another port, without access lists."""
    port, own = free_port(), free_port()
    # Pages have a third listener, where one was asked for.
    head, *listeners = (folder(seat.home) / "mosquitto.conf").read_text().split("\nlistener ")[:3]
    told = [f"{at} 127.0.0.1\n{one.partition(chr(10))[2]}" for at, one in zip((port, own), listeners, strict=True)]
    text = "\nlistener ".join([head, *told])
    lines = [line for line in text.splitlines() if not line.startswith(("acl_file", "pid_file", "persistence"))]
    config = where / "open.conf"
    config.write_text("\n".join(lines) + "\n")
    with (where / "open.log").open("wb") as log:
        running = subprocess.Popen([*command(seat.home)[:1], "-c", str(config)], stdout=log, stderr=log)
    try:
        wait_for(lambda: running.poll() is not None or _listens(port), "mosquitto without lists")
        one, two = (replace(each, broker=replace(each.broker, url=f"mqtts://127.0.0.1:{port}")) for each in settings)
        return snoop(one, two)
    finally:
        running.kill()
        running.wait()


def attack(where: Path) -> dict[str, object]:
    """With access lists and without; or why not."""
    if shutil.which("mosquitto") is None and shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin") is None:
        return {"skipped": "mosquitto is not installed"}
    with started(where) as seat:
        settings = two_devices(seat, where)
        return {
            "attack": "an enrolled device's client: wildcards, shared subscriptions and names, read and write",
            "with access lists": snoop(*settings),
            "the same broker without": without_lists(seat, where, settings),
        }
