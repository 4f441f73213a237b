"""This device's node key: EC P-384, as Flower's SuperLink takes it. Run by hand, never by the agent itself."""

import os
from pathlib import Path

from edge_agent.errors import SettingsError


def make(state_dir: Path, *, force: bool) -> tuple[Path, Path]:
    """Write `node.key` (readable by its owner only) and `node.pub`.

    Raises:
        SettingsError: there is a key already, or the folder cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = state_dir / "node.key", state_dir / "node.pub"
    if private.exists() and not force:
        raise SettingsError(f"{private} is there already", hint="keep it, or pass --force and enrol the device again")
    key = ec.generate_private_key(ec.SECP384R1())
    own = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    shown = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(own)
        public.write_bytes(shown + b"\n")
    except OSError as error:
        raise SettingsError(f"{state_dir}: {error.strerror}", hint="pass a --state-dir that you may write") from error
    return private, public
