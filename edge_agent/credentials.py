"""Where secrets come from: every setting that names a file of a secret may name a credential of systemd instead.

systemd hands credentials to a unit in a folder that only the unit's user can read, in memory that is never swapped, and
decrypts them with a key of the TPM or of the host where they were encrypted (`systemd-creds encrypt`). So a TPM serves
without a line of ours that speaks to it.
"""

import re
from collections.abc import Mapping
from pathlib import Path

PREFIX = "credential:"
UNIT_FOLDER = Path("/run/credentials/edgeward-agent.service")
"""Where systemd keeps the running agent's, for the commands beside it."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


def place(text: str, environment: Mapping[str, str]) -> Path | None:
    """The file of a setting such as `credential:relay`; None: it names a file.

    Raises:
        ValueError: no credential can have this name.
    """
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise ValueError(f"`{name}` is no name of a credential")
    return Path(environment.get("CREDENTIALS_DIRECTORY") or UNIT_FOLDER) / name


def is_credential(path: Path, environment: Mapping[str, str]) -> bool:
    """Whether systemd keeps this file: then its access is an access list, which a mode does not show."""
    folders = {UNIT_FOLDER, Path(environment.get("CREDENTIALS_DIRECTORY") or UNIT_FOLDER)}
    return path.parent in folders
