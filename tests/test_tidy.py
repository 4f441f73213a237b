"""The house rules that a machine can check."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_no_file_is_too_long_to_hold_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX, "is there a second noun inside?"


@pytest.mark.parametrize("path", OWN, ids=_named)
def test_no_function_is_too_long_to_read_at_once(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("path", OWN, ids=_named)
def test_names_are_nouns_of_the_domain(path: Path) -> None:
    assert path.stem not in BANNED_MODULES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(BANNED_SUFFIXES), node.name


@pytest.mark.parametrize("path", OWN, ids=_named)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "a module docstring is missing"


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
