"""`python -m tests.benchmarks.consent --json`: how many events pass, and how many ms, until a person's word counts.

A real agent, broker and file. For each way to say it, several people agree and are decided for; then the word and five
events are sent on one connection (by command: the command, then five events). `events_until_effect` is the number of
the first event that was treated as the word says: 1 is the very next one. `ms` is from sending until the
agent counts it as taken; for `gpc`, where the event itself carries the word, 1 is that event.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from tests.benchmarks.erasure import kept
from tests.benchmarks.load import wait_for
from tests.edge_agent.erasure_home import DEVICE, PURPOSES, Home, agent, home

EVENTS = 5
Letter = tuple[str, bytes, int, bool]


def main() -> None:
    """Entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=5, help="for each way to say it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, home(Path(folder)) as one:
        print(json.dumps(figures(one, given.people), indent=None if given.json else 2))


def figures(one: Home, people: int) -> dict[str, Any]:
    """All ways, each with several people."""
    profile = one.folder / "profile.toml"
    profile.write_text(
        profile.read_text().replace('name = "personalise"\n', 'name = "personalise"\nshares = true\n', 1)
    )
    found: dict[str, Any] = {}
    with agent(one):
        for way in ("withdraw", "grant", "gpc", "command"):
            tried = [_tried(one, way, f"{way}-{number}") for number in range(people)]
            found[way] = {
                "events_until_effect": max(events for events, _ in tried),
                "ms_median": round(statistics.median(ms for _, ms in tried), 1),
                "ms_max": round(max(ms for _, ms in tried), 1),
                "people": people,
            }
    found["events_until_effect"] = max(one["events_until_effect"] for one in found.values())
    return found


def _tried(one: Home, way: str, subject: str) -> tuple[int, float]:
    """(number of the first event that was treated as the word says, ms until the word is stored)."""
    if way != "grant":
        heard = one.counted("consents")
        one.consent(subject)
        wait_for(lambda: one.counted("consents") > heard, "the yes")
    _send(one, [_event(one, subject, f"before-{n}") for n in range(2)])
    before, heard = kept(one, subject)[0], one.counted("consents")
    letters = [_event(one, subject, f"after-{n}", gpc=way == "gpc") for n in range(EVENTS)]
    started = time.monotonic()
    if way == "command":
        said = one.asked("consent", "withdraw", subject, "personalise", "--settings", str(one.settings))
        took_ms = float(said["ms"])
        _send(one, letters)
    else:
        word = {"purposes": dict.fromkeys(PURPOSES, way == "grant"), "time_ms": int(time.time() * 1_000)}
        topic = f"edgeward/1/{DEVICE}/consent/{subject}"
        own = [] if way == "gpc" else [(topic, json.dumps(word).encode(), 1, True)]
        events = one.counted("events")
        _publish(one, [*own, *letters])
        wait_for(lambda: one.counted("consents") > heard, "the word")
        took_ms = (time.monotonic() - started) * 1_000
        wait_for(lambda: one.counted("events") >= events + EVENTS, "the events")
    made = kept(one, subject)[0] - before
    return 1 + (EVENTS - made if way == "grant" else made), took_ms


def _event(one: Home, subject: str, name: str, *, gpc: bool = False) -> Letter:
    event: dict[str, Any] = {"id": f"{subject}-{name}", "user": subject, "item": one.catalogue[0], "time": time.time()}
    if gpc:
        event["gpc"] = True
    return f"home/{DEVICE}/interaction", json.dumps(event).encode(), 1, False


def _publish(one: Home, letters: list[Letter]) -> None:
    publish.multiple(letters, hostname="127.0.0.1", port=one.port, protocol=MQTTProtocolVersion.MQTTv5)


def _send(one: Home, letters: list[Letter]) -> None:
    """The same, and wait until they are taken."""
    events = one.counted("events")
    _publish(one, letters)
    wait_for(lambda: one.counted("events") >= events + len(letters), "the events")


if __name__ == "__main__":
    main()
