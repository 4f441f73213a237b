"""Who may take part: a device's node key with the SuperLink, and its name in our database."""

import re
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.errors import DeviceTaken, KeyInvalid
from coordinator.shell import flower
from coordinator.shell.authority import withdraw
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import endpoints_of
from coordinator.shell.mosquitto import add_access, write_access
from coordinator.shell.mqtt_control import Control
from coordinator.shell.store import Device, Store
from firmware_configs.enrolment import visitor

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
"""As in agent.toml: part of topics, so no wildcards and no slashes."""
HINT = "make one on the device: edge-agent keys new; then give its node.pub"


def enrol(home: Path, device: str, path: Path) -> Device:
    """Enrol a device, and tell it what is wanted of the others. The same device and key again change nothing.

    Raises:
        KeyInvalid: the file holds no EC public key.
        DeviceTaken: no possible name, or enrolled with another key.
        NotRunning, FlowerFailed: the coordinator is not up.
    """
    check_name(home, device)
    return enrol_key(home, device, _read_key(path))


def check_name(home: Path, device: str) -> None:
    """Whether a device can be called so.

    Raises:
        DeviceTaken: no.
    """
    if not NAME.fullmatch(device) or device in FleetStore(home).apps():
        raise DeviceTaken(f"`{device}` cannot be a device's name", hint="use letters, digits, `.`, `_` and `-`")


def enrol_key(home: Path, device: str, key: str) -> Device:
    """The same with the key itself, as OpenSSH writes it."""
    check_name(home, device)
    store = Store(home)
    known = store.find(device)
    if known is not None and not known.revoked:
        if known.public_key == key:
            return known
        raise DeviceTaken(
            f"`{device}` is enrolled with another key",
            hint=f"edge-coordinator nodes rotate {device} --public-key FILE; or revoke it first",
        )
    endpoints = endpoints_of(home)
    keys = home / "nodes"
    keys.mkdir(exist_ok=True)
    place = keys / f"{device}.pub"
    place.write_text(key)
    let_in(home, device, flower.register(home, place), key)
    newest = store.newest_desired(device)
    if newest.bundles:
        with Control(endpoints.broker, store) as control:
            control.want(
                [device], lambda old: msgspec.structs.replace(old, bundles=newest.bundles, registry=newest.registry)
            )
    return store.device(device)


def let_in(home: Path, device: str, node: int, key: str) -> None:
    """Enter a device whose key Flower knows, and let the broker have it."""
    Store(home).enrol(device, node, key)
    add_access(home, device)


def revoke(home: Path, device: str) -> Device:
    """Revoke a device's node key; what it sends afterwards is refused.

    Raises:
        UnknownDevice: nobody of this name is enrolled.
    """
    store = Store(home)
    endpoints_of(home)
    found = store.device(device)
    if not found.revoked:
        flower.unregister(home, found.node)
    done = store.revoke(device)
    # The broker lets it in no more with its certificate, and takes nothing from it that is connected still.
    withdraw(home, device, visitor(device))
    FleetStore(home).forget_tokens(device)
    write_access(home)
    return done


def rotate(home: Path, device: str, public_key: Path) -> Device:
    """Give an enrolled device another node key; the old one is refused from now on. The same key again changes nothing.

    The new key is accepted before the old one is refused, so the device is never locked out.

    Raises:
        KeyInvalid: the file holds no EC public key.
        UnknownDevice: nobody of this name is enrolled.
        DeviceTaken: it was revoked, or the key is another device's.
        NotRunning, FlowerFailed: the coordinator is not up.
    """
    key = _read_key(public_key)
    store = Store(home)
    endpoints_of(home)
    found = store.device(device)
    if found.revoked:
        raise DeviceTaken(f"`{device}` was revoked", hint=f"edge-coordinator nodes enrol {device} --public-key FILE")
    if found.public_key == key:
        return found
    other = next((one.name for one in store.devices(revoked=True) if one.public_key == key), None)
    if other is not None:
        raise DeviceTaken(f"this is the key of `{other}`", hint="make one on the device: edge-agent keys rotate")
    place = home / "nodes" / f"{device}.pub"
    place.parent.mkdir(exist_ok=True)
    place.write_text(key)
    store.enrol(device, flower.register(home, place), key)
    flower.unregister(home, found.node)
    return store.device(device)


def _read_key(path: Path) -> str:
    """An EC public key as OpenSSH writes it, from OpenSSH or PEM."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise KeyInvalid(f"{path} is no public key: {error}", hint=HINT) from error
    return public_key(raw, str(path))


def public_key(raw: bytes, where: str) -> str:
    """An EC public key as OpenSSH writes it, from OpenSSH or PEM.

    Raises:
        KeyInvalid: it is none; `where` says of what.
    """
    try:
        load = serialization.load_pem_public_key if raw.startswith(b"-----") else serialization.load_ssh_public_key
        key = load(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(f"{where} is no public key: {error}", hint=HINT) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyInvalid(f"{where} holds no EC key", hint=HINT)
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
