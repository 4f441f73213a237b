"""A walk through the whole repository as a client makes it: by python-tuf's own rules, from the first root on."""

import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater

from coordinator.errors import AttestationInvalid, NameInvalid, RegistryDamaged
from coordinator.registry import name_and_version, role_of
from coordinator.shell.registry_store import Registry
from coordinator.shell.repository import ROLES
from firmware_configs import targets as names

SOON_DAYS = {"root": 60, "targets": 21, "snapshot": 7, "timestamp": 2}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be."""

    level: Literal["error", "warning"]
    where: str
    what: str
    fix: str


class FolderFetcher(FetcherInterface):
    """Reads a registry's folder as if it were served."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        if not path.is_file():
            raise exceptions.DownloadHTTPError(f"404 for {path.name}", 404)
        return iter([path.read_bytes()])


def verify(registry: Registry) -> list[Finding]:
    """Everything that is wrong, errors first."""
    found: list[Finding] = []
    with TemporaryDirectory() as trust:
        updater = Updater(
            metadata_dir=trust,
            metadata_base_url=f"file://{registry.metadata.absolute()}/",
            target_base_url=f"file://{registry.targets.absolute()}/",
            fetcher=FolderFetcher(),
            bootstrap=registry.repository.root_path(1).read_bytes(),
        )
        try:
            updater.refresh()
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            fix = "restore the registry's folder from a backup, or sign again: edge-coordinator registry sign"
            return [Finding(level="error", where="metadata", what=_short(error), fix=fix)]
        try:
            found += _walk(registry, updater)
        except RegistryDamaged as error:
            found.append(Finding(level="error", where="metadata", what=error.what, fix=error.hint))
    found += _keys(registry)
    return sorted(found, key=lambda one: one.level)


def _walk(registry: Registry, updater: Updater) -> Iterator[Finding]:
    now = datetime.datetime.now(datetime.UTC)
    for role in (*ROLES, *registry.repository.delegated()):
        left = (registry.repository.current(role).signed.expires - now).days
        if left < SOON_DAYS.get(role, SOON_DAYS["targets"]):
            fix = f"sign it again: edge-coordinator registry renew {role}"
            yield Finding(level="warning", where=role, what=f"it expires in {left} days", fix=fix)
    for role, signed in registry.repository.everything().items():
        for path, file in signed.targets.items():
            yield from _target(registry, updater, role, path)
            place = registry.file_of(file)
            if not place.is_file():
                yield Finding(level="error", where=path, what="its file is gone", fix=f"restore {place}")
            elif hashlib.sha256(place.read_bytes()).hexdigest() != file.hashes["sha256"]:
                fix = f"restore {place} from a backup; devices refuse what is there"
                yield Finding(level="error", where=path, what="its file is not what was signed", fix=fix)


def _target(registry: Registry, updater: Updater, role: str, path: str) -> Iterator[Finding]:
    try:
        name, version = name_and_version(path)
        owner = role_of(path)
    except NameInvalid as error:
        yield Finding(level="error", where=path, what=error.what, fix="take it out of what is signed")
        return
    if role not in ("targets", owner):
        yield Finding(level="error", where=path, what=f"signed by {role}, which it does not belong to", fix="remove it")
    try:
        if updater.get_targetinfo(path) is None:
            what = f"no client finds it: {role} may not sign for it"
            yield Finding(level="error", where=path, what=what, fix="publish it under another version")
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        yield Finding(level="error", where=role, what=_short(error), fix="sign the role again")
        return
    if not path.startswith("bundles/"):
        return
    try:
        if registry.attestation(name, version) is None:
            what = "nothing is attested of where it comes from"
            yield Finding(
                level="warning", where=path, what=what, fix="it is older than attestations; publish a new version"
            )
    except (AttestationInvalid, FileNotFoundError) as error:
        yield Finding(
            level="error", where=names.attestation(name, version), what=str(error), fix="publish a new version"
        )


def _keys(registry: Registry) -> Iterator[Finding]:
    root = registry.repository.current("root").signed
    held = root.get_delegated_role("root")
    if held.threshold < 2:
        fix = "fine for a demo; else: edge-coordinator registry rotate root --count 3 --threshold 2 --out FOLDER"
        yield Finding(level="warning", where="root", what="one key alone can replace every other", fix=fix)
    if at_hand := registry.keyring.unlocked(held.keyids):
        what = f"{len(at_hand)} of its keys lie under {registry.keyring.folders[0]} without a passphrase"
        fix = "keep them elsewhere; only timestamp, snapshot and bundles need keys here"
        yield Finding(level="warning", where="root", what=what, fix=fix)
    for one in registry.repository.waiting():
        fix = "edge-coordinator registry sign, or registry sign --drop"
        yield Finding(level="warning", where=one, what="a change waits for signatures", fix=fix)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
