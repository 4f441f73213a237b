"""An enrolled device that does not play by the rules.

Usage: python -m tests.coordinator.liar KIND SUPERLINK CA KEY RUN HASH
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from edge_agent.shell import fleet_wire as wire
from edge_agent.shell.fleet import Ask, Fleet, Reply, connect


def _bomb() -> wire.Part:
    """A header that claims ten terabytes, and nothing behind it."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "|i1", "fortran_order": False, "shape": (10**13,)})
    return wire.array_part("int8", (10**13,), buffer.getvalue())


def _lie(kind: str, fleet: Fleet, ask: Ask) -> Reply:
    names = list(ask.plan["names"])
    size = ask.arrays["shared"].size
    facts: dict[str, Any] = {
        "names": names,
        "scales": [1e30] * len(names),
        "examples": 2**20,
        "loss_before": 0.0,
        "loss_after": 0.0,
    }
    delta = wire.array_of(np.full(size, 127, np.int8))
    if kind == "bomb":
        delta = _bomb()
    if kind == "mumble":
        facts = {"names": "all of them", "scales": b"\x00\xff"}
    return fleet.reply(ask, {"delta": wire.arrays_part({"delta": delta}), "facts": wire.config_part(facts)})


def main(kind: str, superlink: str, ca: str, key: str, run: str, app_hash: str) -> None:
    until = time.monotonic() + 40
    with connect(superlink, ca, Path(key), run, app_hash, lambda: time.monotonic() < until) as fleet:
        while (ask := fleet.next()) is not None:
            fleet.send(_lie(kind, fleet, ask), 0.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
