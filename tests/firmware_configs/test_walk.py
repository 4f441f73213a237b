"""What README.md shows a privacy officer is typed in as it stands, in its order; so is the walk in docs/privacy.md."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from firmware_configs.cli import main

ROOT = Path(__file__).parents[2]
SLOW = "minimise"


def _commands(document: str, heading: str) -> list[str]:
    """The commands of the first console block under a heading."""
    text = (ROOT / document).read_text()
    block = re.search(rf"^## {re.escape(heading)}.*?```console\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE)
    assert block is not None, f"{document} has no commands under `{heading}`"
    return [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]


def _typed(command: str) -> tuple[int, str]:
    program, *words = shlex.split(command, comments=True)
    assert program == "edge-audit"
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), command
    return done.exit_code, done.output


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone, as far as these commands go; what they write stays out of this one."""
    for name in ("firmware_configs", "examples", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("document", "heading"),
    [("README.md", "For privacy officers: `edge-audit`"), ("docs/privacy.md", "Ten minutes")],
)
def test_an_officer_types_what_the_document_shows_and_it_works(document: str, heading: str, clone: Path) -> None:
    commands = _commands(document, heading)
    assert len(commands) >= 8
    for command in commands:
        if SLOW in command:
            continue
        code, said = _typed(command)
        widens = "--fail-on widen" in command
        assert code == (1 if widens else 0), f"{command}\n{said}"
        assert said
        words = shlex.split(command, comments=True)
        for option, out in pairwise(words):
            assert option != "--out" or (clone / out).stat().st_size > 0


@pytest.mark.slow
def test_the_least_that_would_serve_is_found_in_the_data_of_the_repository(clone: Path) -> None:
    (command,) = [one for one in _commands("README.md", "For privacy officers: `edge-audit`") if SLOW in one]
    code, said = _typed(command)
    assert code == 0, said
    assert (clone / "smaller.toml").exists()
