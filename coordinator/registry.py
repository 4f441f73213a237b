"""What may be published, as rules without a disk: names, versions, immutability, and what may go as garbage."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from packaging.version import InvalidVersion, Version

from coordinator.errors import NameInvalid, VersionStale, VersionTaken
from firmware_configs import targets

FOLDER = "bundles"
SUFFIX = targets.BUNDLE
NAME = re.compile(r"^[a-z][a-z0-9-]{0,62}$")
"""As the profile language has it: of bundles, fleets and documents; it becomes part of paths and of roles."""
FOLDERS = frozenset({"bundles", "attestations", "profiles", "experiments", "approved"})
SUFFIXES = (targets.ATTESTATION, targets.BUNDLE, targets.DOCUMENT)


def target_name(bundle: str, version: str) -> str:
    """The path of a bundle in the registry: `bundles/NAME-VERSION.edgeward`."""
    return targets.bundle(bundle, version)


def parts(target: str) -> tuple[str, str]:
    """(bundle, version) of a bundle's path.

    Raises:
        NameInvalid: it is no bundle's path.
    """
    path = PurePosixPath(target)
    if str(path.parent) != FOLDER or not path.name.endswith(SUFFIX):
        raise NameInvalid(f"`{target}` names no bundle", hint=f"write {FOLDER}/NAME-VERSION{SUFFIX}")
    return name_and_version(target)


def name_and_version(target: str) -> tuple[str, str]:
    """(name, version) of any target's path.

    Raises:
        NameInvalid: it is no path of a registry.
    """
    path = PurePosixPath(target)
    suffix = next((one for one in SUFFIXES if path.name.endswith(one)), "")
    name, _, version = path.name.removesuffix(suffix).rpartition("-")
    try:
        known = str(Version(version)) == version
    except InvalidVersion:
        known = False
    if not known or not suffix or not NAME.match(name) or path.parts[0] not in FOLDERS or str(path) != target:
        raise NameInvalid(f"`{target}` names nothing of a registry", hint=f"write {FOLDER}/NAME-VERSION{SUFFIX}")
    return name, version


def versions(targets_: Collection[str], bundle: str) -> list[str]:
    """The published versions of a bundle, oldest first; paths of other kinds are passed over."""
    bundles = (path for path in targets_ if path.startswith(f"{FOLDER}/"))
    found = [version for name, version in map(parts, bundles) if name == bundle]
    return sorted(found, key=Version)


def may_publish(targets_: Collection[str], bundle: str, version: str) -> str:
    """The target's path, when the version may be published.

    A version is never published twice, and never behind the newest: whoever has a version number has one content.

    Raises:
        VersionTaken: it is there already.
        VersionStale: a newer one is there.
        NameInvalid: name or version are none.
    """
    target = target_name(bundle, version)
    parts(target)
    _refuse_behind(bundle, version, versions(targets_, bundle))
    return target


def may_publish_document(there: Collection[str], target: str) -> str:
    """The same for a profile or experiments: versions of one name rise, whoever signs them.

    Raises:
        VersionTaken, VersionStale, NameInvalid: see `may_publish`.
    """
    name, version = name_and_version(target)
    fleet = PurePosixPath(target).parts[1]
    kinds = {"experiments"} if target.startswith("experiments/") else {"profiles", "approved"}
    same = [
        name_and_version(one)[1]
        for one in there
        if PurePosixPath(one).parts[0] in kinds
        and PurePosixPath(one).parts[1] == fleet
        and name_and_version(one)[0] == name
    ]
    _refuse_behind(name, version, sorted(same, key=Version))
    return target


def _refuse_behind(name: str, version: str, there: list[str]) -> None:
    if version in there:
        raise VersionTaken(f"{name} {version} is published already", hint=f"raise the version above {there[-1]}")
    if there and Version(version) < Version(there[-1]):
        raise VersionStale(f"{name} {version} is older than {there[-1]}", hint=f"raise the version above {there[-1]}")


def next_version(targets_: Collection[str], bundle: str, parent: str) -> str:
    """The version of a round's result: the parent's release with its last number raised, free to publish."""
    there = versions(targets_, bundle)
    newest = max([Version(parent), *map(Version, there)])
    major, minor, patch = (*newest.release, 0, 0)[:3]
    return f"{major}.{minor}.{patch + 1}"


def role_of(target: str) -> str:
    """The role that signs a target.

    Raises:
        NameInvalid: nobody does.
    """
    name, _ = name_and_version(target)
    steps = PurePosixPath(target).parts
    match steps[0]:
        case "bundles" | "attestations" if len(steps) == 2:
            return targets.role_of_bundle(name)
        case "profiles" | "experiments" if len(steps) == 3:
            return targets.role_of_fleet(steps[1])
        case "approved" if len(steps) == 3:
            return targets.role_of_approvers(steps[1])
    raise NameInvalid(f"`{target}` names nothing that a registry holds", hint="see docs/registry.md for the paths")


def garbage(
    published: Mapping[str, Iterable[str]], keep: int, needed: Collection[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The (bundle, version) pairs that may go, oldest first.

    What is needed stays, and so does the version just before it: that is what it would be rolled back to.

    Args:
        published: bundle → its versions.
        keep: newest versions of each bundle that stay; at least one does.
        needed: (bundle, version) that devices run or are wanted to run, or that a rollout would return to.
    """
    gone: list[tuple[str, str]] = []
    for bundle, there in sorted(published.items()):
        rising = sorted(there, key=Version)
        stays = set(rising[-max(1, keep) :])
        for place, version in enumerate(rising):
            if (bundle, version) in needed:
                stays.update(rising[max(0, place - 1) : place + 1])
        gone += [(bundle, version) for version in rising if version not in stays]
    return gone
