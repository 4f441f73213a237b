"""The coordinator's own small certificate authority, and certificates for its servers."""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from firmware_configs.errors import UsageError

AUTHORITY_DAYS = 3_650
SERVER_DAYS = 397
"""What browsers and clients accept at most."""
RENEW_DAYS = 30
LOCAL = ("localhost", "127.0.0.1", "::1")


class Pair(Struct, frozen=True):
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


def ensure_authority(home: Path) -> Pair:
    """The authority under `home/keys`, made at the first call; its key is readable by its owner only."""
    pair = Pair(home / "keys" / "ca.pem", home / "keys" / "ca.key")
    if pair.certificate.exists() and pair.key.exists():
        return pair
    pair.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgeward coordinator")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(pair, certificate, key)
    return pair


def ensure_server(home: Path, names: Sequence[str] = LOCAL, of: str = "server") -> Pair:
    """A certificate for the coordinator's servers, made or renewed when it is near its end or lacks a name.

    Args:
        names: DNS names and IP addresses under which devices reach this machine.
        of: which server; each that has names of its own has a certificate of its own.
    """
    authority = ensure_authority(home)
    pair = Pair(home / "keys" / f"{of}.pem", home / "keys" / f"{of}.key")
    if pair.certificate.exists() and pair.key.exists() and _good(pair.certificate, names):
        return pair
    signer = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an EC key")
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(pair, certificate, key)
    return pair


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # Devices whose clocks run behind must be able to connect.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode())
    except ValueError:
        raise UsageError(f"{name[:100]!r} is no name of a machine", hint="give its DNS name or its address") from None


def _good(certificate: Path, names: Sequence[str]) -> bool:
    held = x509.load_pem_x509_certificate(certificate.read_bytes())
    left = held.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    covered = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return left.days > RENEW_DAYS and all(_general(name) in covered for name in names)


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(pair.key, private)
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
