"""Documents that name a path, a make target or a command must be right."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.commands import group

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PATH = re.compile(
    r"`((?:edge_agent|coordinator|models|firmware_configs|tests|docs|data|demo|tools|flower-app|examples)/[\w./-]*)`"
)
TARGET = re.compile(r"\bmake ([a-z-]+)\b")
COMMAND = re.compile(r"`(edge-(?:agent|coordinator|models|audit)) ([a-z]+)")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    missing = [path for path in PATH.findall(document.read_text()) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(TARGET.findall("\n".join(re.findall(r"`[^`]+`|```.*?```", document.read_text(), flags=re.DOTALL))))
    assert named - targets == set()


def test_every_command_that_a_document_names_has_help() -> None:
    named = {pair for document in DOCUMENTS for pair in COMMAND.findall(document.read_text())}
    assert named
    for program, word in sorted(named):
        done = CliRunner().invoke(group(program), [word, "--help"])
        assert done.exit_code == 0, f"{program} {word}: {done.output}"
