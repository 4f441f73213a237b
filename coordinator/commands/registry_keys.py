"""What the registry's commands have in common: where keys lie, the passphrase, and how missing signatures are told."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from coordinator.shell.registry_store import Registry

VARIABLE = "EDGE_REGISTRY_PASSPHRASE"

keys_option = click.option(
    "--keys",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with more keys, such as a stick; repeat.",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"Its first line is the passphrase; else {VARIABLE}, else it is asked for.",
)


def passphrase(file: Path | None, *, confirm: bool = False) -> bytes | None:
    """From the file, the environment, or the person at the terminal; None: there is none of them."""
    if file is not None:
        return file.read_bytes().split(b"\n", 1)[0].rstrip(b"\r") or None
    if said := os.environ.get(VARIABLE):
        return said.encode()
    if os.isatty(0):
        return str(click.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)).encode()
    return None


def opened(home: Path, keys: Sequence[Path] = (), passphrase_file: Path | None = None) -> "Registry":
    """The registry of a home, with the keys that are at hand."""
    from coordinator.shell.registry_store import Registry

    return Registry.existing(home, keys, lambda: passphrase(passphrase_file))


def missing_lines(missing: Mapping[str, int]) -> list[str]:
    """What still has to be signed, in words."""
    if not missing:
        return []
    lines = [f"{role} waits for {count} more signature{'s' if count > 1 else ''}" for role, count in missing.items()]
    return [*lines, "nobody sees the change before; next: edge-coordinator registry sign --keys FOLDER"]
