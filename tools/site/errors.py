"""Every error code as a page: what is said, what the fix is, and what happens meanwhile; read from the source."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import coordinator.errors
import edge_agent.errors
import firmware_configs.errors
import models.errors
from firmware_configs.errors import EdgeError
from tools.site.commands import cell

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("edge_agent", "models", "coordinator", "firmware_configs")
MODULES: Final = (edge_agent.errors, models.errors, coordinator.errors, firmware_configs.errors)
HEADINGS: Final = ("Devices: AGT", "Models: MOD", "Coordinator: CRD", "Profiles and the auditor: FW")
SAYINGS_MAX: Final = 4


def page() -> str:
    """The page in Markdown."""
    lines = [
        "# Errors",
        "",
        "Whatever is refused on purpose says `[CODE] what is wrong` and `fix: what to do`.",
        "A code never changes its meaning.",
        "The exit code of a command is 1 when the work failed, and 2 when it was asked for in a wrong way.",
        "Parts in braces are filled in when it is said.",
        "",
    ]
    sayings = found()
    for heading, module in zip(HEADINGS, MODULES, strict=True):
        lines += [f"## {heading}", "", "```text", (module.__doc__ or "").strip(), "```", ""]
        lines += ["| code | what it says, and the fix | name | exit |", "|---|---|---|---|"]
        for kind in sorted(classes(module.__name__), key=lambda one: one.code):
            said = [f"{what} → {fix}" if fix else what for what, fix in sayings.get(kind.__name__, [])]
            more = [f"and {len(said) - SAYINGS_MAX} more"] if len(said) > SAYINGS_MAX else []
            told = "<br>".join(cell(one) for one in [*said[:SAYINGS_MAX], *more])
            lines.append(f"| `{kind.code}` | {told} | {kind.__name__} | {kind.exit_status} |")
        lines.append("")
    return "\n".join(lines)


def classes(module: str) -> list[type[EdgeError]]:
    """The errors that a module defines."""
    found: list[type[EdgeError]] = []
    waiting: list[type[EdgeError]] = [EdgeError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__ == module and kind not in found:
            found.append(kind)
    return found


@cache
def found() -> dict[str, list[tuple[str, str]]]:
    """Name of an error → (what is said, the fix) at each place that makes one, without repetitions."""
    told: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, what, fix in _made(ast.parse(path.read_text(encoding="utf-8"))):
                told[name][what, fix] = None
    return {name: list(sayings) for name, sayings in told.items()}


def _made(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and node.args:
            hint = next((word.value for word in node.keywords if word.arg == "hint"), None)
            what = _text(node.args[0])
            if hint is not None and what:
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                yield name, what, _text(hint)


def _text(node: ast.expr) -> str:
    """A string as it is written, with the names of what is filled in; empty where it is made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return _shown(text)
        case ast.JoinedStr(values=values):
            return "".join(_shown(str(part.value)) if isinstance(part, ast.Constant) else _gap(part) for part in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
    return ""


def _gap(part: ast.expr) -> str:
    inner = part.value if isinstance(part, ast.FormattedValue) else part
    match inner:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return f"{{{name}}}"
    return "{…}"


def _shown(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")
