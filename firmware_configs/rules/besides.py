"""What the auditor tells besides its rules: profiles that do not load, and waivers that somebody must look at."""

from collections.abc import Iterator
from typing import Final

from firmware_configs.rules.examples import Example
from firmware_configs.rules.rule import AuditRule, Case, Where

UNREADABLE: Final = "DM000"
EXPIRED: Final = "DM901"
IDLE: Final = "DM902"
FAR: Final = "DM903"


def _found_elsewhere(case: Case) -> Iterator[Where]:
    """Nothing: these are found when a profile is read, or when waivers are laid over the findings."""
    del case
    yield from ()


BESIDES: Final = (
    AuditRule(
        code=UNREADABLE,
        level="error",
        title="Not a profile that a device would take",
        why="It does not load, so nothing of it can be audited, and no device would run it.",
        check=_found_elsewhere,
    ),
    AuditRule(
        code=EXPIRED,
        level="warning",
        title="Waiver that has ended",
        why="Somebody said until when it may stay as it is. That day is over, and what was waived counts again.",
        check=_found_elsewhere,
    ),
    AuditRule(
        code=IDLE,
        level="note",
        title="Waiver of nothing",
        why="What it excused is gone, or never was. Left there, it excuses the next one, which nobody has looked at.",
        check=_found_elsewhere,
    ),
    AuditRule(
        code=FAR,
        level="note",
        title="Waiver without an end in sight",
        why="A reason holds for as long as somebody remembers it. More than a year ahead, nobody looks at it again.",
        check=_found_elsewhere,
    ),
)
_WAIVER = """
[[waiver]]
code = "{code}"
reason = "Noise comes with the next firmware, see ticket 12."
until = {until}
"""
EXAMPLES: Final = {
    UNREADABLE: Example(failing="schema = ", passing="schema = 1"),
    EXPIRED: Example(
        failing=_WAIVER.format(code="DM204", until="2020-01-31"),
        passing="# the waiver is gone and the profile mended, or it has a new day",
    ),
    IDLE: Example(
        failing=_WAIVER.format(code="DM204", until="2027-01-31"),
        passing="# no waiver of DM204, for no profile is found with it",
    ),
    FAR: Example(
        failing=_WAIVER.format(code="DM204", until="2099-01-31"),
        passing=_WAIVER.format(code="DM204", until="2027-01-31"),
    ),
}
"""Code → what brings it about in a profile or a file of waivers, and the same mended."""
