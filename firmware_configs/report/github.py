"""Findings as workflow commands, which GitHub shows as annotations of the lines."""

from firmware_configs.rules import Finding

_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


def line(finding: Finding) -> str:
    """One annotation."""
    at = f",line={finding.line}" if finding.line else ""
    title = _property(f"{finding.code} {finding.where}".strip())
    level = "notice" if finding.waived else _LEVELS[finding.level]
    waived = f" Waived: {finding.waived}." if finding.waived else ""
    text = _message(f"{finding.what}. Fix: {finding.fix}.{waived}")
    return f"::{level} file={_property(finding.path)}{at},title={title}::{text}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
