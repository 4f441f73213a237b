"""Why something was refused, and what to do.

EdgeError                    `code`, `hint`, `exit_status`
├── UsageError               the command line asks for something that cannot be
├── WaiversInvalid           a file of waivers that cannot be used
├── EvidenceUnreadable       a ledger, key, seal or record that cannot be read
└── ProfileError             FW1xx: a profile that cannot be used; nothing of it is applied
    ├── ProfileUnreadable    no such file, not UTF-8, not TOML
    ├── ProfileMalformed     an unknown key, a wrong type, a value out of range
    ├── ProfileInconsistent  parts that contradict each other
    └── ExpressionError      a CEL expression that does not compile, or costs too much
"""

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
