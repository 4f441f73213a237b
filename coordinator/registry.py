"""What may be published, as rules without a disk: names, versions, immutability."""

from collections.abc import Collection
from pathlib import PurePosixPath

from packaging.version import InvalidVersion, Version

from coordinator.errors import NameInvalid, VersionStale, VersionTaken

FOLDER = "bundles"
SUFFIX = ".edgeward"


def target_name(bundle: str, version: str) -> str:
    """The path of a bundle in the registry: `bundles/NAME-VERSION.edgeward`."""
    return f"{FOLDER}/{bundle}-{version}{SUFFIX}"


def parts(target: str) -> tuple[str, str]:
    """(bundle, version) of a target's path.

    Raises:
        NameInvalid: it is no bundle's path.
    """
    path = PurePosixPath(target)
    name, _, version = path.name.removesuffix(SUFFIX).rpartition("-")
    try:
        known = str(Version(version)) == version
    except InvalidVersion:
        known = False
    if str(path.parent) != FOLDER or not path.name.endswith(SUFFIX) or not name or not known:
        raise NameInvalid(f"`{target}` names no bundle", hint=f"write {FOLDER}/NAME-VERSION{SUFFIX}")
    return name, version


def versions(targets: Collection[str], bundle: str) -> list[str]:
    """The published versions of a bundle, oldest first."""
    found = [version for name, version in map(parts, targets) if name == bundle]
    return sorted(found, key=Version)


def may_publish(targets: Collection[str], bundle: str, version: str) -> str:
    """The target's path, when the version may be published.

    A version is never published twice, and never behind the newest: whoever has a version number has one content.

    Raises:
        VersionTaken: it is there already.
        VersionStale: a newer one is there.
        NameInvalid: name or version are none.
    """
    target = target_name(bundle, version)
    parts(target)
    there = versions(targets, bundle)
    if version in there:
        raise VersionTaken(f"{bundle} {version} is published already", hint=f"raise the version above {there[-1]}")
    if there and Version(version) < Version(there[-1]):
        raise VersionStale(f"{bundle} {version} is older than {there[-1]}", hint=f"raise the version above {there[-1]}")
    return target


def next_version(targets: Collection[str], bundle: str, parent: str) -> str:
    """The version of a round's result: the parent's release with its last number raised, free to publish."""
    there = versions(targets, bundle)
    newest = max([Version(parent), *map(Version, there)])
    major, minor, patch = (*newest.release, 0, 0)[:3]
    return f"{major}.{minor}.{patch + 1}"
