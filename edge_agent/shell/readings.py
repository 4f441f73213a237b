"""What this machine knows of itself: its power supplies and load, and what its host tells in a file.

The file is JSON, such as `{"mains": true, "battery": 0.8, "metered": false, "load": 0.2}`; what it names counts instead
of what the system says. One that was not written lately says nothing.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.learn.checkin import Readings

SUPPLIES = Path("/sys/class/power_supply")
FRESH_S = 900.0
FILE_BYTES_MAX = 4_096


def read(told: str = "", supplies: Path = SUPPLIES) -> Readings:
    """The newest readings; what cannot be read is unknown.

    Args:
        told: path of the host's file; empty: there is none.
    """
    mains, battery = _power(supplies)
    own = Readings(mains=mains, battery=battery, load=_load())
    said = _told(Path(told)) if told else {}
    with suppress(msgspec.ValidationError):
        return msgspec.convert({**msgspec.to_builtins(own), **said}, Readings)
    return own


def _power(supplies: Path) -> tuple[bool | None, float | None]:
    """Whether there are mains, and the fullest battery's charge; no battery at all means mains."""
    if not supplies.is_dir():
        return None, None
    online: list[bool] = []
    charges: list[float] = []
    for one in sorted(supplies.iterdir()):
        with suppress(OSError, ValueError):
            # A mouse's or a phone's battery does not carry this machine.
            if (one / "scope").exists() and (one / "scope").read_text().strip() == "Device":
                continue
            if (one / "type").read_text().strip() == "Battery":
                charges.append(min(1.0, max(0.0, int((one / "capacity").read_text()) / 100)))
            else:
                online.append((one / "online").read_text().strip() != "0")
    if not charges:
        return True if not online else any(online), None
    return any(online), max(charges)


def _load() -> float | None:
    with suppress(OSError):
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    return None


def _told(path: Path) -> dict[str, object]:
    with suppress(OSError, msgspec.DecodeError):
        if time.time() - path.stat().st_mtime <= FRESH_S and path.stat().st_size <= FILE_BYTES_MAX:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    return {}
