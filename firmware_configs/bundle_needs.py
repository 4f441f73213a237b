"""What a bundle declares, read from its bundle.toml alone: the auditor needs no model code and no runtime."""

import tomllib
import zipfile
from pathlib import Path
from typing import Any

from firmware_configs.errors import UsageError
from firmware_configs.lineage import BundleNeeds

SPEC_BYTES_MAX = 1_048_576


def read_needs(path: Path) -> BundleNeeds:
    """The declared inputs of a bundle.

    Raises:
        UsageError: no such file, or it is no bundle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("bundle.toml").file_size > SPEC_BYTES_MAX:
                raise UsageError(f"{path}: bundle.toml is too large", hint="this is no edgeward bundle")
            spec = tomllib.loads(archive.read("bundle.toml").decode())
            card = _card(archive)
        features = [_feature(f) for given in spec["inputs"] for f in given.get("features", [])]
        return BundleNeeds(
            name=str(spec["name"]),
            version=str(spec["version"]),
            needed_fields=tuple(str(name) for name in spec.get("needed_fields", [])),
            features=tuple(features),
            card=card,
        )
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise UsageError(f"{path}: cannot be read as a bundle ({error})", hint="pass a .edgeward file") from None


def _card(archive: zipfile.ZipFile) -> str:
    """The bundle's card; empty where there is none, or none that a person could read."""
    if "card.md" not in archive.namelist() or archive.getinfo("card.md").file_size > SPEC_BYTES_MAX:
        return ""
    return archive.read("card.md").decode(errors="replace")


def _feature(feature: dict[str, Any]) -> tuple[str, str]:
    field = str(feature.get("field", ""))
    return f"{feature['kind']}({field or feature.get('source', '')})", field
