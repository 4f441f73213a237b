"""Where a test holds a real process between two durable steps, to kill it or what it depends on there.

Without `EDGE_COORDINATOR_FAULT` in its environment a process passes every point at the cost of one look-up.
"""

import os
import time
from pathlib import Path

VARIABLE = "EDGE_COORDINATOR_FAULT"
HOLD_S = 60.0


def point(name: str, number: int = 0) -> None:
    """Pass, unless the file that the variable names says this point: then wait there until it says so no more.

    Args:
        name: of the durable step that has just been done, such as `closing`.
        number: of the round; the file says `closing:2`. 0: of none.
    """
    where = os.environ.get(VARIABLE)
    name = f"{name}:{number}" if number else name
    if where and _says(Path(where), name):
        Path(f"{where}.held").write_text(f"{name} {os.getpid()}")
        until = time.monotonic() + HOLD_S
        while time.monotonic() < until and _says(Path(where), name):
            time.sleep(0.01)


def _says(path: Path, name: str) -> bool:
    try:
        return path.read_text() == name
    except OSError:
        return False
