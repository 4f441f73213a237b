"""Commands that documents show: every one is there, with the options that it is given."""

import re
import shlex
from pathlib import Path
from typing import Final

import click
import pytest

from coordinator.cli import main as coordinator_main
from edge_agent.commands.group import main as agent_main
from firmware_configs.cli import main as audit_main
from firmware_configs.cli_group import HELP_NAMES
from models.cli import main as models_main
from tests.docs.world import ROOT

PROGRAMS: Final = {
    "edge-agent": agent_main,
    "edge-coordinator": coordinator_main,
    "edge-audit": audit_main,
    "edge-models": models_main,
}
DOCUMENTS: Final = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK: Final = re.compile(r"^```(?:console|sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENDS: Final = re.compile(r"\s*(?:[|;]|&&|\|\||\s\d?>|\s&$|\)).*")
"""Where a command ends and another one, or the shell's own words, begin."""
LEADS: Final = re.compile(r"^(?:\S*=\S* |sudo (?:-u \S+ )?|env |until |! |\$ |\S*/bin/)+")
"""What may stand before a command."""


def written(text: str) -> list[str]:
    """The command lines of a document's blocks; a line that ends in a backslash goes on."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return [LEADS.sub("", line.strip()) for line in lines]


def programs(text: str) -> list[list[str]]:
    """Each command of ours in the blocks of a document, or mentioned whole between backticks: its words."""
    lines = [*written(text), *re.findall(r"`(edge-[a-z]+ [^`\n]*)`", text)]
    ours = [line for line in lines if (words := line.split(" "))[0] in PROGRAMS and not words[1].startswith("…")]
    return [shlex.split(ENDS.sub("", line.split(" #")[0].replace("…", "x"))) for line in ours]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists_with_its_options(document: Path) -> None:
    for program, *words in programs(document.read_text(encoding="utf-8")):
        found: click.Command = PROGRAMS[program]
        rest, said = list(words), " ".join([program, *words])
        while isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
            there = found.get_command(click.Context(found, help_option_names=HELP_NAMES), rest[0])
            assert there is not None, f"{said}: there is no `{rest[0]}`"
            found, rest = there, rest[1:]
        try:
            given, _, _ = found.make_parser(click.Context(found, help_option_names=HELP_NAMES)).parse_args(args=rest)
        except click.UsageError as error:
            pytest.fail(f"{said}: {error.message}")
        assert set(given) <= {
            param.name for param in found.get_params(click.Context(found, help_option_names=HELP_NAMES))
        }, said


def test_the_documents_show_hundreds_of_commands() -> None:
    """Or nothing was found in them, and nothing was held to anything."""
    assert sum(len(programs(document.read_text(encoding="utf-8"))) for document in DOCUMENTS) > 300
