"""Read a profile, or say exactly what is wrong with it."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from firmware_configs import strict
from firmware_configs.consistency import faults
from firmware_configs.errors import ProfileInconsistent, ProfileMalformed, ProfileUnreadable
from firmware_configs.profile import Profile
from firmware_configs.shown import line


class Loaded(Struct, frozen=True, kw_only=True):
    """A profile that can be used."""

    profile: Profile
    path: str
    hash: str
    """sha256 (hex) of the profile in canonical msgpack: the same for the same meaning."""


def load(path: Path) -> Loaded:
    """Read, type-check and cross-check a profile.

    Raises:
        ProfileUnreadable: no such file, too large, not UTF-8, not TOML (with line and column).
        ProfileMalformed: an unknown key (with the nearest right one), a wrong type, a value out of range.
        ProfileInconsistent: parts that contradict each other, all of them at once.
    """
    return parse(strict.read_text(path, ProfileUnreadable), str(path))


def load_shown(path: Path) -> Profile:
    """A profile to be told to people: each of its texts is one line, with nothing hidden in it (`shown`).

    Raises:
        ProfileError: as `load`.
    """
    plain = _plain(msgspec.to_builtins(load(path).profile))
    return strict.convert(plain, Profile, str(path), ProfileMalformed)


def _plain(value: Any) -> Any:
    match value:
        case str():
            return line(value)
        case dict():
            return {line(key) if isinstance(key, str) else key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return value


def parse(text: str, path: str = "profile") -> Loaded:
    """`load` for a document at hand; `path` is what errors call it."""
    document = strict.read_toml(text, path, ProfileUnreadable)
    profile = strict.convert(document, Profile, path, ProfileMalformed)
    if wrong := faults(profile):
        listed = "\n".join(f"  {line(f.where)}: {line(f.what)}\n    fix: {line(f.fix)}" for f in wrong)
        raise ProfileInconsistent(
            f"{line(path)}: {len(wrong)} contradiction{'s' if len(wrong) > 1 else ''}\n{listed}",
            hint="mend the places above",
        )
    return Loaded(profile=profile, path=path, hash=profile_hash(profile))


def profile_hash(profile: Profile) -> str:
    """sha256 (hex) of the profile's canonical msgpack."""
    return hashlib.sha256(msgspec.msgpack.encode(profile, order="deterministic")).hexdigest()
