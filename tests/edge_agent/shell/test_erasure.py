"""Erasure leaves no trace: in the file, its log, its free pages, beside it, or in the process; others lose nothing."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec

from edge_agent.memory import known
from edge_agent.shell import eraser
from tests.edge_agent.erasure_home import ANNA, BERT, DROPPED, Home, agent, home, lived_in, memory


def audit(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "firmware_configs.cli", "erasure", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def erased(one: Home, subject: str, out: Path) -> "subprocess.CompletedProcess[str]":
    return one.cli("subject", "erase", subject, "--settings", str(one.settings), "--out", str(out), "--yes")


def test_no_trace_of_an_erased_person_is_left_beside_a_running_agent(tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.json"
    with home(tmp_path / "home") as one, agent(one) as running:
        lived_in(one)
        state = ("--state-dir", str(one.state))
        before, of_bert = one.traces(ANNA), one.asked("subject", "show", BERT, *state)
        assert before, "the test would find a trace"
        assert not one.traces(DROPPED), "what minimisation drops is never written"
        assert memory(running.pid, ANNA)
        done = erased(one, ANNA, receipt)
        assert done.returncode == 0, done.stdout + done.stderr
        assert one.vitals().pid == running.pid, "the same process id: whoever watches it sees no end"
        assert one.traces(ANNA) == {}
        assert memory(running.pid, ANNA, DROPPED) == 0
        after = one.asked("subject", "show", BERT, *state)
        for made in of_bert["decisions"]:
            made["fields"]["peer"] = ""  # the one place where his data named her
        for part in ("consent", "profile", "decisions", "examples", "outcomes", "held_fields"):
            assert after[part] == of_bert[part], f"{part} of the other person is as it was"
        assert one.cli("subject", "show", ANNA, *state).returncode != 0
        one.picks(BERT, BERT, 2)
    key = one.state / "node.pub"
    assert audit(receipt, "--key", key, "--subject", ANNA).returncode == 0
    assert audit(receipt, "--key", key, "--subject", BERT).returncode == 1
    changed = json.loads(receipt.read_text())
    changed["receipt"]["erased"]["decision"] += 1
    receipt.write_text(json.dumps(changed))
    assert "not signed by that key" in audit(receipt, "--key", key).stdout


def test_a_stopped_agents_folder_is_erased_by_the_command_itself(tmp_path: Path) -> None:
    with home(tmp_path / "home", key=False) as one:
        with agent(one):
            lived_in(one, 3)
        with sqlite3.connect(one.state / "edgeward.db") as file:
            rows = [
                ("personal", f"affinity\x00{ANNA}", b"parameters"),
                ("round", "run-1", b"what a learner goes on from"),
                ("letter", "k1", msgspec.msgpack.encode(["k1", "d", "p", "mail", "smtp", ANNA])),
                ("standing", f"shelf\x00{ANNA}", b"choice"),
            ]
            file.executemany("INSERT INTO state VALUES (?, ?, ?, 0)", rows)
            word = msgspec.msgpack.encode({"subject": ANNA})
            file.execute(
                "INSERT INTO outbox VALUES (99, 'edgeward/1/x/decision/p', ?, 1, 0, '', '', '', 0, 'd')", (word,)
            )
        damaged = one.state / "edgeward.db.damaged"
        damaged.write_bytes(b"an older copy of " + ANNA.encode())
        receipts = [tmp_path / "1.json", tmp_path / "2.json"]
        done = erased(one, ANNA, receipts[0])
        assert done.returncode == 0, done.stdout + done.stderr
        assert one.traces(ANNA) == {}
        told = json.loads(receipts[0].read_text())["receipt"]
        assert {"personal", "round", "letter", "standing", "outbox", "decision", "example"} <= told["erased"].keys()
        assert told["signature"] == "", "this device has no key, and the receipt says so"
        assert erased(one, BERT, receipts[1]).returncode == 0
        assert audit(*receipts).returncode == 0, "the second follows from the first"
        assert audit(*reversed(receipts)).returncode == 1
        assert one.asked("subject", "ls", "--state-dir", str(one.state)) == []


def test_an_erasure_that_cannot_be_done_is_tried_again_and_the_agent_runs_meanwhile(tmp_path: Path) -> None:
    with home(tmp_path / "home") as one:
        with agent(one):
            lived_in(one, 2)
        wish = eraser.leave(one.state, (ANNA,))
        (one.state / "erasures").write_text("a file where the folder should be")
        with agent(one):
            assert (one.state / eraser.name_of(wish)).exists()
            assert "erasures" in one.log.read_text()
        (one.state / "erasures").unlink()
        with agent(one):
            assert not (one.state / eraser.name_of(wish)).exists()
            assert [one.id for one in eraser.receipts(one.state)] == [wish.id]


def test_a_held_field_is_put_right_and_keeps_its_time(tmp_path: Path) -> None:
    with home(tmp_path / "home", key=False) as one:
        with agent(one):
            lived_in(one, 1)
        heard = known.pack({"zone": ("Europe/Paris", 1_000), "age": (41.0, 2_000)})
        with sqlite3.connect(one.state / "edgeward.db") as file:
            file.execute("INSERT INTO state VALUES ('known', ?, ?, 0)", (ANNA, heard))
        words = ("subject", "rectify", ANNA)
        done = one.asked(*words, "zone=Europe/Lisbon", "--settings", str(one.settings))
        assert done == {"subject": ANNA, "field": "zone", "value": "Europe/Lisbon", "done": True}
        held = one.asked("subject", "show", ANNA, "--state-dir", str(one.state))["held_fields"]
        assert held == {"zone": {"value": "Europe/Lisbon", "time_ms": 1_000}, "age": {"value": 41.0, "time_ms": 2_000}}
        assert one.traces("Europe/Paris") == {}
        assert "a number" in one.cli(*words, "age=old", "--settings", str(one.settings)).stderr
