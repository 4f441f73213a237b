"""One thing that was looked at, what was found, and what to do about it."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from firmware_configs.errors import EdgeError

Verdict = Literal["ok", "warn", "fail"]
RANKS: dict[Verdict, int] = {"ok": 0, "warn": 1, "fail": 2}
MARKS: dict[Verdict, str] = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


class Check(Struct, frozen=True, kw_only=True):
    """A finding.

    Attributes:
        name: what was looked at, such as `broker`.
        verdict: ok; warn: it works, but not for long or not well; fail: it does not work.
        what: the finding, with its figures.
        fix: what to do; empty when all is well.
    """

    name: str
    verdict: Verdict
    what: str
    fix: str = ""


def ok(name: str, what: str) -> Check:
    return Check(name=name, verdict="ok", what=what)


def warn(name: str, what: str, fix: str) -> Check:
    return Check(name=name, verdict="warn", what=what, fix=fix)


def fail(name: str, what: str, fix: str) -> Check:
    return Check(name=name, verdict="fail", what=what, fix=fix)


def failed(name: str, error: EdgeError) -> Check:
    """The finding that an error of ours makes."""
    return fail(name, f"[{error.code}] {error.what}", error.hint)


def exit_code(checks: Iterable[Check]) -> int:
    """0 all ok, 1 something to watch, 2 something that does not work."""
    return max((RANKS[check.verdict] for check in checks), default=0)


def in_words(checks: Iterable[Check]) -> list[str]:
    """A line a check, and a second one with the fix."""
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check.verdict]}  {check.name:<12} {check.what}")
        if check.fix:
            lines.append(f"      {'':<12} fix: {check.fix}")
    return lines
