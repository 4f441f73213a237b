"""The house rules that a machine can check."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge_agent", "coordinator", "models", "firmware_configs", "demo")
LINES_MAX = 500
FUNCTION_LINES_MAX = 70
BANNED_MODULES = {"utils", "helpers", "common", "base"}
BANNED_SUFFIXES = ("Manager", "Handler", "Service", "Processor", "Engine")


def _tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


SOURCES = _tracked("*.py")
OWN = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in PACKAGES]


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_no_file_is_too_long_to_hold_one_idea() -> None:
    long = [_named(path) for path in SOURCES if len(path.read_text().splitlines()) > LINES_MAX]
    assert long == [], "is there a second noun inside?"


def test_no_function_is_too_long_to_read_at_once() -> None:
    long = [
        f"{_named(path)}: {node.name}"
        for path in OWN
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_names_are_nouns_of_the_domain() -> None:
    banned = [_named(path) for path in OWN if path.stem in BANNED_MODULES]
    banned += [
        f"{_named(path)}: {node.name}"
        for path in OWN
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(BANNED_SUFFIXES)
    ]
    assert banned == []


def test_every_module_says_what_it_is() -> None:
    silent = [_named(path) for path in OWN if not ast.get_docstring(_tree(path))]
    assert silent == [], "a module docstring is missing"


def test_nothing_left_to_do_is_left_unsaid_in_code() -> None:
    word = re.compile(r"\b(TODO|FIXME|XXX)\b")
    found = [_named(p) for p in OWN if word.search(p.read_text())]
    assert found == []


def test_every_package_folder_can_be_found_by_setuptools() -> None:
    folders = {path.parent for path in OWN}
    assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_movielens_is_not_in_the_repository() -> None:
    assert [_named(p) for p in _tracked("*ratings*") if p.suffix != ".py"] == []


def test_no_merge_is_left_half_done() -> None:
    mark = re.compile(r"^(<<<<<<<|>>>>>>>)", re.MULTILINE)
    texts = [p for pattern in ("*.py", "*.md", "*.toml", "*.cfg") for p in _tracked(pattern)]
    assert [_named(p) for p in texts if mark.search(p.read_text())] == []
