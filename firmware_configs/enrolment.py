"""How a device comes into a fleet: the token that it is given, and what it and the coordinator say to each other.

A token is `edgeward1.` and base64url of a 32-byte secret, the SHA-256 of the coordinator's authority, and four bytes of
a checksum. The secret is good once; the hash lets the device know the coordinator before it says anything.
"""

import base64
import binascii
import hashlib
from typing import Annotated

from msgspec import Meta, Struct

PREFIX = "edgeward1."
SECRET_BYTES = 32
FINGERPRINT_BYTES = 32
CHECK_BYTES = 4
TEXT_MAX = 200


class Token(Struct, frozen=True):
    """What an invitation holds."""

    secret: bytes
    fingerprint: bytes
    """SHA-256 of the certificate (DER) of the authority that signs the coordinator's servers."""

    def __str__(self) -> str:
        body = self.secret + self.fingerprint
        return PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")

    def __repr__(self) -> str:
        return "Token(…)"  # it is a secret; logs have no use for it


def read_token(text: str) -> Token | None:
    """A token; None for what is none, such as one with a wrong letter."""
    text = text.strip()
    if not text.startswith(PREFIX) or len(text) > TEXT_MAX:
        return None
    code = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
    if len(body) != SECRET_BYTES + FINGERPRINT_BYTES or check != _check(body):
        return None
    token = Token(body[:SECRET_BYTES], body[SECRET_BYTES:])
    return token if str(token) == text else None


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:CHECK_BYTES]


def signed(purpose: str, device: str, *requests: bytes) -> bytes:
    """What the node's key signs: this device asks for these certificates, for this purpose; empty ones do not count."""
    return b"\n".join([b"edgeward 1", purpose.encode(), device.encode(), *(one for one in requests if one)])


def visitor(device: str) -> str:
    """As whom a device's commands and page come to a fleet's broker, where its own name is the agent's alone.

    No device or app can be called so: names have no `~`. With the longest it has the 64 characters of a common name.
    """
    return f"~{device}"


class EnrolRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/enrol`, JSON."""

    device: Annotated[str, Meta(max_length=63)]
    secret: bytes
    """Of the token."""
    node_key: Annotated[str, Meta(max_length=2_000)]
    """The node's public key, as OpenSSH writes it."""
    request: Annotated[bytes, Meta(max_length=16_384)]
    """Certificate request (PKCS #10, PEM) for MQTT."""
    visit: Annotated[bytes, Meta(max_length=16_384)] = b""
    """Another one, of `visitor(device)`, for commands and page; empty: none is wanted."""
    proof: Annotated[bytes, Meta(max_length=512)]
    """ECDSA with SHA-384 by the node's key over `signed("enrol", device, request, visit)`."""


class EnrolAnswer(Struct, frozen=True, kw_only=True):
    """All that a device needs to take part."""

    device: str
    node: str
    """Flower's node id."""
    coordinator: str
    """Whose `desired` is to be taken."""
    broker: str
    registry: str
    superlink: str
    authority: str
    """Certificate (PEM) that broker, registry and SuperLink chain to."""
    root: str
    """TUF root.json to trust from the start."""
    certificate: str = ""
    """For MQTT, PEM; empty: this broker asks for none."""
    ends_ms: int = 0
    """When the certificate ends, unix ms."""
    visit: str = ""
    """The certificate of `visitor(device)`, PEM, as long as the other one; empty: none."""


class RenewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/renew`, JSON: it is the node's key that counts, so that a device that was away for long can renew."""

    device: Annotated[str, Meta(max_length=63)]
    request: Annotated[bytes, Meta(max_length=16_384)]
    visit: Annotated[bytes, Meta(max_length=16_384)] = b""
    proof: Annotated[bytes, Meta(max_length=512)]
    """ECDSA with SHA-384 by the node's key over `signed("renew", device, request, visit)`."""


class RenewAnswer(Struct, frozen=True, kw_only=True):
    """A certificate for the next months, and one for visits where it was asked for."""

    certificate: str
    ends_ms: int
    visit: str = ""


class Refusal(Struct, frozen=True, kw_only=True):
    """Why not: the body of every answer that is no success."""

    code: str
    what: str
    fix: str
