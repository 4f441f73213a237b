"""The dashboard with 500 devices: first paint, and from a status at the broker until it is seen in a real browser.

    python -m tests.benchmarks.dashboard --json

Real: broker, listener (in this process; `up` has it in a thread, too), database, dashboard (a process of its own),
Chromium. Simulated: the devices, each of which says its status once a minute, retained, while the updates are timed.
"""

import argparse
import json
import platform
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from playwright.sync_api import Browser, Page

from coordinator.shell import broker as brokers
from coordinator.shell.dashboard.users import Users
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.listening import Listener
from coordinator.shell.store import Store
from firmware_configs.messages import ROOT, Status
from tests.browser.chromium import chromium, visitor
from tests.coordinator.dashboard.world import PASSWORD, served, sign_in

LOADS, PATIENCE_S = 7, 60.0
PAINTED = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const navigation = performance.getEntriesByType("navigation")[0];
  return paint ? {first_paint: paint.startTime, first_byte: navigation.responseStart,
    all_rows: navigation.domContentLoadedEventEnd, kilobytes: navigation.transferSize / 1000} : null;
}"""
SEEN = """() => {
  window.seen = {};
  new MutationObserver((changes) => {
    for (const change of changes)
      for (const node of change.addedNodes)
        for (const row of node.matches?.("tr[data-live]") ? [node] : node.querySelectorAll?.("tr[data-live]") ?? [])
          (window.seen[row.id] ??= []).push([Date.now(), row.cells[5].textContent]);
  }).observe(document.body, {childList: true, subtree: true});
}"""
"""Notes when each row was put into the page, and which agent it shows."""


class Fleet:
    """Simulated devices at a broker."""

    def __init__(self, port: int, devices: int) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, "devices", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.names = [f"device-{n:03}" for n in range(devices)]
        self.agents = dict.fromkeys(self.names, "0.1.0")
        self._said = 0

    def say(self, name: str) -> None:
        """Its status, as an agent says it."""
        self._said += 1
        told = Status(
            device=name,
            online=True,
            agent=self.agents[name],
            profile="ab12cd34ef567890",
            counters={"events": self._said, "decisions": self._said // 10},
            time_ms=int(time.time() * 1_000),
        )
        self._client.publish(f"{ROOT}/{name}/status", msgspec.msgpack.encode(told), qos=1, retain=True)

    @contextmanager
    def alive(self, every_s: float) -> Iterator[None]:
        """Each says its status so often, evenly spread."""
        stop = threading.Event()

        def live() -> None:
            place = 0
            while not stop.wait(every_s / len(self.names)):
                self.say(self.names[place % len(self.names)])
                place += 1

        thread = threading.Thread(target=live)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def painted(browser: Browser, address: str) -> list[dict[str, float]]:
    """Loads of the page with all rows, each by a browser that has nothing of it, ms."""
    found = []
    with visitor(browser) as person:
        page = person.new_page()
        sign_in(page, address)
        for _ in range(LOADS):
            page.goto(f"{address}/fleet?limit=500")
            while (told := page.evaluate(PAINTED)) is None:
                time.sleep(0.05)
            found.append(told)
    return found


def updates(page: Page, fleet: Fleet, count: int, dice: random.Random) -> list[float]:
    """From a device's publish until its row in the page shows it, ms."""
    took = []
    for n in range(count):
        name = dice.choice(fleet.names)
        fleet.agents[name] = f"0.2.{n}"
        sent_ms = time.time() * 1_000
        fleet.say(name)
        until_s = time.monotonic() + PATIENCE_S
        while True:
            held = page.evaluate("(id) => window.seen[id] ?? []", f"device-{name}")
            at = next((at for at, text in held if text == f"0.2.{n}"), None)
            if at is not None:
                took.append(at - sent_ms)
                break
            if time.monotonic() > until_s:
                raise TimeoutError(f"{name} is not seen")
            time.sleep(0.02)
        time.sleep(dice.random() * 0.5)
    return took


def summary(values: list[float]) -> dict[str, float]:
    ranked = sorted(values)
    return {
        "p50": round(statistics.median(ranked), 1),
        "p95": round(ranked[min(len(ranked) - 1, int(0.95 * len(ranked)))], 1),
        "min": round(ranked[0], 1),
        "max": round(ranked[-1], 1),
    }


def measure(folder: Path, devices: int, count: int, seed: int) -> dict[str, object]:
    """The whole run."""
    home, dice = folder / "home", random.Random(seed)  # noqa: S311 - a simulation
    store, port = Store(home), brokers.free_port()
    broker = brokers.start(home, "127.0.0.1", port)
    fleet = Fleet(port, devices)
    for n, name in enumerate(fleet.names):
        store.enrol(name, n + 1, "key")
    Users(home).add("olga", "operator", PASSWORD)
    try:
        with Listener(f"mqtt://127.0.0.1:{port}", home, broker_log=False), served(home) as address:
            for name in fleet.names:
                fleet.say(name)
            until_s = time.monotonic() + PATIENCE_S
            while sum(view.presence == "online" for view in FleetStore(home).views()) < devices:
                if time.monotonic() > until_s:
                    raise TimeoutError("not all devices are heard")
                time.sleep(0.2)
            server = next(one for one in psutil.process_iter(["cmdline"]) if str(home) in (one.info["cmdline"] or []))
            with chromium() as browser:
                loads = painted(browser, address)
                with visitor(browser) as person, fleet.alive(60.0):
                    page = person.new_page()
                    sign_in(page, address)
                    page.goto(f"{address}/fleet?limit=500")
                    page.get_by_text("Live: changes come by themselves.").wait_for()
                    page.evaluate(SEEN)
                    before = server.cpu_times()
                    begun_s = time.monotonic()
                    took = updates(page, fleet, count, dice)
                    after = server.cpu_times()
                    lasted_s = time.monotonic() - begun_s
            return {
                "devices": devices,
                "loads": len(loads),
                "first_paint_ms": summary([one["first_paint"] for one in loads]),
                "first_byte_ms": summary([one["first_byte"] for one in loads]),
                "all_rows_ms": summary([one["all_rows"] for one in loads]),
                "page_kB": round(loads[-1]["kilobytes"], 1),
                "updates": count,
                "statuses_per_s": round(devices / 60.0, 1),
                "update_ms": summary(took),
                "server_rss_mb": round(server.memory_info().rss / 1e6, 1),
                "server_cpu_share": round((after.user + after.system - before.user - before.system) / lasted_s, 3),
                "seed": seed,
                "machine": platform.platform(),
                "versions": {name: version(name) for name in ("starlette", "jinja2", "uvicorn", "playwright")},
            }
    finally:
        fleet.close()
        broker.stop()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.devices, given.updates, given.seed)
    if not given.json:
        for name, value in found.items():
            print(f"{name:<18} {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
