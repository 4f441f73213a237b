"""Keys of the top roles: made, replaced, and used to sign on machines that see no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Metadata, Targets

from coordinator.errors import NameInvalid, RegistryDamaged, RegistryKeyInvalid, RegistryThere, SignaturesMissing
from coordinator.shell.keyring import Keyring
from coordinator.shell.registry_store import Registry
from coordinator.shell.repository import ROLES, Signed, payload, read, write

ALWAYS_AT_HAND: Final = ("snapshot", "timestamp")


class Plan(Struct, frozen=True, kw_only=True):
    """What `registry init` makes.

    Attributes:
        root_keys, root_threshold: how many keys sign a new root, and how many of them must.
        targets_keys, targets_threshold: the same for who may sign for which bundle and fleet.
        offline: where keys of root (and of targets) are made; None: with the others, under `home/keys`.
        targets_offline: whether the keys of targets go there, too: then a bundle's first version needs people.
    """

    root_keys: int = 3
    root_threshold: int = 2
    targets_keys: int = 1
    targets_threshold: int = 1
    offline: Path | None = None
    targets_offline: bool = False


class Pending(Struct, frozen=True, kw_only=True):
    """One document that waits."""

    role: str
    version: int
    path: str
    missing: int
    signed_by: tuple[str, ...]
    may_sign: tuple[str, ...]
    """Keys (their ids) that count and have not signed."""


def init(registry: Registry, plan: Plan, passphrase: bytes | None) -> list[Path]:
    """Make the keys and the first metadata; returns where keys lie that belong elsewhere.

    Raises:
        RegistryThere: the home has a registry.
        RegistryKeyInvalid: a threshold that its keys cannot meet, or a key file is there already.
    """
    if registry.repository.there:
        raise RegistryThere(
            f"{registry.home} has a registry", hint="replace its keys: edge-coordinator registry rotate"
        )
    for role, count, threshold in (
        ("root", plan.root_keys, plan.root_threshold),
        ("targets", plan.targets_keys, plan.targets_threshold),
    ):
        if not 1 <= threshold <= count:
            raise RegistryKeyInvalid(
                f"{role}: a threshold of {threshold} with {count} keys", hint="the threshold is between 1 and the keys"
            )
    keys: dict[str, list[Key]] = {}
    made: list[Path] = []
    with registry.alone():
        for role, count in (
            ("root", plan.root_keys),
            ("targets", plan.targets_keys),
            ("snapshot", 1),
            ("timestamp", 1),
        ):
            away = role == "root" or (role == "targets" and plan.targets_offline)
            folder = plan.offline if away else None
            for _ in range(count):
                name = registry.keyring.free_name(role, folder)
                secret = passphrase if away else None
                keys.setdefault(role, []).append(registry.keyring.make(name, folder, secret))
                if away:
                    made.append((folder or registry.keyring.folders[0]) / f"{name}.key")
        thresholds = {"root": plan.root_threshold, "targets": plan.targets_threshold}
        lacking = registry.create(keys, thresholds)
    if lacking:
        raise SignaturesMissing(
            f"the first metadata lacks {lacking}", hint="give the folder of the keys: --keys FOLDER"
        )
    return made


def rotate(
    registry: Registry,
    role: str,
    *,
    new: Sequence[Key] = (),
    count: int = 1,
    threshold: int = 1,
    folder: Path | None = None,
    passphrase: bytes | None = None,
    keep: bool = False,
) -> dict[str, int]:
    """Replace a role's keys.

    Args:
        new: public keys that somebody else made; else `count` are made in `folder`.
        keep: the old keys go on signing beside the new ones.
    Returns:
        Role → signatures that are missing before it holds; empty: it holds.
    Raises:
        NameInvalid: there is no such role.
        RegistryKeyInvalid: a threshold that its keys cannot meet.
    """
    if role not in (*ROLES, *registry.repository.delegated()):
        known = ", ".join((*ROLES, *registry.repository.delegated()))
        raise NameInvalid(f"there is no role `{role}`", hint=f"one of: {known}")
    if role in ALWAYS_AT_HAND and (folder is not None or passphrase is not None):
        raise RegistryKeyInvalid(
            f"the key of {role} signs every day, by itself", hint="leave --out and the passphrase away for this role"
        )
    with registry.alone():
        owner_role = "root" if role in ROLES else "targets"
        owner = registry.repository.current(owner_role).signed
        keys = list(new) or [
            registry.keyring.make(registry.keyring.free_name(role, folder), folder, passphrase) for _ in range(count)
        ]
        held: list[str] = list(owner.get_delegated_role(role).keyids)
        if threshold > len(keys) + (len(held) if keep else 0):
            raise RegistryKeyInvalid(f"{role}: a threshold of {threshold} with {len(keys)} keys", hint="lower it")
        for key in keys:
            owner.add_key(key, role)
        for keyid in () if keep else held:
            owner.revoke_key(keyid, role)
        owner.get_delegated_role(role).threshold = threshold
        changes: dict[str, Signed] = {owner_role: owner}
        if role == "targets":
            changes["targets"] = registry.repository.current("targets").signed
        elif role not in ROLES:
            own: Targets = registry.repository.current(role).signed
            registry.seal_again(own, keys)
            changes[role] = own
        return registry.repository.change(changes)


def renew(registry: Registry, role: str) -> dict[str, int]:
    """Give a role a new expiry date: what `refresh` does for roles whose keys are at hand.

    Raises:
        NameInvalid: there is no such role.
    """
    if role not in (*ROLES, *registry.repository.delegated()):
        raise NameInvalid(f"there is no role `{role}`", hint="see edge-coordinator registry ls --roles")
    if role in ALWAYS_AT_HAND:
        registry.refresh()
        return {}
    with registry.alone():
        return registry.repository.change({role: registry.repository.current(role).signed})


def sign(registry: Registry) -> dict[str, int]:
    """Sign what waits with the keys at hand; as `Repository.sign_waiting`."""
    with registry.alone():
        return registry.repository.sign_waiting()


def take(registry: Registry, file: Path) -> dict[str, int]:
    """Add the signatures of a copy that was signed elsewhere, and install the change when nothing is missing.

    Raises:
        RegistryDamaged: the copy is not of what waits here.
    """
    copy = read(file)
    with registry.alone():
        waiting = registry.repository.waiting()
        same = next((role for role, document in waiting.items() if payload(document) == payload(copy)), "")
        if not same:
            raise RegistryDamaged(
                f"{file} is no copy of anything that waits here",
                hint="sign a copy of the file that `ls --pending` names",
            )
        waiting[same].signatures.update(copy.signatures)
        write(waiting[same], registry.repository.waits_at(same))
        return registry.repository.sign_waiting()


def sign_copy(file: Path, keyring: Keyring) -> int:
    """Sign a copy of a pending document, on a machine that knows nothing else; returns how many signatures were added.

    Raises:
        RegistryDamaged: it is no metadata.
    """
    document: Metadata[Any] = read(file)
    before = len(document.signatures)
    for signer in keyring.signers(_public_ids(keyring)):
        document.sign(signer, append=True)
    document.to_file(str(file))
    return len(document.signatures) - before


def pending(registry: Registry) -> list[Pending]:
    """What waits, and for whom."""
    documents = registry.repository.waiting()
    lacking = registry.repository.lacking(documents)
    found = []
    for role, document in documents.items():
        owner_role = "root" if role in ROLES else "targets"
        owner = documents.get(owner_role) or registry.repository.current(owner_role)
        held: DelegatedRole = owner.signed.get_delegated_role(role)
        found.append(
            Pending(
                role=role,
                version=document.signed.version,
                path=str(registry.repository.waits_at(role)),
                missing=lacking.get(role, 0),
                signed_by=tuple(sorted(document.signatures)),
                may_sign=tuple(sorted(set(held.keyids) - set(document.signatures))),
            )
        )
    return found


def _public_ids(keyring: Keyring) -> list[str]:
    return sorted(keyring.known())
