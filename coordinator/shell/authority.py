"""Who may connect to the broker: certificates for devices, apps and the coordinator itself, and their revocation.

Two small authorities beside the one of the servers (`coordinator.shell.pki`): `devices` signs what goes out to others,
`operators` signs only what stays here. A broker has a listener for each, so that no device's certificate is good for
the coordinator's listener. Neither signs servers. Source of the forms: RFC 5280 (certificates, lists of revocations).
"""

import datetime
import hashlib
import time
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from coordinator.errors import ProofInvalid, RequestMalformed
from coordinator.shell import pki
from coordinator.shell.fleet_store import FleetStore

DEVICE_DAYS = 90
"""A certificate is renewed when a third of it is left."""
AUTHORITY_DAYS = 3_650
OPERATOR_DAYS = 397
LIST_DAYS = 30
"""How long a list of revocations is good; a broker lets nobody in with one that has ended. `up` writes it anew."""
BEHIND = datetime.timedelta(days=1)
"""Devices whose clocks run behind must be able to connect."""
REQUEST_BYTES_MAX = 16_384
Kind = Literal["devices", "operators"]
Role = Literal["device", "app", "visit"]
"""Of whom a certificate is: a device's agent, an app, or a device's commands and page."""


class Issued(Struct, frozen=True, kw_only=True):
    """A certificate that was signed now."""

    pem: str
    serial: str
    """Hex."""
    ends_ms: int
    """Unix ms."""


def ensure(home: Path, kind: Kind) -> pki.Pair:
    """An authority under `home/keys`, made at the first call; its key is readable by its owner only."""
    pair = pki.Pair(home / "keys" / f"{kind}-ca.pem", home / "keys" / f"{kind}-ca.key")
    if pair.certificate.exists() and pair.key.exists():
        return pair
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgeward {kind}")])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, decipher_only=False, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(pair, certificate, key)
    return pair


def coordinator_id(home: Path) -> str:
    """Which coordinator this is: 16 hex digits of the SHA-256 of its authority's certificate."""
    return fingerprint(home)[:16]


def fingerprint(home: Path) -> str:
    """SHA-256 (hex) of the servers' authority, which devices pin."""
    pem = pki.ensure_authority(home).certificate.read_bytes()
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()


def issue(home: Path, request: bytes, name: str, role: Role, *, days: float = DEVICE_DAYS) -> Issued:
    """Sign a request (PKCS #10, PEM) for `name`; what else the request wishes for is not taken over.

    Raises:
        RequestMalformed: it is no request, or not of an EC key.
        ProofInvalid: it is not signed with its own key, or asks for another name.
    """
    if len(request) > REQUEST_BYTES_MAX:
        raise RequestMalformed(f"a request of {len(request)} bytes; at most {REQUEST_BYTES_MAX}", hint="send a PEM CSR")
    try:
        asked = x509.load_pem_x509_csr(request)
        public = asked.public_key()
        names = [str(part.value) for part in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        signed = asked.is_signature_valid
    except Exception as error:  # whatever the parser of a stranger's bytes throws is their fault
        raise RequestMalformed(f"no certificate request: {error}", hint="send a PEM CSR of an EC key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise RequestMalformed("the request is not of an EC key", hint="make one on curve P-256 or P-384")
    if not signed or names != [name]:
        raise ProofInvalid(f"the request is not one of `{name}` signed by its own key", hint="make it again")
    return _sign(home, "devices", public, name, role, days)


def _sign(home: Path, kind: Kind, public: ec.EllipticCurvePublicKey, name: str, role: str, days: float) -> Issued:
    authority = ensure(home, kind)
    signer, issuer = _key(authority), x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
        ]
    )
    certificate = (
        _builder(subject, issuer.subject, public, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    serial, ends = f"{certificate.serial_number:x}", int(certificate.not_valid_after_utc.timestamp() * 1_000)
    with FleetStore(home).open() as database:
        database.execute("INSERT INTO fleet_certificate VALUES (?, ?, ?, ?, 0)", (serial, name, role, ends))
    return Issued(pem=certificate.public_bytes(serialization.Encoding.PEM).decode(), serial=serial, ends_ms=ends)


def operator(home: Path) -> pki.Pair:
    """The coordinator's own certificate, made or renewed when it is near its end."""
    pair = pki.Pair(home / "keys" / "operator.pem", home / "keys" / "operator.key")
    if pair.certificate.exists() and pair.key.exists():
        held = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        if (held.not_valid_after_utc - _now()).days > pki.RENEW_DAYS:
            return pair
    key = ec.generate_private_key(ec.SECP256R1())
    issued = _sign(home, "operators", key.public_key(), "coordinator", "coordinator", OPERATOR_DAYS)
    _write(pair, x509.load_pem_x509_certificate(issued.pem.encode()), key)
    return pair


def withdraw(home: Path, *names: str) -> int:
    """Revoke every certificate of these names, and publish the new list.

    Returns:
        How many were good until now.
    """
    now = int(time.time() * 1_000)
    with FleetStore(home).open() as database:
        gone = database.executemany(
            "UPDATE fleet_certificate SET revoked_ms = ? WHERE name = ? AND revoked_ms = 0",
            [(now, name) for name in names],
        ).rowcount
    publish(home)
    return int(gone)


def revocations(home: Path) -> Path:
    """Where the list of revoked certificates of devices is."""
    return home / "keys" / "devices-crl.pem"


def publish(home: Path) -> Path:
    """Write the list of revoked certificates anew; it appears whole or not at all."""
    authority = ensure(home, "devices")
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    now = _now()
    with FleetStore(home).open() as database:
        rows = database.execute(
            "SELECT serial, revoked_ms FROM fleet_certificate WHERE revoked_ms > 0 AND not_after_ms > ?",
            (int((now - BEHIND).timestamp() * 1_000),),
        ).fetchall()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - BEHIND)
        .next_update(now + datetime.timedelta(days=LIST_DAYS))
        .add_extension(x509.CRLNumber(time.time_ns()), critical=False)
    )
    for serial, revoked_ms in rows:
        at = datetime.datetime.fromtimestamp(revoked_ms / 1_000, datetime.UTC)
        revoked = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(at).build()
        builder = builder.add_revoked_certificate(revoked)
    signed = builder.sign(_key(authority), hashes.SHA256())
    place = revocations(home)
    draft = place.with_suffix(".part")
    draft.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    draft.replace(place)
    return place


def proven(public_key: str, signature: bytes, message: bytes) -> None:
    """Check a node's signature (ECDSA, SHA-384).

    Args:
        public_key: the node's, as OpenSSH writes it.
    Raises:
        ProofInvalid: it is another key's, or of another message.
    """
    key = serialization.load_ssh_public_key(public_key.encode())
    try:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        key.verify(signature, message, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise ProofInvalid(
            "the request is not signed by this node's key", hint="sign with node.key of the device that is enrolled"
        ) from None


def token_hash(secret: bytes) -> str:
    """What is kept of a token's secret: it is random enough (256 bits) that one round of SHA-256 hides it."""
    return hashlib.sha256(secret).hexdigest()


def _key(pair: pki.Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{pair.key} is not an EC key")
    return key


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEHIND)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _write(pair: pki.Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pki.write_private(pair.key, private)
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
