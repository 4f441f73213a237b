"""The agent as a process on its hard days: a damaged database, more events than it can take, a long way back."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec

from edge_agent.egress.ledger import Ledger
from edge_agent.limits import DAY_MS
from edge_agent.shell import database
from edge_agent.shell.inspect import ledger_summary
from edge_agent.shell.keys import make
from edge_agent.shell.sealer import seal
from edge_agent.shell.store import Store
from edge_agent.shell.sweep import Sweeper
from edge_agent.shell.writes import Writes
from firmware_configs import ledger_evidence
from firmware_configs.profile import Device, Egress
from tests.benchmarks.load import DEVICE, PROFILE, Driver, agent_command, broker, process, wait_for, write_agent

ALARM = """
[[source]]
name = "alarm"
topic = "bench/{device}/alarm"
event_id = "id"
critical = true
[[source.field]]
name = "smoke"
category = "user.sensor"
purposes = ["bench"]
[[placement]]
name = "siren"
trigger = { kind = "event", source = "alarm" }
purposes = ["bench"]
candidate = [{ item = "on" }]
"""
IN = 'topic = "bench/{device}/in"\n'
URGENT = PROFILE.replace(IN, IN + 'overload = "coalesce"\n') + ALARM


def test_a_damaged_database_ends_the_agent_and_the_next_start_takes_over_what_can_be_read(tmp_path: Path) -> None:
    with broker("iotcore", tmp_path) as port:
        settings, log = write_agent(tmp_path / "agent", port), tmp_path / "log"
        path = tmp_path / "agent" / "state" / database.FILE
        with process(*agent_command(settings), log=log):
            wait_for(lambda: " connected " in log.read_text(), "the line")
            driver = Driver(port, "driver")
            driver.listen(f"edgeward/1/{DEVICE}/decision/presence")
            driver.warm(f"bench/{DEVICE}/in")
            for _ in range(300):
                driver.send(f"bench/{DEVICE}/in")
            wait_for(lambda: driver.tend(5) or driver.answers >= 301, "the decisions")
            driver.close()
        raw = bytearray(path.read_bytes())
        raw[database.PAGE_BYTES * 4 : database.PAGE_BYTES * 9] = b"\xff" * (database.PAGE_BYTES * 5)
        path.write_bytes(raw)
        found = subprocess.run(agent_command(settings), capture_output=True, text=True, timeout=30, check=False)
        assert found.returncode not in {0, -11}
        assert "AGT302" in found.stderr
        assert "start the agent again" in found.stderr
        with process(*agent_command(settings), log=log):
            wait_for(lambda: "was damaged; now in edgeward.db.damaged" in log.read_text(), "the salvage")
            again = Driver(port, "again")
            again.listen(f"edgeward/1/{DEVICE}/decision/presence")
            again.warm(f"bench/{DEVICE}/in")
            again.close()


def test_under_pressure_every_critical_event_is_decided_and_what_is_let_go_is_counted(tmp_path: Path) -> None:
    with broker("iotcore", tmp_path) as port:
        settings = write_agent(tmp_path / "agent", port, URGENT)
        text = settings.read_text().replace("broker = {", "batch_max = 8\nbroker = { receive_maximum = 8,")
        settings.write_text(text)
        log = tmp_path / "log"
        with process(*agent_command(settings), log=log):
            wait_for(lambda: " connected " in log.read_text(), "the line")
            driver = Driver(port, "driver")
            driver.listen(f"edgeward/1/{DEVICE}/decision/siren")
            for number in range(3_000):
                driver.send(f"bench/{DEVICE}/in")
                if number % 10 == 0:
                    payload = msgspec.json.encode({"id": f"alarm-{number}", "smoke": 1.0})
                    driver.publish(f"bench/{DEVICE}/alarm", payload)
            wait_for(lambda: driver.tend(5) or driver.answers >= 300, "every siren")
            driver.close()
        counters = _status(tmp_path / "agent" / "state")["counters"]
        assert driver.answers == 300
        assert counters["shed.room"] > 0
        assert counters["shed.room"] + counters["events"] + counters.get("duplicates", 0) >= 3_300
        assert "shed.alarm" not in counters


def test_what_waits_for_the_broker_is_bounded_and_the_worthless_goes_first(tmp_path: Path) -> None:

    path = tmp_path / database.FILE
    store = Store(path, 64)
    writes = Writes()
    for entry in range(1, 1_001):
        kind = "rejection" if entry % 4 == 0 else "decision"
        writes.outbox[entry] = (entry, f"t/{kind}", b"x", 1, False, "", b"", "", 0, kind)
    store.commit(writes, durable=False)
    connection = sqlite3.connect(path, isolation_level=None)
    gone = Sweeper(connection).crowded_outbox(700)
    assert [entry % 4 for entry in gone[:250]] == [0] * 250, "reports of noise go first"
    assert list(gone[250:]) == [n for n in range(1, 70) if n % 4][:50], "then the oldest decisions"
    left = [row[0] for row in store.waiting(0, 10_000)]
    assert left == sorted(left), "what is left goes in order"
    assert len(left) == 700
    connection.close()
    store.close()


def test_the_ledger_keeps_its_newest_rows_and_the_sums_and_the_chain_of_those_before(tmp_path: Path) -> None:
    book = Ledger([Egress(kind="decision", purposes=("bench",), bytes_day_max=10**9)], "")
    store = Store(tmp_path / database.FILE, 16)
    writes = Writes()
    for number in range(1_200):
        _, key, row = book.enter("decision", size=number, sha256="", now_ms=number)
        writes.ledger[int(key)] = row
    store.commit(writes, durable=False)
    connection = sqlite3.connect(tmp_path / database.FILE, isolation_level=None)
    sweeper = Sweeper(connection)
    assert [sweeper.prune_ledger(500), sweeper.prune_ledger(900), sweeper.prune_ledger(900)] == [500, 400, 0]
    connection.close()
    store.close()
    told = ledger_summary(tmp_path)
    assert (told["entries"], told["since"], told["broken_at"]) == (300, 901, None)
    assert told["bytes"] == {"decision": sum(range(1_200))}
    assert told["head"] == book.head


def test_a_retained_message_waits_only_in_its_newest_form(tmp_path: Path) -> None:

    store = Store(tmp_path / database.FILE, 16)
    for entry in range(1, 6):
        row = (entry, "edgeward/1/d/status", str(entry).encode(), 1, True, "", b"", "", 0, "status")
        store.commit(Writes(outbox={entry: row}), durable=False)
    assert [row[2] for row in store.waiting(0, 10)] == [b"5"]
    assert store.waiting_rows == 1
    store.close()


def _status(state: Path) -> dict[str, dict[str, int]]:
    command = (sys.executable, "-m", "edge_agent.cli", "status", "--state-dir", str(state), "--json")
    found: dict[str, dict[str, int]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def test_the_smallest_database_that_makes_room_keeps_what_an_auditor_counts_on(tmp_path: Path) -> None:
    book = Ledger([Egress(kind="decision", purposes=("bench",), bytes_day_max=10**9)], "p")
    make(tmp_path, force=False)
    store = Store(tmp_path / database.FILE, 64)
    writes = Writes()
    for number in range(8_000):
        _, key, row = book.enter("decision", size=1, sha256=f"{number:064x}", now_ms=DAY_MS + number)
        writes.ledger[int(key)] = row
    store.commit(writes, durable=False)
    store.close()
    smallest = msgspec.json.schema(Device)["$defs"]["Device"]["properties"]["disk_mib_max"]["minimum"]
    assert len(seal(tmp_path, "home-1", tmp_path / "node.key", 2 * DAY_MS)) == 1
    with contextlib.closing(sqlite3.connect(tmp_path / database.FILE, isolation_level=None)) as connection:
        sweeper = Sweeper(connection)
        while sweeper.oldest(smallest * 1024 * 1024):
            pass
    found = ledger_evidence.examine(ledger_evidence.read(tmp_path), ledger_evidence.read_key(tmp_path / "node.pub"))
    assert found.flaws == ()
    assert ledger_evidence.KEPT_MIN <= found.entries < 8_000
