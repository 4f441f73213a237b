"""The occupancy benchmark on the slice that ships with the project."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "edge-models"


def test_the_command_prints_the_model_beside_both_references() -> None:
    done = subprocess.run(
        [PROGRAM, "bench", "occupancy", "--seeds", "2", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row["name"]: row for row in report["table"]}
    assert set(report["gain"]) == {"logistic regression", "gradient boosting"} == set(rows) - {"context (edgeward)"}
    own = rows["context (edgeward)"]
    assert own["accuracy_low"] < own["accuracy"] < own["accuracy_high"]
    assert report["accuracy"] == own["accuracy"] > 97.0
    assert report["f1"] > 95.0


def test_the_references_are_imported_by_nothing_else() -> None:
    code = (
        "import sys; from models.cli import main; import models.bench.occupancy, models.bench.ml_100k;"
        "sys.exit(bool({'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
