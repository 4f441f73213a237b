"""The signed registry of a home: what is published, by which role, with what is attested of it.

Each bundle and each fleet has a role of its own (`firmware_configs.targets`), so a key that is lost or stolen signs for
one of them only. Files lie under their hash; a version that is published never changes.
"""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct
from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from coordinator import registry
from coordinator.errors import NameInvalid, RegistryMissing, SignaturesMissing
from coordinator.provenance import Made, Statement, statement
from coordinator.shell.attesting import opened, seal, sealed_again
from coordinator.shell.keyring import Keyring, Passphrase, no_passphrase, read_public
from coordinator.shell.repository import ROLES, Repository, Signed, expiry, first_root
from firmware_configs import targets as names
from firmware_configs.loader import load
from models.bundle import open_bundle

DOCUMENT_BYTES_MAX: Final = 1_048_576


class Target(Struct, frozen=True, kw_only=True):
    """One published bundle."""

    bundle: str
    version: str
    path: str
    bytes: int
    sha256: str
    fleets: tuple[str, ...] = ()
    """Fleets that may run it; empty: all."""
    attested: bool = False
    pending: tuple[str, ...] = ()
    """Roles whose signatures are missing before anyone can fetch it."""


class Registry:
    """A repository under `home/registry`, its keys under `home/keys` and wherever else they are said to be."""

    def __init__(self, home: Path, keys: Sequence[Path] = (), passphrase: Passphrase = no_passphrase) -> None:
        self.home = home
        self.targets = home / "registry" / "targets"
        self.keyring = Keyring((home / "keys", *keys), passphrase)
        self.repository = Repository(home / "registry" / "metadata", home / "registry-pending", self.keyring)
        self.metadata = self.repository.metadata

    @classmethod
    def ensure(cls, home: Path) -> "Registry":
        """The registry of a home; at the first call one with a single key a role, for a demo or a small fleet."""
        own = cls(home)
        if not own.repository.there:
            with own.alone():
                keys = {role: [own.keyring.make(role)] for role in ROLES}
                own.create(keys, {})
        return own

    @classmethod
    def existing(cls, home: Path, keys: Sequence[Path] = (), passphrase: Passphrase = no_passphrase) -> "Registry":
        """The registry of a home.

        Raises:
            RegistryMissing: there is none.
        """
        own = cls(home, keys, passphrase)
        if not own.repository.there:
            raise RegistryMissing(
                f"no registry in {home}",
                hint=f"start one: edge-coordinator up --home {home}; for several keys: edge-coordinator registry init",
            )
        return own

    @property
    def root_path(self) -> Path:
        """The trusted root that new devices start from: the newest; older devices follow the chain to it."""
        return self.repository.root_path()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One change at a time, over all processes."""
        self.home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.home / "registry.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def create(self, keys: Mapping[str, Sequence[Key]], thresholds: dict[str, int]) -> dict[str, int]:
        """The first metadata of a registry; see `Repository.change` for what is returned."""
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.targets.mkdir(parents=True, exist_ok=True)
        root = first_root(keys, thresholds)
        return self.repository.change({"root": root, "targets": Targets(expires=expiry(1))})

    def published(self) -> list[Target]:
        """All bundles that are published, by name and version."""
        found = []
        everything = [
            (path, file) for signed in self.repository.everything().values() for path, file in signed.targets.items()
        ]
        attested = {path for path, _ in everything}
        for path, file in everything:
            if not path.startswith("bundles/"):
                continue
            bundle, version = registry.parts(path)
            found.append(
                Target(
                    bundle=bundle,
                    version=version,
                    path=path,
                    bytes=file.length,
                    sha256=file.hashes["sha256"],
                    fleets=tuple((file.custom or {}).get("fleets", ())),
                    attested=names.attestation(bundle, version) in attested,
                )
            )
        rank = {path: n for n, path in enumerate(_by_version([one.path for one in found]))}
        return sorted(found, key=lambda one: (one.bundle, rank[one.path]))

    def documents(self) -> list[TargetFile]:
        """Profiles and experiments of fleets."""
        files = [file for signed in self.repository.everything().values() for file in signed.targets.values()]
        return sorted((f for f in files if not f.path.startswith(("bundles/", "attestations/"))), key=lambda f: f.path)

    def publish(self, path: Path, made: Made | None = None, fleets: Sequence[str] = ()) -> Target:
        """Sign a bundle into the registry, and what is attested of it.

        Args:
            made: how it came to be; None: handed in, with what the bundle itself says.
            fleets: that may run it; empty: all.
        Raises:
            ModelError: the file is no whole bundle.
            VersionTaken, VersionStale: see `coordinator.registry.may_publish`.
            ChangePending, SignaturesMissing: a key is missing.
        """
        bundle = open_bundle(path)
        name, version = bundle.spec.name, bundle.spec.version
        with self.alone():
            target = registry.may_publish(self.paths(), name, version)
            raw = path.read_bytes()
            made = made or Made(parents={parent: self._digest(name, parent) for parent in bundle.spec.parents})
            role = names.role_of_bundle(name)
            changes = self._changes(role)
            held = changes[role]
            custom = {"fleets": sorted(fleets)} if fleets else {}
            sealed = self._sealed(role, changes, statement(name, target, bundle.sha256, made))
            for place, content, more in ((target, raw, custom), (names.attestation(name, version), sealed, {})):
                file = TargetFile.from_data(place, content, ["sha256"])
                if more:
                    file.unrecognized_fields["custom"] = more
                held.targets[place] = file
                self._lay(file, content)
            lacking = self.repository.change(changes)
        return Target(
            bundle=name,
            version=version,
            path=target,
            bytes=len(raw),
            sha256=bundle.sha256,
            fleets=tuple(sorted(fleets)),
            attested=True,
            pending=tuple(lacking),
        )

    def publish_document(
        self, path: Path, kind: Literal["profile", "experiment"], fleet: str, version: str, *, approved: bool
    ) -> tuple[TargetFile, dict[str, int]]:
        """Sign a profile or experiments for one fleet.

        Args:
            path: TOML; a profile is read and checked, and must be of this fleet.
            version: PEP 440; empty: the profile's own.
            approved: it goes to the role of the fleet's approvers, who all have to sign.
        Returns:
            The target, and role → signatures that are missing.
        Raises:
            ProfileError: it is no profile. NameInvalid: of another fleet.
            VersionTaken, VersionStale, ChangePending: see `publish`.
        """
        name = path.stem
        if kind == "profile":
            profile = load(path).profile
            name, version = profile.name, version or profile.version
            if profile.device.fleet != fleet:
                raise NameInvalid(
                    f"{path} is of the fleet `{profile.device.fleet}`",
                    hint=f"publish it with --fleet {profile.device.fleet}",
                )
        target = names.approved(fleet, name, version) if approved else names.document(kind, fleet, name, version)
        raw = path.read_bytes()
        with self.alone():
            there = [file.path for file in self.documents()]
            registry.may_publish_document(there, target)
            role = registry.role_of(target)
            changes = self._changes(role)
            file = TargetFile.from_data(target, raw, ["sha256"])
            changes[role].targets[target] = file
            self._lay(file, raw)
            return file, self.repository.change(changes)

    def approvers(self, fleet: str, keys: Sequence[Key], threshold: int) -> dict[str, int]:
        """Whose signatures a fleet's widening profile needs; replaces who it was before."""
        role = names.role_of_approvers(fleet)
        with self.alone():
            changes: dict[str, Signed] = dict(self._changes(role, keys=keys, threshold=threshold))
            if role in self.repository.delegated():
                top: Targets = self.repository.current("targets").signed
                _delegate(top, role, keys, threshold)
                changes["targets"] = top
            return self.repository.change(changes)

    def remove(self, pairs: Collection[tuple[str, str]]) -> dict[str, int]:
        """Take versions out of what is signed; their files go with the next sweep."""
        changes: dict[str, Signed] = {}
        for bundle, version in pairs:
            for role, signed in self.repository.everything().items():
                own = changes.get(role, signed)
                gone = (names.bundle(bundle, version), names.attestation(bundle, version))
                if isinstance(own, Targets) and any(one in own.targets for one in gone):
                    for one in gone:
                        own.targets.pop(one, None)
                    changes[role] = own
        return self.repository.change(changes) if changes else {}

    def refresh(self) -> list[str]:
        """Sign again what is growing old; run it at least weekly, `edge-coordinator up` does.

        Returns:
            Roles that only people can renew, and must.
        """
        with self.alone():
            return self.repository.refresh()

    def attestation(self, bundle: str, version: str) -> Statement | None:
        """What is attested of a version; None: nothing is.

        Raises:
            AttestationInvalid: it is not signed by the bundle's role, or about another file.
        """
        place, subject = names.attestation(bundle, version), names.bundle(bundle, version)
        for role, signed in self.repository.everything().items():
            if place in signed.targets and subject in signed.targets:
                raw = self.file_of(signed.targets[place]).read_bytes()
                parent = self.repository.current("targets" if role != "targets" else "root").signed
                keys = [parent.get_key(keyid) for keyid in parent.get_delegated_role(role).keyids]
                return opened(raw, keys, 1, subject, signed.targets[subject].hashes["sha256"])
        return None

    def seal_again(self, own: Targets, keys: Sequence[Key]) -> None:
        """Have new keys of a role sign the statements that the old ones signed; the statements stay as they are.

        Raises:
            SignaturesMissing: none of the keys is at hand.
        """
        attestations = [file for path, file in own.targets.items() if path.startswith("attestations/")]
        signers = self.keyring.signers(key.keyid for key in keys) if attestations else []
        if attestations and not signers:
            raise SignaturesMissing(
                "none of the new keys is at hand, and what is attested must be signed again",
                hint="name the folder that holds one: --keys FOLDER",
            )
        for file in attestations:
            raw = sealed_again(self.file_of(file).read_bytes(), signers)
            own.targets[file.path] = TargetFile.from_data(file.path, raw, ["sha256"])
            self._lay(own.targets[file.path], raw)

    def find(self, bundle: str, version: str) -> Path | None:
        """The published file of a version."""
        for target in self.published():
            if (target.bundle, target.version) == (bundle, version):
                path = Path(target.path)
                return self.targets / path.parent / f"{target.sha256}.{path.name}"
        return None

    def newest(self, bundle: str) -> str | None:
        """The newest published version of a bundle."""
        there = registry.versions(self.paths(), bundle)
        return there[-1] if there else None

    def paths(self) -> list[str]:
        """Paths of the bundles."""
        return [target.path for target in self.published()]

    def file_of(self, file: TargetFile) -> Path:
        """Where a target's bytes lie."""
        path = Path(file.path)
        return self.targets / path.parent / f"{file.hashes['sha256']}.{path.name}"

    def _digest(self, bundle: str, version: str) -> str:
        return next((t.sha256 for t in self.published() if (t.bundle, t.version) == (bundle, version)), "")

    def _lay(self, file: TargetFile, raw: bytes) -> None:
        """The bytes under their hash, whole or not at all, before anything leads to them."""
        place = self.file_of(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.part")
        with draft.open("wb") as opened_:
            opened_.write(raw)
            opened_.flush()
            os.fsync(opened_.fileno())
        draft.replace(place)

    def _sealed(self, role: str, changes: dict[str, Targets], what: Statement) -> bytes:
        owner = changes.get("targets") or self.repository.current("targets").signed
        signers = self.keyring.signers(owner.get_delegated_role(role).keyids)
        if not signers:
            raise SignaturesMissing(
                f"no key of the role {role} is at hand, and an attestation must be signed at once",
                hint="name the folder that holds one: --keys FOLDER",
            )
        return seal(what, signers)

    def _changes(self, role: str, keys: Sequence[Key] = (), threshold: int = 1) -> dict[str, Targets]:
        """The role's content, to be changed; and the top one's where the role is new, or an older registry kept the
        role's targets in it."""
        if role in self.repository.delegated():
            return {role: self.repository.current(role).signed}
        top: Targets = self.repository.current("targets").signed
        if not keys and role.startswith("approved-"):
            raise SignaturesMissing(
                f"nobody is named who approves for `{role.removeprefix('approved-')}`",
                hint="name them: edge-coordinator registry approvers FLEET --public-key FILE --public-key FILE",
            )
        _delegate(top, role, keys or [self._role_key(role)], threshold)
        own = Targets(expires=expiry(1))
        for path in [path for path in top.targets if registry.role_of(path) == role]:
            own.targets[path] = top.targets.pop(path)
        return {role: own, "targets": top}

    def _role_key(self, role: str) -> Key:
        beside = self.keyring.folders[0] / f"{role}.pub"
        return read_public(beside) if beside.exists() else self.keyring.make(role)


def _delegate(top: Targets, role: str, keys: Sequence[Key], threshold: int) -> None:
    """Name who signs a role; longer names are asked first, and whom a path belongs to is the last one asked."""
    if top.delegations is None:
        top.delegations = Delegations({}, {})
    roles = dict(top.delegations.roles or {})
    roles[role] = DelegatedRole(role, [], threshold, terminating=True, paths=names.patterns(role))
    top.delegations.roles = dict(sorted(roles.items(), key=lambda pair: names.order(pair[0])))
    for key in keys:
        top.add_key(key, role)
    used = {keyid for one in top.delegations.roles.values() for keyid in one.keyids}
    top.delegations.keys = {keyid: key for keyid, key in top.delegations.keys.items() if keyid in used}


def _by_version(paths: list[str]) -> list[str]:
    from packaging.version import Version

    return sorted(paths, key=lambda path: Version(registry.parts(path)[1]))
