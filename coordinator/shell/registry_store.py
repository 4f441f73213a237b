"""The signed registry on disk: a TUF repository with consistent snapshots.

Metadata is written so that a reader never sees half of a change: targets and snapshot carry their version in
their names, and timestamp.json, which leads to them, is replaced last. A publish that is killed leaves the old
repository.
"""

import datetime
import hashlib
import shutil
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from coordinator import registry
from coordinator.errors import RegistryMissing
from coordinator.shell.pki import write_private
from models.bundle import open_bundle

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
DAYS: Final = {"root": 365, "targets": 90, "snapshot": 30, "timestamp": 7}
"""How long metadata is trusted. A device that is offline for longer asks again and gets newer metadata."""


class Target(Struct, frozen=True, kw_only=True):
    """One published bundle."""

    bundle: str
    version: str
    path: str
    bytes: int
    sha256: str


class Registry:
    """A repository under `home/registry`, its keys under `home/keys`."""

    def __init__(self, home: Path) -> None:
        self.metadata = home / "registry" / "metadata"
        self.targets = home / "registry" / "targets"
        self._keys = home / "keys"

    @classmethod
    def ensure(cls, home: Path) -> "Registry":
        """The registry of a home, made at the first call."""
        own = cls(home)
        if not (own.metadata / "timestamp.json").exists():
            own._create()
        return own

    @classmethod
    def existing(cls, home: Path) -> "Registry":
        """The registry of a home.

        Raises:
            RegistryMissing: there is none.
        """
        own = cls(home)
        if not (own.metadata / "timestamp.json").exists():
            raise RegistryMissing(f"no registry in {home}", hint=f"start one: edge-coordinator up --home {home}")
        return own

    @property
    def root_path(self) -> Path:
        """The trusted root that devices start from."""
        return self.metadata / "1.root.json"

    def _create(self) -> None:
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.targets.mkdir(parents=True, exist_ok=True)
        root = Root(expires=_expiry("root"), consistent_snapshot=True)
        for role in ROLES:
            signer = CryptoSigner.generate_ed25519()
            write_private(self._keys / f"{role}.key", signer.private_bytes)
            root.add_key(signer.public_key, role)
        signed = Metadata(root)
        self._sign(signed, "root")
        self._write(signed, "1.root.json")
        self._write_all(Targets(expires=_expiry("targets")), Snapshot(expires=_expiry("snapshot")), 1)

    def published(self) -> list[Target]:
        """Everything that is published, by bundle and version."""
        found = []
        for path, file in self._current("targets").signed.targets.items():
            bundle, version = registry.parts(path)
            found.append(
                Target(bundle=bundle, version=version, path=path, bytes=file.length, sha256=file.hashes["sha256"])
            )
        return sorted(found, key=lambda t: (t.bundle, registry.versions([t.path], t.bundle)))

    def publish(self, path: Path) -> Target:
        """Sign a bundle into the registry.

        Raises:
            ModelError: the file is no whole bundle.
            VersionTaken, VersionStale: see `coordinator.registry.may_publish`.
        """
        bundle = open_bundle(path)
        targets = self._current("targets").signed
        target = registry.may_publish(targets.targets, bundle.spec.name, bundle.spec.version)
        raw = path.read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        place = self.targets / Path(target).parent / f"{digest}.{Path(target).name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.part")
        shutil.copyfile(path, draft)
        draft.replace(place)
        targets.targets[target] = TargetFile.from_data(target, raw, ["sha256"])
        self._renew(targets)
        return Target(bundle=bundle.spec.name, version=bundle.spec.version, path=target, bytes=len(raw), sha256=digest)

    def refresh(self) -> None:
        """Sign everything again with new expiry dates; run it at least weekly, `edge-coordinator up` does."""
        self._renew(self._current("targets").signed)

    def find(self, bundle: str, version: str) -> Path | None:
        """The published file of a version."""
        for target in self.published():
            if (target.bundle, target.version) == (bundle, version):
                path = Path(target.path)
                return self.targets / path.parent / f"{target.sha256}.{path.name}"
        return None

    def newest(self, bundle: str) -> str | None:
        """The newest published version of a bundle."""
        there = registry.versions([target.path for target in self.published()], bundle)
        return there[-1] if there else None

    def paths(self) -> list[str]:
        """Target paths."""
        return [target.path for target in self.published()]

    def _renew(self, targets: Targets) -> None:
        timestamp = self._current("timestamp").signed
        snapshot = self._current("snapshot").signed
        targets.version += 1
        targets.expires = _expiry("targets")
        snapshot.version += 1
        snapshot.expires = _expiry("snapshot")
        self._write_all(targets, snapshot, timestamp.version + 1)

    def _write_all(self, targets: Targets, snapshot: Snapshot, timestamp_version: int) -> None:
        snapshot.meta["targets.json"] = MetaFile(version=targets.version)
        timestamp = Timestamp(
            version=timestamp_version,
            expires=_expiry("timestamp"),
            snapshot_meta=MetaFile(version=snapshot.version),
        )
        for role, signed, name in (
            ("targets", Metadata(targets), f"{targets.version}.targets.json"),
            ("snapshot", Metadata(snapshot), f"{snapshot.version}.snapshot.json"),
            ("timestamp", Metadata(timestamp), "timestamp.json"),
        ):
            self._sign(signed, role)
            self._write(signed, name)

    def _current(self, role: str) -> "Metadata[Any]":
        """The metadata that timestamp.json leads to."""
        timestamp = Metadata[Timestamp].from_file(str(self.metadata / "timestamp.json"))
        if role == "timestamp":
            return timestamp
        snapshot_version = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_file(str(self.metadata / f"{snapshot_version}.snapshot.json"))
        if role == "snapshot":
            return snapshot
        targets_version = snapshot.signed.meta["targets.json"].version
        return Metadata[Targets].from_file(str(self.metadata / f"{targets_version}.targets.json"))

    def _sign(self, signed: "Metadata[Any]", role: str) -> None:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key((self._keys / f"{role}.key").read_bytes(), None)
        signed.sign(CryptoSigner(key, SSlibKey.from_crypto(key.public_key())))

    def _write(self, signed: "Metadata[Any]", name: str) -> None:
        draft = self.metadata / f".{name}.part"
        signed.to_file(str(draft), JSONSerializer(compact=False))
        draft.replace(self.metadata / name)


def _expiry(role: str) -> datetime.datetime:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=DAYS[role])
    return moment.replace(microsecond=0)
