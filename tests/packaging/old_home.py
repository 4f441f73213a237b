"""A coordinator's home that an old version wrote, for `tests.packaging.upgrade`; and what this version reads of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from coordinator.shell.told import rounds_table

WRITES = """
import sys
from pathlib import Path
from coordinator.rounds import Round
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from firmware_configs.messages import Desired

home, bundle = Path(sys.argv[1]), Path(sys.argv[2])
home.mkdir()
store = Store(home)
store.enrol("home-1", 2**63 - 7, "a public key")
store.enrol("home-2", 11, "another")
store.revoke("home-2")
store.begin("run-1", "context", "1.0.0")
row = Round(run="run-1", number=1, state="published", asked=4, reports=3, refused=1, bytes_up=1000, seconds=2.5)
store.put_round(row)
store.end("run-1", result="1.0.1")
store.put_desired("home-1", Desired(revision=3, bundles={"context": "1.0.1"}))
Registry.ensure(home).publish(bundle)
"""
READS_BACK = """
import sys
from pathlib import Path
from coordinator.shell.store import Store
store = Store(Path(sys.argv[1]))
print(len(store.devices()), store.desired("home-1").revision, len(store.rounds("run-1")))
"""


def write(tree: Path, home: Path) -> None:
    """Have the version of that tree write a home."""
    bundle = max((tree / "models" / "zoo" / "bundles").glob("context-*.edgeward"))
    _run(tree, WRITES, home, bundle)


def _run(tree: Path, program: str, *words: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(home: Path) -> dict[str, Any]:
    """What this version finds in it."""
    store = Store(home)
    (run,) = rounds_table(home)
    registry = Registry.existing(home)
    registry.refresh()
    return {
        "devices": {one.name: one.node for one in store.devices()},
        "enrolled": sorted(view.name for view in FleetStore(home).views()),
        "wanted": (store.desired("home-1").revision, store.desired("home-1").bundles),
        "round": {
            name: run["rounds"][0][name] for name in ("state", "asked", "reports", "refused", "bytes_up", "seconds")
        },
        "result": run["result"],
        "published": [(one.bundle, one.version) for one in registry.published()],
    }


def read_back(tree: Path, home: Path) -> str:
    """What the old version still finds once this one has been at it: devices, revision, rounds."""
    return _run(tree, READS_BACK, home).strip()
