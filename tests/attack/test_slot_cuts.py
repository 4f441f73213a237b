"""A profile switch that is cut off at any moment leaves the old or the new profile, whole."""

import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from edge_agent.shell import slots
from tests.attack.switchcut import run

pytestmark = pytest.mark.attack
LINES = 2_000
SWITCHES = """
import sys
from itertools import count
from pathlib import Path
from edge_agent.shell import slots
state, lines = Path(sys.argv[1]), int(sys.argv[2])
held = slots.read(state)
print("ready", flush=True)
for number in count(int(sys.argv[3])):
    slots.stage(state, "profile", f"p-1.0.{number}", f"{number}\\n".encode() * lines)
    slots.choose(state, state / "own.toml")
    slots.confirm(state)
"""


def test_wherever_a_switch_is_killed_the_pointer_leads_to_a_whole_profile(tmp_path: Path) -> None:
    """The real functions in a process of their own, killed 12 times at random moments of thousands of switches."""
    dice = random.Random(20261129)  # noqa: S311 - when it is killed
    own = tmp_path / "own.toml"
    own.write_text("own")
    seen = set()
    for kill in range(12):
        command = [sys.executable, "-c", SWITCHES, str(tmp_path), str(LINES), str(1_000_000 * (kill + 1))]
        switching = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert switching.stdout is not None
        assert switching.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0.0, 0.1))
        switching.kill()
        switching.wait()
        switching.stdout.close()
        pointer = tmp_path / slots.FOLDER / slots.POINTER
        if not pointer.exists():
            continue
        held = msgspec.json.decode(pointer.read_bytes(), type=slots.Pointer)
        for slot in (held.active, held.before):
            if slot.file:
                number = slot.documents["profile"].removeprefix("p-1.0.")
                assert (tmp_path / slots.FOLDER / slot.file).read_text() == f"{number}\n" * LINES, f"kill {kill}"
        path = slots.choose(tmp_path, own)
        active = slots.read(tmp_path).active.file
        # The first version ever, killed twice, gives way to the device's own profile: it has no version before it.
        assert path == (tmp_path / slots.FOLDER / active if active else own)
        seen.add(held.active.documents["profile"])
    assert len(seen) > 6, "it was killed in the middle of switches"


def test_an_agent_that_is_killed_while_a_profile_takes_over_runs_the_old_or_the_new_one(tmp_path: Path) -> None:
    found = run(2, 11, tmp_path)
    assert found["faults"] == []
    assert found["whole"] == 2
