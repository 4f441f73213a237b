"""`python -m tests.benchmarks.erasure --json`: what is left of a person after an erasure, and how soon a no counts.

A real agent, broker and file with two people. Bytes of file, log, seals, receipts and text log are searched for a name
and for a value that no field asks for; the process's writable memory, too (it is Linux's `/proc/PID/mem`).
"""

import argparse
import hashlib
import hmac
import json
import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from firmware_configs.messages import Consent
from tests.benchmarks.load import wait_for
from tests.edge_agent.erasure_home import ANNA, BERT, DEVICE, DROPPED, PURPOSES, Home, agent, home, lived_in, memory

PICKS = 40
AFTER_NO = 5
ROW_BYTES = 600
"""A profile row, about."""
LIVES_S_MAX = 60.0


def main() -> None:
    """Entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, home(Path(folder)) as one:
        print(json.dumps(figures(one), indent=2))


def figures(one: Home) -> dict[str, Any]:
    """All of it, on one home."""
    with agent(one) as running:
        lived_in(one, PICKS)
        dropped = _dropped(one, running.pid)
        found: dict[str, Any] = {"traces_before": sum(one.traces(ANNA).values())}
        found |= _withdrawn(one, BERT)
        started = time.monotonic()
        done = one.asked("subject", "erase", ANNA, "--settings", str(one.settings), "--yes")
        found["ms"] = int((time.monotonic() - started) * 1_000)
        found["ms_in_the_file"] = done["receipt"]["took_ms"]
        left = one.traces(ANNA, DROPPED)
        found |= {"traces_after": sum(left.values()), "where": left}
        found["traces_in_memory_after"] = memory(running.pid, ANNA, DROPPED)
        found["rows_erased"] = sum(done["receipt"]["erased"].values())
    return found | dropped | {"shred_us": _shredding()}


def _withdrawn(one: Home, subject: str) -> dict[str, Any]:
    """How many events came to be considered after a no (the first that is not, counts), and how long it took."""
    before = kept(one, subject)[0]
    no = {"purposes": dict.fromkeys(PURPOSES, False), "time_ms": int(time.time() * 1_000)}
    messages = [(f"edgeward/1/{DEVICE}/consent/{subject}", json.dumps(no).encode(), 1, True)]
    for number in range(AFTER_NO):
        event = {"id": f"late-{number}", "user": subject, "item": one.catalogue[0], "time": time.time()}
        messages.append((f"home/{DEVICE}/interaction", json.dumps(event).encode(), 1, False))
    events, started = one.counted("events"), time.monotonic()
    publish.multiple(messages, hostname="127.0.0.1", port=one.port, protocol=MQTTProtocolVersion.MQTTv5)
    wait_for(lambda: kept(one, subject)[2], "the no in the file")
    took_ms = (time.monotonic() - started) * 1_000
    wait_for(lambda: one.counted("events") >= events + AFTER_NO, "the events")
    after, profiles, _ = kept(one, subject)
    return {
        "events_until_effect": 1 + after - before,
        "withdrawal_ms": round(took_ms, 1),
        "profiles_after_withdrawal": profiles,
    }


def kept(one: Home, subject: str) -> tuple[int, int, bool]:
    """(decisions about somebody, profiles of them, whether their no is stored)."""
    with closing(sqlite3.connect(f"file:{one.state / 'edgeward.db'}?mode=ro", uri=True)) as file:
        (made,) = file.execute(
            "SELECT count(*) FROM shelf WHERE shelf = 'decision' AND subject = ?", (subject,)
        ).fetchone()
        ask = "SELECT value FROM state WHERE room = ? AND key = ?"
        profile = file.execute(ask, ("profile", subject)).fetchone()
        row = file.execute(ask, ("consent", subject)).fetchone()
    word = msgspec.msgpack.decode(row[0], type=Consent) if row else None
    return made, int(profile is not None), word is not None and not any(word.purposes.values())


def _dropped(one: Home, pid: int) -> dict[str, Any]:
    """How long a value that minimisation drops can be found in the process's memory: while idle, and under events."""
    once = "RAW-once-7741-only-in-one-event"
    event = {"id": "once", "user": BERT, "item": one.catalogue[0], "time": time.time(), "note": once}
    events = one.counted("events")
    one.tell("interaction", event)
    wait_for(lambda: one.counted("events") > events, "the event")
    time.sleep(1.0)
    idle, more = memory(pid, once), 0
    started = time.monotonic()
    while memory(pid, once) and time.monotonic() - started < LIVES_S_MAX:
        one.picks(BERT, BERT, 20)
        more += 20
        time.sleep(0.2)
    return {
        "dropped_in_memory_after_1_s_idle": idle,
        "dropped_in_memory_after_events": memory(pid, once),
        "events_until_overwritten": more,
    }


def _shredding() -> dict[str, float]:
    """What sealing one row would cost with the standard library alone: a SHAKE-256 keystream and an HMAC."""
    key, row = os.urandom(32), os.urandom(ROW_BYTES)
    times = []
    for _ in range(300):
        started = time.perf_counter()
        nonce = os.urandom(16)
        stream = hashlib.shake_256(key + nonce).digest(ROW_BYTES)
        sealed = (int.from_bytes(row, "big") ^ int.from_bytes(stream, "big")).to_bytes(ROW_BYTES, "big")
        hmac.digest(key, nonce + sealed, "sha256")
        times.append(time.perf_counter() - started)
    times.sort()
    return {"median": round(times[150] * 1e6, 1), "p95": round(times[285] * 1e6, 1)}


if __name__ == "__main__":
    main()
