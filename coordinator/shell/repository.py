"""TUF metadata on disk: read, signed, and changed so that a reader never sees half of a change.

Targets, delegated roles and snapshot carry their version in their names, and timestamp.json, which leads to them, is
replaced after them; a new root comes last. While a key is replaced, what it signed is signed by the old and the new
one, so a reader is served whichever root it knows. A change that is killed leaves the old repository.

A change that lacks signatures waits in `pending`, outside of what is served, until `sign` has completed it.
"""

import datetime
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer

from coordinator.errors import ChangePending, RegistryDamaged, SignaturesMissing
from coordinator.shell.keyring import Keyring

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
DAYS: Final = {"root": 365, "targets": 90, "snapshot": 30, "timestamp": 7}
"""How long metadata is trusted. A device that is offline for longer asks again and gets newer metadata."""
DELEGATED_DAYS: Final = 90
OFFLINE_DAYS: Final = 365
"""The same for roles whose keys a program cannot use by itself: people sign again once a year."""
SIGNED_AT: Final = "x-edgeward-signed"
"""When timestamp.json was signed: a device whose clock was set back knows that it is later than this."""

Signed = Root | Targets | Snapshot | Timestamp


class Repository:
    """The metadata under `folder`, and what waits for signatures beside it."""

    def __init__(self, folder: Path, pending: Path, keyring: Keyring) -> None:
        self.metadata = folder
        self.pending = pending
        self.keyring = keyring

    @property
    def there(self) -> bool:
        """Whether a reader finds a repository."""
        return (self.metadata / "timestamp.json").exists()

    def root_path(self, version: int = 0) -> Path:
        """The file of a root; 0: of the newest."""
        if version:
            return self.metadata / f"{version}.root.json"
        found = [int(path.name.split(".")[0]) for path in self.metadata.glob("[0-9]*.root.json")]
        return self.metadata / f"{max(found, default=1)}.root.json"

    def current(self, role: str) -> "Metadata[Any]":
        """The newest metadata of a role, as timestamp.json leads to it.

        Raises:
            RegistryDamaged: it is not there, or no metadata.
        """
        if role == "root":
            return read(self.root_path())
        timestamp = read(self.metadata / "timestamp.json")
        if role == "timestamp":
            return timestamp
        snapshot = read(self.metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
        if role == "snapshot":
            return snapshot
        meta = snapshot.signed.meta.get(f"{role}.json")
        if meta is None:
            raise RegistryDamaged(f"no role `{role}`", hint="see edge-coordinator registry ls")
        return read(self.metadata / f"{meta.version}.{role}.json")

    def delegated(self) -> list[str]:
        """The names of the delegated roles, in the order in which a reader asks them."""
        delegations = self.current("targets").signed.delegations
        return list(delegations.roles or {}) if delegations is not None else []

    def everything(self) -> dict[str, Targets]:
        """Role → its targets: the top one and all delegated ones."""
        return {role: self.current(role).signed for role in ("targets", *self.delegated())}

    def waiting(self) -> dict[str, "Metadata[Any]"]:
        """Role → metadata that waits for signatures."""
        return {role: document for _, documents in self._sets() for role, document in documents.items()}

    def waits_at(self, role: str) -> Path:
        """The file of what waits for a role's signatures."""
        return next(iter(self.pending.glob(f"*/{role}.json")), self.pending / f"{role}.json")

    def _sets(self) -> list[tuple[Path, "dict[str, Metadata[Any]]"]]:
        """Changes that wait, each all or none; no role is in two of them."""
        return [
            (folder, {path.stem: read(path) for path in files})
            for folder in sorted(self.pending.glob("*/"))
            if (files := sorted(folder.glob("*.json")))
        ]

    def change(self, changed: Mapping[str, Signed]) -> dict[str, int]:
        """Sign new versions of roles and make them the current ones, all or none.

        Args:
            changed: role → its new content, without version and expiry; those are set here.
        Returns:
            Role → signatures that are missing. Empty: it is done; else the whole change waits in `pending`.
        Raises:
            ChangePending: another change waits already.
        """
        if both := sorted(set(changed) & set(self.waiting())):
            raise ChangePending(
                f"a change of {', '.join(both)} waits for signatures",
                hint="finish it: edge-coordinator registry sign; or give it up: edge-coordinator registry sign --drop",
            )
        known = {"root": self.root_path().exists(), "targets": self.there}
        documents: dict[str, Metadata[Any]] = {}
        for role, signed in changed.items():
            exists = known[role] if role in known else self.there and role in self.delegated()
            signed.version = self.current(role).signed.version + 1 if exists else 1
            documents[role] = Metadata(signed)
        for role, document in documents.items():
            document.signed.expires = expiry(self._days(role, documents))
            self._sign(role, document, documents)
        lacking = self.lacking(documents)
        if lacking:
            self.keep(documents)
        else:
            self._install(documents)
        return lacking

    def sign_waiting(self) -> dict[str, int]:
        """Add the signatures of the keys at hand to what waits, and install it when nothing is missing any more.

        Returns:
            As `change`.
        """
        missing: dict[str, int] = {}
        for folder, documents in self._sets():
            for role, document in documents.items():
                self._sign(role, document, documents)
            lacking = self.lacking(documents)
            self.keep(documents)
            if not lacking:
                self._install(documents)
                shutil.rmtree(folder)
            missing |= lacking
        return missing

    def drop(self) -> None:
        """Give up what waits."""
        shutil.rmtree(self.pending, ignore_errors=True)

    def keep(self, documents: Mapping[str, "Metadata[Any]"]) -> None:
        """Let a change wait."""
        folder = self.pending / "+".join(sorted(documents))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role, document in documents.items():
            write(document, folder / f"{role}.json")

    def refresh(self, *, least: float = 0.5) -> list[str]:
        """Sign a new timestamp, and everything whose time is more than `least` over and whose keys are at hand.

        Returns:
            Roles that need people: their time is running out, and their keys are not here.
        """
        waiting = self.waiting()
        renewed, overdue = {}, []
        for role in ("targets", *self.delegated()):
            held = self.current(role).signed
            left = (held.expires - _now()).total_seconds() / 86_400
            if left > self._days(role, {}) * least:
                continue
            if role in waiting or not self._may_sign_alone(role):
                overdue.append(role)
                continue
            renewed[role] = held
        documents: dict[str, Metadata[Any]] = {}
        for role, signed in renewed.items():
            signed.version += 1
            signed.expires = expiry(self._days(role, {}))
            documents[role] = Metadata(signed)
            self._sign(role, documents[role], {})
        self._install(documents)
        return overdue

    def lacking(self, documents: Mapping[str, "Metadata[Any]"]) -> dict[str, int]:
        """Role → signatures that are missing until a reader accepts it."""
        found = {}
        for role, document in documents.items():
            most = 0
            for delegator in self._delegators(role, documents, trusted_only=True):
                result = delegator.get_verification_result(role, payload(document), document.signatures)
                most = max(most, result.threshold - len(result.signed))
            if most > 0:
                found[role] = most
        return found

    def _days(self, role: str, documents: Mapping[str, "Metadata[Any]"]) -> int:
        if role in ("root", "snapshot", "timestamp"):
            return DAYS[role]
        alone = self._may_sign_alone(role, documents)
        return (DAYS["targets"] if role == "targets" else DELEGATED_DAYS) if alone else OFFLINE_DAYS

    def _may_sign_alone(self, role: str, documents: Mapping[str, "Metadata[Any]"] | None = None) -> bool:
        (delegator, *_) = self._delegators(role, documents or {}, trusted_only=True)
        owner = delegator.get_delegated_role(role)
        return len(self.keyring.unlocked(owner.keyids)) >= owner.threshold

    def _delegators(
        self, role: str, documents: Mapping[str, "Metadata[Any]"], *, trusted_only: bool = False
    ) -> list[Root | Targets]:
        """Who says which keys sign a role: after the change and, where it differs, before it."""
        owner = "root" if role in ROLES else "targets"
        after = documents.get(owner)
        before = read(self.root_path()) if owner == "root" and self.root_path().exists() else None
        found: list[Root | Targets] = [after.signed] if after is not None else []
        if owner == "root" and before is not None and (after is None or role == "root" or not trusted_only):
            found.append(before.signed)
        elif owner == "targets" and after is None:
            found.append(self.current("targets").signed)
        return found

    def _sign(self, role: str, document: "Metadata[Any]", documents: Mapping[str, "Metadata[Any]"]) -> None:
        keyids = {
            keyid
            for delegator in self._delegators(role, documents)
            for keyid in delegator.get_delegated_role(role).keyids
        }
        for signer in self.keyring.signers(keyids - set(document.signatures)):
            document.sign(signer, append=True)

    def _install(self, documents: Mapping[str, "Metadata[Any]"]) -> None:
        """Write what is complete: delegated roles, targets, snapshot, timestamp, root."""
        self.metadata.mkdir(parents=True, exist_ok=True)
        timestamp_version, snapshot = 1, Snapshot(expires=expiry(DAYS["snapshot"]))
        if "root" in documents and not self.root_path().exists():
            write(documents["root"], self.metadata / "1.root.json")
        if self.there:
            timestamp_version = self.current("timestamp").signed.version + 1
            snapshot = self.current("snapshot").signed
        before = snapshot.to_dict()
        for role, document in documents.items():
            if role != "root":
                write(document, self.metadata / f"{document.signed.version}.{role}.json")
                snapshot.meta[f"{role}.json"] = MetaFile(version=document.signed.version)
        half_over = (snapshot.expires - _now()).days * 2 < DAYS["snapshot"]
        if not self.there or snapshot.to_dict() != before or half_over or "root" in documents:
            snapshot.version += 1 if self.there else 0
            snapshot.expires = expiry(DAYS["snapshot"])
            self._seal("snapshot", snapshot, f"{snapshot.version}.snapshot.json", documents)
        timestamp = Timestamp(
            version=timestamp_version,
            expires=expiry(DAYS["timestamp"]),
            snapshot_meta=MetaFile(version=snapshot.version),
            unrecognized_fields={SIGNED_AT: _now().isoformat()},
        )
        self._seal("timestamp", timestamp, "timestamp.json", documents)
        if "root" in documents:
            write(documents["root"], self.metadata / f"{documents['root'].signed.version}.root.json")

    def _seal(self, role: str, signed: Signed, name: str, documents: Mapping[str, "Metadata[Any]"]) -> None:
        document: Metadata[Any] = Metadata(signed)
        self._sign(role, document, documents)
        if lacking := self.lacking({role: document} | {k: v for k, v in documents.items() if k == "root"}).get(role):
            raise SignaturesMissing(
                f"{role} lacks {lacking} signature{'s' if lacking > 1 else ''}",
                hint=f"its keys must lie in {self.keyring.folders[0]}, under no passphrase",
            )
        write(document, self.metadata / name)


def read(path: Path) -> "Metadata[Any]":
    """A metadata file.

    Raises:
        RegistryDamaged: it is not there, or is none.
    """
    try:
        return Metadata.from_bytes(path.read_bytes())
    except (OSError, DeserializationError) as error:
        raise RegistryDamaged(
            f"{path}: {error}", hint="restore the registry's folder from a backup; see docs/registry.md"
        ) from error


def payload(document: "Metadata[Any]") -> bytes:
    """The bytes that are signed."""
    return CanonicalJSONSerializer().serialize(document.signed)


def verified(delegator: Root | Targets, role: str, document: "Metadata[Any]") -> bool:
    """Whether enough keys have signed."""
    try:
        delegator.verify_delegate(role, payload(document), document.signatures)
    except UnsignedMetadataError:
        return False
    return True


def expiry(days: float) -> datetime.datetime:
    """So many days from now."""
    return (_now() + datetime.timedelta(days=days)).replace(microsecond=0)


def first_root(keys: Mapping[str, Iterable[Key]], thresholds: Mapping[str, int]) -> Root:
    """A root that names these keys."""
    root = Root(expires=expiry(DAYS["root"]), consistent_snapshot=True)
    for role, own in keys.items():
        for key in own:
            root.add_key(key, role)
        root.roles[role].threshold = thresholds.get(role, 1)
    return root


def pretty(document: "Metadata[Any]") -> str:
    """For people."""
    return json.dumps(document.to_dict(), indent=1)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def write(document: "Metadata[Any]", path: Path) -> None:
    """The file appears whole or not at all, and is on the medium before whatever leads to it."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.write(document.to_bytes(JSONSerializer(compact=False)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
