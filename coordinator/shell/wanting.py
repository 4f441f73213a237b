"""Changing by hand what is wanted of devices."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from coordinator.errors import UnknownBundle, WindowInvalid
from coordinator.shell.home import endpoints_of
from coordinator.shell.mqtt_control import Control
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from firmware_configs.messages import Desired
from firmware_configs.windows import window_fault


def want(
    home: Path,
    devices: Sequence[str],
    bundles: Sequence[str],
    windows: Sequence[str] | None,
    if_revision: int | None,
) -> dict[str, Desired]:
    """Change what is wanted of devices.

    Args:
        bundles: `NAME=VERSION`, of the registry.
        windows: maintenance windows; None: as they are.
        if_revision: only if this is the newest revision of each; None: whatever it is.
    Returns:
        Device → what is wanted now.
    Raises:
        RevisionConflict, UnknownBundle, WindowInvalid, NotRunning
    """
    wanted = dict(_bundle(home, text) for text in bundles)
    if windows is not None and (fault := window_fault(windows)):
        raise WindowInvalid(fault, hint="write `daily 02:00-05:00`, `mon-fri 22:00-06:00` or `sat+sun 10:00-16:00`")
    endpoints = endpoints_of(home)

    def change(old: Desired) -> Desired:
        return msgspec.structs.replace(
            old,
            bundles={**old.bundles, **wanted},
            registry=endpoints.registry if wanted else old.registry,
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
