"""What a profile says in free words reaches no terminal, report or page as a command (docs/adr/0052)."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from firmware_configs import shown
from firmware_configs.cli import main
from firmware_configs.rules.examples import BASE, of

EVIL = "\x1b[2J\x1b]0;owned\x07\r\n::error::forged\u202e\u200b\x9b31m"
"""Clears a screen, names a window, begins a line of its own, turns and hides letters, C1."""
TOML = EVIL.encode("unicode_escape").decode().replace("\\x", "\\u00")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles whose every free text is hostile, and whose file is named so, too."""
    folder = tmp_path_factory.mktemp("hostile")
    text = BASE.replace('name = "Example homes"', f'name = "Example {TOML}"')
    text = text.replace('groups = ["people of the household"]', f'groups = ["people {TOML}"]')
    text = text.replace("Nothing of it is sent away.", f"Nothing {TOML} is sent.")
    text = text.replace('reason = "The air is good."', f'reason = "The air {TOML} is good."')
    text = text.replace('name = "co2"', f'name = "co2"\npath = "co2 {TOML}"')
    text = text.replace('"user.sensor"', f'"user.sensor {TOML}"')
    (folder / "a\x1b[2J\r\n::error::b.toml").write_text(text)
    (folder / "broken.toml").write_text(f'schema = 1\n"{TOML}" = 3\n')
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["check", "{folder}"],
        ["check", "{folder}", "--json"],
        ["check", "{folder}", "--format", "sarif"],
        ["check", "{folder}", "--format", "junit"],
        ["check", "{folder}", "--format", "github"],
        ["show", "{profile}"],
        ["why", "co2", "{profile}"],
        ["lineage", "{profile}"],
        ["lineage", "{profile}", "--format", "html"],
        ["lineage", "{profile}", "--format", "json"],
        ["diff", "{plain}", "{profile}"],
        ["diff", "{plain}", "{profile}", "--json"],
        *(["write", kind, "{profile}"] for kind in ("record", "dpia", "notice", "notice-short", "label", "retention")),
        ["show", "{broken}"],
    ],
    ids=" ".join,
)
def test_no_output_obeys_what_a_profile_says(words: list[str], hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.toml").write_text(BASE)
    profile = next(path for path in hostile.iterdir() if path.name != "broken.toml")
    places = {
        "folder": str(hostile), "profile": str(profile), "broken": str(hostile / "broken.toml"),
        "plain": str(tmp_path / "plain.toml"),
    }  # fmt: skip
    done = CliRunner().invoke(main, [word.format(**places) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.output
    bad = sorted({repr(char) for char in done.output if char != "\n" and not shown.is_shown(char)})
    assert bad == []
    assert not [line for line in done.output.split("\n") if line.startswith("::error::")]


def test_the_examples_of_rules_are_shown_as_they_are() -> None:
    assert "\x1b" not in of("DM002").failing
