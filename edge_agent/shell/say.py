"""What the agent says on stderr: one line a thing, text or JSON, never personal data, never a flood.

A line that comes again within a minute is counted, not said; when the minute is over it is said with its count. No code
says more than LINES_MAX different lines a minute.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from edge_agent.settings import LogSettings
from edge_agent.shell.clock import monotonic_s
from firmware_configs.shown import line as line_of

Tell = Callable[[str, str, str], None]
"""(level, code, text): what `Say` is to those who have something to say."""
RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
COLOURS = {"debug": "2", "info": "0", "warning": "33", "error": "31"}
QUIET_S = 60.0
LINES_MAX = 20
"""Lines of one code in a minute."""
TEXTS_MAX = 512
"""Texts remembered; then all are forgotten, and each may be said again."""
TEXT_MAX = 2_000
"""Characters of a line's text."""


class Quiet:
    """Decides what is said again, and how much was not."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._texts: dict[tuple[str, str], tuple[float, int]] = {}
        self._codes: dict[str, tuple[float, int, int]] = {}

    def passes(self, code: str, text: str) -> str | None:
        """What to add to the line, empty mostly; None: it is not said now."""
        now = self._now_s()
        since, unsaid = self._texts.get((code, text), (-QUIET_S, 0))
        if now - since < QUIET_S:
            self._texts[code, text] = (since, unsaid + 1)
            return None
        begun, said, dropped = self._codes.get(code, (now, 0, 0))
        if now - begun >= QUIET_S:
            begun, said = now, 0
        if said >= LINES_MAX:
            self._codes[code] = (begun, said, dropped + 1)
            return None
        self._codes[code] = (begun, said + 1, 0)
        if len(self._texts) >= TEXTS_MAX:
            self._texts.clear()
        self._texts[code, text] = (now, 0)
        notes = [f"again {unsaid:,} times since"] if unsaid else []
        notes += [f"{dropped:,} other lines of {code} were left out"] if dropped else []
        return f" ({'; '.join(notes)})" if notes else ""


class Say:
    """Writes log lines."""

    def __init__(self, settings: LogSettings, device: str, now_s: Callable[[], float] = monotonic_s) -> None:
        """Set up.

        Args:
            now_s: monotonic seconds, for what was said a minute ago.
        """
        self._least = RANKS[settings.level]
        self._json = settings.format == "json"
        self._device = device
        self._colour = sys.stderr.isatty()
        self._quiet = Quiet(now_s)

    def __call__(self, level: str, code: str, text: str) -> None:
        """Say one thing.

        Args:
            level: debug, info, warning or error.
            code: of an error, or a word such as `start`.
        """
        if RANKS[level] < self._least:
            return
        # A text may hold words of a stranger's.
        flat = line_of(" ".join(text.split()))[:TEXT_MAX]
        more = self._quiet.passes(code, flat)
        if more is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._json:
            word = {"time": now, "level": level, "device": self._device, "code": code, "text": flat + more}
            line = msgspec.json.encode(word).decode()
        else:
            shown = f"\033[{COLOURS[level]}m{level}\033[0m" if self._colour else level
            line = f"{now} {shown} {code} {flat}{more}"
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            return  # whoever read our log is gone, or its disk is full: that is no reason to stop deciding
