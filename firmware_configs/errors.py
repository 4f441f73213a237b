"""Why something was refused, and what to do.

EdgeError                    `code`, `hint`, `exit_status`
├── UsageError               the command line asks for something that cannot be
├── WaiversInvalid           a file of waivers that cannot be used
├── EvidenceUnreadable       a ledger, key, seal or record that cannot be read
├── SystemRefused            the system refused a file, a disk or a name that was given
├── ServiceRefused           a systemd service is not installed, or not taken away; nothing was left behind
└── ProfileError             FW1xx: a profile that cannot be used; nothing of it is applied
    ├── ProfileUnreadable    no such file, not UTF-8, not TOML
    ├── ProfileMalformed     an unknown key, a wrong type, a value out of range
    ├── ProfileInconsistent  parts that contradict each other
    ├── ExpressionError      a CEL expression that does not compile, or costs too much
    └── CaptureUnknown       it lets pages capture nothing, or nothing of that name
"""

import errno
from typing import ClassVar


class EdgeError(Exception):
    """Base of every error that we raise on purpose; a programmer's mistake is never one."""

    code: ClassVar[str] = "EDGE000"
    exit_status: ClassVar[int] = 1
    """What a command exits with: 1 when the work failed, 2 when it was asked for in a wrong way."""

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(f"[{self.code}] {what}\n  fix: {hint}")
        self.what = what
        self.hint = hint


class UsageError(EdgeError):
    code: ClassVar[str] = "FW001"
    exit_status: ClassVar[int] = 2


class WaiversInvalid(EdgeError):
    code: ClassVar[str] = "FW002"
    exit_status: ClassVar[int] = 2


class EvidenceUnreadable(EdgeError):
    code: ClassVar[str] = "FW003"
    exit_status: ClassVar[int] = 2


class ServiceRefused(EdgeError):
    code: ClassVar[str] = "FW004"
    exit_status: ClassVar[int] = 2


class SystemRefused(EdgeError):
    code: ClassVar[str] = "FW005"


class ProfileError(EdgeError):
    code: ClassVar[str] = "FW100"
    exit_status: ClassVar[int] = 2


class ProfileUnreadable(ProfileError):
    code: ClassVar[str] = "FW101"


class ProfileMalformed(ProfileError):
    code: ClassVar[str] = "FW102"


class ProfileInconsistent(ProfileError):
    code: ClassVar[str] = "FW103"


class ExpressionError(ProfileError):
    code: ClassVar[str] = "FW104"


class CaptureUnknown(ProfileError):
    code: ClassVar[str] = "FW105"


_HINTS = {
    errno.EACCES: "give this user the right to it, or name another place",
    errno.EPERM: "give this user the right to it, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: "make room on that disk, or name another place",
    errno.EDQUOT: "make room on that disk, or name another place",
    errno.EADDRINUSE: "stop what listens there, or name another port",
}


def refused(error: OSError) -> SystemRefused:
    """What the system would not do, in words for whoever gave the path or the name."""
    what = error.strerror or str(error) or type(error).__name__
    place = f"{str(error.filename)[:200]}: " if error.filename is not None else ""
    return SystemRefused(
        f"{place}{what}", hint=_HINTS.get(error.errno or 0, "check the path or the name that was given")
    )
