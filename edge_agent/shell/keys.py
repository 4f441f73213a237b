"""This device's node key: EC P-384, as Flower's SuperLink takes it; made, and replaced by the next one, by hand."""

import os
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import SettingsError

NEXT = ".next"
"""Ends the name of a key that the coordinator does not know yet."""
NODE = ".node"
"""Ends the name of the file beside a key that holds Flower's id of its node."""
NODE_MAX = 2**64 - 1


def make(state_dir: Path, *, force: bool) -> tuple[Path, Path]:
    """Write `node.key` (readable by its owner only) and `node.pub`.

    Raises:
        SettingsError: there is a key already, or the folder cannot be written.
    """
    private, public = state_dir / "node.key", state_dir / "node.pub"
    if private.exists() and not force:
        raise SettingsError(
            f"{private} is there already",
            hint="keep it; or replace it with `edge-agent keys rotate`; or pass --force and enrol the device again",
        )
    return _write(private, public)


def prepare_next(state_dir: Path) -> tuple[Path, Path]:
    """Write `node.key.next` and `node.pub.next` beside the key in use; those that are there already are kept.

    The learner takes the next key up by itself as soon as the coordinator accepts it and no longer the old one.

    Raises:
        SettingsError: there is no key yet, or the folder cannot be written.
    """
    private, public = state_dir / "node.key", state_dir / "node.pub"
    if not private.exists():
        raise SettingsError(f"there is no {private}", hint="make the first one with `edge-agent keys new`")
    following = next_of(private), next_of(public)
    if all(path.exists() for path in following):
        return following
    return _write(*following)


def next_of(path: Path) -> Path:
    """Where the key lies that is to follow the one at `path`."""
    return path.with_name(path.name + NEXT)


def adopt(private: Path) -> None:
    """Put the next key in the place of the one that was in use."""
    public = private.with_suffix(".pub")
    # The private one last: until then the next start finds the next key beside it.
    if next_of(public).exists():
        next_of(public).replace(public)
    with suppress(FileNotFoundError):
        _note_of(next_of(private)).replace(_note_of(private))
    next_of(private).replace(private)


def node_of(private: Path) -> int:
    """Flower's id of the node with this key, as it was noted; 0: unknown."""
    try:
        said = _note_of(private).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(said) if said.isdecimal() and len(said) <= len(str(NODE_MAX)) and int(said) <= NODE_MAX else 0


def note_node(private: Path, node: int) -> None:
    """Note it beside the key: it stays the same for as long as the key is enrolled.

    A folder that cannot be written is no fault: the id only saves a device that was cut a minute of waiting.
    """
    with suppress(OSError):
        if node_of(private) != node:
            _note_of(private).write_text(f"{node}\n", encoding="ascii")


def _note_of(private: Path) -> Path:
    return private.with_name(private.name + NODE)


def _write(private: Path, public: Path) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    own = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    shown = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(own)
        public.write_bytes(shown + b"\n")
    except OSError as error:
        raise SettingsError(
            f"{private.parent}: {error.strerror}", hint="pass a --state-dir that you may write"
        ) from error
    return private, public
