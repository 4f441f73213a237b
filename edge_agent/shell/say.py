"""What the agent says on stderr: one line a thing, text or JSON, never personal data."""

import sys
from datetime import UTC, datetime

import msgspec

from edge_agent.settings import LogSettings

RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
COLOURS = {"debug": "2", "info": "0", "warning": "33", "error": "31"}


class Say:
    """Writes log lines."""

    def __init__(self, settings: LogSettings, device: str) -> None:
        self._least = RANKS[settings.level]
        self._json = settings.format == "json"
        self._device = device
        self._colour = sys.stderr.isatty()

    def __call__(self, level: str, code: str, text: str) -> None:
        """Say one thing.

        Args:
            level: debug, info, warning or error.
            code: of an error, or a word such as `start`.
        """
        if RANKS[level] < self._least:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        flat = " ".join(text.split())
        if self._json:
            word = {"time": now, "level": level, "device": self._device, "code": code, "text": flat}
            line = msgspec.json.encode(word).decode()
        else:
            shown = f"\033[{COLOURS[level]}m{level}\033[0m" if self._colour else level
            line = f"{now} {shown} {code} {flat}"
        print(line, file=sys.stderr, flush=True)
