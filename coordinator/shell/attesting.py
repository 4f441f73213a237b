"""Statements signed and checked: a DSSE envelope under the keys of the role that signs the bundle itself."""

from collections.abc import Iterable

import msgspec
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Key

from coordinator.errors import AttestationInvalid
from coordinator.provenance import BYTES_MAX, PAYLOAD, Statement, pack, unpack


def seal(what: Statement, signers: Iterable[CryptoSigner]) -> bytes:
    """The envelope's JSON, signed by everyone who is given."""
    envelope = Envelope(pack(what), PAYLOAD, {})
    for signer in signers:
        envelope.sign(signer)
    return msgspec.json.encode(envelope.to_dict())


def sealed_again(raw: bytes, signers: Iterable[CryptoSigner]) -> bytes:
    """The same statement under other keys; the registry's metadata has vouched for the bytes."""
    envelope = Envelope.from_dict(msgspec.json.decode(raw, type=dict))
    envelope.signatures = {}
    for signer in signers:
        envelope.sign(signer)
    return msgspec.json.encode(envelope.to_dict())


def opened(raw: bytes, keys: list[Key], threshold: int, target: str, sha256: str) -> Statement:
    """The statement, once enough of the keys have signed it and it is about this very file.

    Args:
        target: path of the bundle that it must be about.
        sha256: of that bundle, hex.
    Raises:
        AttestationInvalid: anything else.
    """
    where = f"the attestation of {target}"
    hint = "do not trust the version; publish it again from what made it"
    if len(raw) > BYTES_MAX:
        raise AttestationInvalid(f"{where} has {len(raw)} bytes, at most {BYTES_MAX} are read", hint=hint)
    try:
        envelope = Envelope.from_dict(msgspec.json.decode(raw, type=dict))
        envelope.verify(keys, threshold)
    except (VerificationError, msgspec.MsgspecError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise AttestationInvalid(f"{where} is not signed by its role: {error}", hint=hint) from error
    if envelope.payload_type != PAYLOAD:
        raise AttestationInvalid(f"{where} is of type {envelope.payload_type}", hint=hint)
    found = unpack(envelope.payload, where)
    if not any(one.name == target and one.digest.get("sha256") == sha256 for one in found.subject):
        raise AttestationInvalid(f"{where} is about another file", hint=hint)
    return found
