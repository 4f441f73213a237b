"""`python -m tests.packaging.upgrade --json`: an agent of an old version lives, is upgraded, and is put back.

The old version is the tree of an old commit, run as it is (`--old`; by default the last one with the first schema of
the database). Real processes on a real broker: the old agent decides; while none runs, events wait at the broker; the
new agent takes up the same folder, settings and profile. Then some old events come again, which must have no second
effect, and the old version is started on the new database, which it must refuse by name and leave as it is. With the
copy that was made before the upgrade it goes on.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from firmware_configs.messages import Topics
from tests.benchmarks import load

ROOT = Path(__file__).parents[2]
OLD = "d9f2b80"
"""The last commit whose database has schema 1."""
EVENTS, WAITING = 200, 40
IN = f"bench/{load.DEVICE}/in"


def export(commit: str, folder: Path) -> Path:
    """The tree of a commit; FileNotFoundError where the history does not reach back to it."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False)
    if done.returncode:
        raise FileNotFoundError(f"no commit {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


class Crowd(load.Driver):
    """Publishes events with ids of its own choosing and keeps the decisions that come."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "crowd")
        self.decided: dict[str, int] = {}

    def event(self, number: int) -> None:
        """One event; the same number is the same event."""
        self.publish(IN, msgspec.json.encode({"id": f"e-{number}", **load.READING, "light": 400.0 + number % 50}))

    def _on_message(self, _client: Any, _data: object, message: Any) -> None:
        made = msgspec.msgpack.decode(message.payload)
        self.decided[made["id"]] = self.decided.get(made["id"], 0) + 1
        super()._on_message(_client, _data, message)


@contextmanager
def running(tree: Path, settings: Path, log: Path) -> Iterator[None]:
    """An agent of that tree; at the end it is stopped and has ended."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    words = ("-m", "edge_agent.cli", "run", "--settings", str(settings))
    with load.process(sys.executable, *words, log=log, environment=environment):
        yield


def schema(database: Path) -> int:
    """Version of the database's schema."""
    with closing(sqlite3.connect(database)) as opened:
        return int(opened.execute("PRAGMA user_version").fetchone()[0])


def entries(tree: Path, state: Path) -> int:
    """Rows of the egress ledger by that tree's own command, which checks the chain; -1 where it is broken."""
    found = json.loads(told(tree, "ledger", "--state-dir", state, "--json").stdout)
    return int(found["entries"]) if found["broken_at"] is None else -1


def told(tree: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """A command of that tree's agent."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "edge_agent.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def measure(commit: str, folder: Path, kind: str = "mosquitto") -> dict[str, Any]:
    """All that happens, as figures."""
    old = export(commit, folder / "old")
    bundle = max((old / "models" / "zoo" / "bundles").glob("context-*.edgeward"))
    with load.broker(kind, folder) as port:
        settings = load.write_agent(folder / "agent", port, bundle=bundle)
        state = folder / "agent" / "state"
        database = state / "edgeward.db"
        crowd = Crowd(port)
        crowd.listen(Topics(load.DEVICE).of("decision", "presence"))
        with running(old, settings, folder / "old.log"):
            crowd.warm(IN)
            warmed = len(crowd.decided)
            for number in range(EVENTS):
                crowd.event(number)
            assert crowd._tend_until(lambda: len(crowd.decided) >= warmed + EVENTS, 30), "the old agent does not decide"
            crowd.settle(0.5)
        before, old_schema, first = entries(old, state), schema(database), set(crowd.decided)
        shutil.copytree(state, folder / "copy")
        for number in range(EVENTS, EVENTS + WAITING):
            crowd.event(number)
        with running(ROOT, settings, folder / "new.log"):
            whole = warmed + EVENTS + WAITING
            crowd._tend_until(lambda: len(crowd.decided) >= whole, 30)
            for number in range(EVENTS - 20, EVENTS + WAITING):
                crowd.event(number)
            crowd.event(EVENTS + WAITING)
            crowd._tend_until(lambda: len(crowd.decided) >= whole + 1, 30)
            crowd.settle(0.5)
        after, new_schema = entries(ROOT, state), schema(database)
        explained = told(
            ROOT, "explain", min(first), "--state-dir", state, "--reason", "to see that an upgrade kept it"
        )
        kept = sha256(database.read_bytes()).hexdigest()
        refused = told(old, "run", "--settings", settings)
        untouched = sha256(database.read_bytes()).hexdigest() == kept
        shutil.rmtree(state)
        shutil.copytree(folder / "copy", state)
        with running(old, settings, folder / "restored.log"):
            crowd.event(EVENTS + WAITING + 1)
            restored = crowd._tend_until(lambda: len(crowd.decided) >= whole + 2, 30)
        crowd.close()
    return {
        "lost": whole + 2 - len(crowd.decided),
        "repeated": sum(times - 1 for times in crowd.decided.values()),
        "schema": [old_schema, new_schema],
        "ledger_entries": [before, after],
        "old_decision_explained": explained.returncode == 0,
        "downgrade_refused": refused.returncode != 0 and "AGT303" in refused.stderr + refused.stdout,
        "refusal": (refused.stderr + refused.stdout).strip()[-300:],
        "untouched_by_the_refusal": untouched,
        "copy_goes_on": restored,
        "events": whole + 2,
        "old": commit,
    }


def main() -> None:
    """Run it; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--old", default=OLD, metavar="COMMIT")
    given = parser.parse_args()
    with load.workplace() as folder:
        print(json.dumps(measure(given.old, folder)))


if __name__ == "__main__":
    main()
