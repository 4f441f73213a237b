"""Changing by hand what is wanted of devices."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from coordinator import registry
from coordinator.errors import SignaturesMissing, UnknownBundle, UnknownDocument, WindowInvalid
from coordinator.shell.home import endpoints_of
from coordinator.shell.mqtt_control import Control
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollouts import refuse_while_rolling_out
from coordinator.shell.store import Store
from firmware_configs.messages import Desired
from firmware_configs.windows import window_fault


def want(
    home: Path,
    devices: Sequence[str],
    bundles: Sequence[str],
    windows: Sequence[str] | None,
    if_revision: int | None,
    documents: Mapping[str, str] | None = None,
) -> dict[str, Desired]:
    """Change what is wanted of devices.

    Args:
        bundles: `NAME=VERSION`, of the registry.
        windows: maintenance windows; None: as they are.
        if_revision: only if this is the newest revision of each; None: whatever it is.
        documents: `profile`, `experiment` → `NAME=VERSION`, of the registry; the devices' fleet must have it.
    Returns:
        Device → what is wanted now.
    Raises:
        RevisionConflict, UnknownBundle, UnknownDocument, WindowInvalid, NotRunning
        SignaturesMissing: the document waits for its approvers.
        RolloutTaken: a rollout of one of the bundles has not ended.
    """
    wanted = dict(_bundle(home, text) for text in bundles)
    for name in wanted:
        refuse_while_rolling_out(home, name)
    labels = {kind: _document(home, kind, text) for kind, text in (documents or {}).items()}
    if windows is not None and (fault := window_fault(windows)):
        raise WindowInvalid(fault, hint="write `daily 02:00-05:00`, `mon-fri 22:00-06:00` or `sat+sun 10:00-16:00`")
    endpoints = endpoints_of(home)

    def change(old: Desired) -> Desired:
        return msgspec.structs.replace(
            old,
            bundles={**old.bundles, **wanted},
            registry=endpoints.registry if wanted or labels else old.registry,
            documents={**old.documents, **labels},
            maintenance=old.maintenance if windows is None else tuple(windows),
        )

    with Control(endpoints.broker, Store(home)) as control:
        return control.want(devices, change, if_revision=if_revision)


def sync(home: Path, devices: Sequence[str]) -> dict[str, Desired]:
    """Say again what is wanted of devices, numbered above what they report."""
    with Control(endpoints_of(home).broker, Store(home)) as control:
        return control.want(devices, lambda old: old, pass_reported=True)


def _bundle(home: Path, text: str) -> tuple[str, str]:
    name, _, version = text.partition("=")
    if not version or Registry.existing(home).find(name, version) is None:
        raise UnknownBundle(
            f"`{text}` is not in the registry", hint="write NAME=VERSION; see: edge-coordinator registry ls"
        )
    return name, version


def _document(home: Path, kind: str, text: str) -> str:
    """`NAME-VERSION` of a document that some fleet can fetch.

    Raises:
        UnknownDocument: no fleet has it. SignaturesMissing: it is not served yet.
    """
    name, _, version = text.partition("=")
    own = Registry.existing(home)
    if not _has_document((file.path for file in own.documents()), kind, name, version):
        waiting = own.repository.waiting()
        for role, lacking in own.repository.lacking(waiting).items():
            signed = waiting[role].signed
            if _has_document(getattr(signed, "targets", {}), kind, name, version):
                raise SignaturesMissing(
                    f"{kind} {name} {version} waits for {lacking} more signatures of {role}",
                    hint="edge-coordinator registry sign --keys FOLDER; who may sign: registry ls --pending",
                )
        raise UnknownDocument(
            f"`{text}` is no {kind} of the registry",
            hint="write NAME=VERSION; publish one: edge-coordinator registry publish FILE --fleet FLEET",
        )
    return f"{name}-{version}"


def _has_document(paths: Iterable[str], kind: str, name: str, version: str) -> bool:
    """Whether one of the paths is of this document; approvers sign both kinds."""
    folders = (f"{kind}s/", "approved/")
    return any(registry.name_and_version(path) == (name, version) for path in paths if path.startswith(folders))
