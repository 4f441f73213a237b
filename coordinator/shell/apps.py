"""Apps at the broker: their certificates, and what they may do."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coordinator.errors import DeviceTaken
from coordinator.fleet import access
from coordinator.fleet.access import App
from coordinator.fleet.selection import word
from coordinator.shell import authority, mosquitto, pki
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.mosquitto import write_access


def admit(home: Path, name: str, roles: Sequence[str], out: Path, days: float, *, device: str = "") -> dict[str, Path]:
    """Give an app a key and a certificate, and one that says what pages say a password for WebSockets.

    Args:
        device: whose topics alone it may use; empty: any device's.
    Returns:
        What was written: authority, certificate, key, and perhaps password.
    Raises:
        TagInvalid: it cannot be a name.
        DeviceTaken: a device has this name.
        UnknownDevice: there is none of the name that is given.
    """
    word(name, "an app's name")
    store = FleetStore(home)
    if store.views([name]):
        raise DeviceTaken(f"a device is called `{name}`", hint="choose another name for the app")
    if device:
        store.view(device)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    issued = authority.issue(home, request.public_bytes(serialization.Encoding.PEM), name, "app", days=days)
    files = {"authority": out / "ca.pem", "certificate": out / f"{name}.pem", "key": out / f"{name}.key"}
    form = serialization.PrivateFormat.PKCS8
    pki.write_private(files["key"], key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    files["certificate"].write_text(issued.pem)
    files["authority"].write_bytes(pki.ensure_authority(home).certificate.read_bytes())
    password = ""
    if access.PAGE in roles:
        # A browser asks people for a certificate; a password goes with the page.
        secret, files["password"] = secrets.token_urlsafe(24), out / f"{name}.password"
        pki.write_private(files["password"], f"{secret}\n".encode())
        password = mosquitto.hashed(secret)
    store.put_app(name, App(roles=tuple(sorted(set(roles))), device=device, password=password))
    write_access(home)
    return files


def dismiss(home: Path, name: str) -> int:
    """Let an app in no more; returns how many of its certificates were good.

    Raises:
        DeviceTaken: it is a device's name, or nobody's.
    """
    if not FleetStore(home).drop_app(name):
        raise DeviceTaken(f"no app is called `{name}`", hint="of devices: edge-coordinator nodes revoke")
    gone = authority.withdraw(home, name)
    write_access(home)
    return gone
