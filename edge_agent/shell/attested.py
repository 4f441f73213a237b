"""What is attested of a bundle, checked on the device: signed by the bundle's own role, and about this very file."""

from pathlib import Path

import msgspec
from msgspec import Struct
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from tuf.api.metadata import TargetFile

from edge_agent.errors import AttestationRejected, UpdateError
from edge_agent.shell.trust import Trust
from firmware_configs import targets
from firmware_configs.messages import INTERRUPTED

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
BYTES_MAX = 262_144


class Subject(Struct, frozen=True):
    """What a statement is about."""

    name: str = ""
    digest: dict[str, str] = {}


class Statement(Struct, frozen=True, rename={"type_": "_type"}):
    """The part of an in-toto statement that a device needs."""

    type_: str
    subject: list[Subject]


def check_attestation(trust: Trust, name: str, version: str, bundle: TargetFile, folder: Path, *, needed: bool) -> None:
    """Refuse a bundle whose attestation is wrong.

    Args:
        bundle: the target that must be attested.
        folder: where the attestation may lie while it is read.
        needed: none at all is wrong, too.
    Raises:
        AttestationRejected: why.
    """
    path = targets.attestation(name, version)
    found = trust.find(path)
    if found is None:
        if needed:
            raise _refusal(path, "there is none, and registry.attested asks for one")
        return
    if found.length > BYTES_MAX:
        raise _refusal(path, f"it has {found.length} bytes, at most {BYTES_MAX} are read")
    part = folder / f".{name}-{version}{targets.ATTESTATION}.part"
    try:
        trust.bring(found, part)
        raw = part.read_bytes()
    except UpdateError as error:
        if error.code in INTERRUPTED:
            raise  # a broken line or a full disk says nothing of who has signed
        raise _refusal(path, f"{error.code} {error.what}") from error
    finally:
        part.unlink(missing_ok=True)
    for role in trust.roles_of(path):
        keys, _ = trust.keys_of(role)
        _check(raw, path, keys, bundle)


def _check(raw: bytes, path: str, keys: list, bundle: TargetFile) -> None:  # type: ignore[type-arg]
    try:
        envelope = Envelope.from_dict(msgspec.json.decode(raw, type=dict))
        envelope.verify(keys, 1)
        said = msgspec.json.decode(envelope.payload, type=Statement)
    except (VerificationError, msgspec.MsgspecError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _refusal(path, f"it is not signed by the bundle's role: {error}") from error
    if envelope.payload_type != PAYLOAD or said.type_ != STATEMENT:
        raise _refusal(path, f"it is no in-toto statement, but {envelope.payload_type}, {said.type_}")
    wanted = (bundle.path, bundle.hashes["sha256"])
    if not any((one.name, one.digest.get("sha256")) == wanted for one in said.subject):
        raise _refusal(path, "it is about another file")


def _refusal(path: str, why: str) -> AttestationRejected:
    return AttestationRejected(f"{path}: {why}", hint="do not trust the version; publish another one")
