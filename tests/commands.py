"""The four commands, as click knows them, without a process each."""

import importlib
from collections.abc import Iterator

import click

_MODULES = {
    "edge-agent": "edge_agent.commands.group",
    "edge-models": "models.cli",
    "edge-coordinator": "coordinator.cli",
    "edge-audit": "firmware_configs.cli",
}
NAMES = tuple(_MODULES)


def group(name: str) -> click.Group:
    """A command by its name."""
    found = importlib.import_module(_MODULES[name]).main
    assert isinstance(found, click.Group)
    return found


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """(words, command) of everything below that is no group."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from leaves(one, (*path, name))
    else:
        yield path, command
