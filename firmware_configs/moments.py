"""Times as people give them to a command: `7d` ago, or by the calendar."""

import re
from datetime import UTC, datetime

from firmware_configs.errors import UsageError

HINT = "write 7d, 12h, 30m, or a date such as 2026-11-01"
_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)([mhd])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment(text: str, now_ms: int, option: str) -> int:
    """Unix ms of `7d`, `12h`, `30m` ago, or of an ISO 8601 date or time (UTC where it names no zone).

    Args:
        option: what errors call it.
    Raises:
        UsageError: it is none of these.
    """
    if ago := _AGO.fullmatch(text):
        return max(0, now_ms - int(float(ago[1]) * _UNIT_MS[ago[2]]))
    try:
        found = datetime.fromisoformat(text)
        return max(0, int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000))
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text!r} is no time", hint=HINT) from None
