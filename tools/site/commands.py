"""The four commands as pages: every command with its words and options, as `--help` has them."""

from collections.abc import Iterator
from typing import Final

import click

from coordinator.cli import main as coordinator
from edge_agent.commands.group import main as agent
from firmware_configs.cli import main as audit
from firmware_configs.cli_group import HELP_NAMES, EdgeGroup
from models.cli import main as models

PROGRAMS: Final[dict[str, click.Group]] = {
    "edge-agent": agent,
    "edge-models": models,
    "edge-coordinator": coordinator,
    "edge-audit": audit,
}
EXIT_CODES = "Exit codes: 0 done; 1 the work failed, or what was looked at is not in order; 2 asked for in a wrong way."


def page(program: str) -> str:
    """One program's page in Markdown."""
    group = PROGRAMS[program]
    lines = [f"# {program}", "", _said(group), "", EXIT_CODES, ""]
    if isinstance(group, EdgeGroup) and group.examples:
        lines += ["```console", *(f"$ {line.strip()}" for line in group.examples.strip().splitlines()), "```", ""]
    for words, command in walk(group, (program,)):
        lines += [f"## {' '.join(words[1:])}", "", _said(command), "", *_usage(words, command), *_options(command)]
    return "\n".join(lines).rstrip() + "\n"


def walk(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group that is not hidden, a group before its own, with the words that call it."""
    context = click.Context(group, help_option_names=HELP_NAMES)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from walk(command, (*words, name))


def _said(command: click.Command) -> str:
    """The help text: paragraphs flow; what `\\b` marks stays as it is written."""
    told = []
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            told.append("```text\n" + paragraph.removeprefix("\b\n") + "\n```")
        else:
            told.append(escaped(" ".join(paragraph.split())))
    return "\n\n".join(told)


def _usage(words: tuple[str, ...], command: click.Command) -> list[str]:
    with click.Context(command, info_name=" ".join(words), help_option_names=HELP_NAMES) as context:
        pieces = " ".join(command.collect_usage_pieces(context))
    return ["```text", f"{' '.join(words)} {pieces}".rstrip(), "```", ""]


def _options(command: click.Command) -> list[str]:
    rows = []
    with click.Context(command, help_option_names=HELP_NAMES) as context:
        for param in command.get_params(context):
            record = param.get_help_record(context) if isinstance(param, click.Option) else None
            if record is not None and "--help" not in param.opts:
                rows.append(f"| `{cell(record[0])}` | {cell(escaped(record[1]))} |")
    return ["| option | meaning |", "|---|---|", *rows, ""] if rows else []


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_") if "`" not in text else text


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
