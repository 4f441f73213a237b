"""What a delta of a bundle would save: `python -m tests.benchmarks.delta --json`.

A round's new version changes weights, golden outputs, card and bundle.toml; graphs and catalogue stay. Counted for
every bundle of the zoo with trained weights that differ in each number, as after a real round: bytes of the whole
archive, and of an archive of the changed files alone, which is what fetching by file could save at best.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from models import archive
from models.bundle import open_bundle, with_weights

BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"


def measure(path: Path, folder: Path) -> Mapping[str, Any]:
    """One bundle."""
    old = open_bundle(path)
    dice = np.random.default_rng(1)
    shared = {
        p.name: old.weights()[p.name] + dice.normal(0, 1e-3, p.shape).astype(np.float32)
        for p in old.spec.of_share("shared")
    }
    major, minor, patch = (*map(int, old.spec.version.split(".")), 0, 0)[:3]
    new = open_bundle(with_weights(old, shared, f"{major}.{minor}.{patch + 1}", folder, "A round."))
    changed = {name: new.read(name) for name in new.files if name not in old.files or old.read(name) != new.read(name)}
    part = len(archive.pack({**changed, "bundle.toml": archive.unpack(new.path.read_bytes(), "", 99)["bundle.toml"]}))
    return {"bundle": old.spec.name, "whole": new.size, "changed": part, "ratio": round(part / new.size, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        trained = [p for p in sorted(BUNDLES.glob("*.edgeward")) if open_bundle(p).spec.train is not None]
        shared = [path for path in trained if open_bundle(path).spec.of_share("shared")]
        rows = [measure(path, Path(folder)) for path in shared]
    total = sum(row["changed"] for row in rows) / max(1, sum(row["whole"] for row in rows))
    if not given.json:
        for row in rows:
            print(f"{row['bundle']:<20} whole {row['whole']:>9,}  changed {row['changed']:>9,}  {row['ratio']}")
    print(json.dumps({"ratio_bytes": round(total, 3), "bundles": rows}))


if __name__ == "__main__":
    main()
