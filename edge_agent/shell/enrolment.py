"""Coming into a fleet, and staying in it: keys are made here, and only their public halves leave.

The coordinator is known by the hash in the token before anything is said to it. What it answers is written at the end,
all at once: the keys first, the settings last, so that an agent never finds settings whose files are not there.
"""

import datetime
import os
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import tomli_w
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from edge_agent.errors import (
    CoordinatorUnknown,
    CoordinatorUnreachable,
    EnrolmentError,
    EnrolmentRefused,
    SettingsMalformed,
    TokenInvalid,
)
from edge_agent.settings import Settings, load
from firmware_configs import strict
from firmware_configs.enrolment import (
    EnrolAnswer,
    EnrolRequest,
    Refusal,
    RenewAnswer,
    RenewRequest,
    read_token,
    signed,
    visitor,
)

CONNECT_S, ANSWER_S = 15.0, 120.0
"""An enrolment waits for its turn at the coordinator, and for a process of Flower's."""
AUTHORITY_BYTES_MAX = 65_536
ANSWER_BYTES_MAX = 1_048_576
VISIT_KEY, VISIT_CERT = "visit.key", "visit.pem"
"""Files of the pair with which commands and page come to the broker."""
NAME_MAX = 63
"""Characters of a device's name: a certificate has room for 64, and visits put one before it."""
RENEW_SHARE = 1 / 3
"""A certificate is renewed when this share of its life is left."""
Answer = TypeVar("Answer", bound=Struct)


class Enrolled(Struct, frozen=True, kw_only=True):
    """What came of it."""

    device: str
    node: str
    coordinator: str
    broker: str
    settings: str
    """Path of the settings that were written."""
    certificate_ends_ms: int
    """0: this broker asks for none."""


def enrol(
    url: str, text: str, settings: Path, *, device: str, state_dir: Path | None, profile: Path | None, fresh: bool
) -> Enrolled:
    """Come into a fleet.

    Args:
        url: `https://host:port` of the coordinator.
        text: the token.
        settings: agent.toml; parts that it has beside what the coordinator tells stay.
        device: this device's name; empty: the settings' own, or the host's.
        state_dir: the agent's folder; None: the settings' own.
        profile: device profile to write into the settings; None: as it is.
        fresh: make new keys where there are some.
    Raises:
        EnrolmentError, SettingsError: the class says why; nothing here has changed but unused keys.
    """
    token = read_token(text)
    if token is None:
        raise TokenInvalid(
            "this is no token, or a letter of it is wrong", hint="copy it whole, from edgeward1. to its end"
        )
    document = _document(settings)
    name = device or str(document.get("device", "")) or os.uname().nodename.split(".")[0]
    if len(name) > NAME_MAX:
        raise EnrolmentError(
            f"`{name}` is too long for a device's name", hint=f"pass a --device of at most {NAME_MAX} characters"
        )
    folder = (state_dir or _at(settings, str(document.get("state_dir", "state")))).absolute()
    pem = _authority(url, token.fingerprint)
    keys = folder / "keys"
    if fresh:
        for old in (folder / "node.key", keys / "mqtt.key", keys / VISIT_KEY):
            if old.exists():
                old.replace(old.with_name(f"{old.name}.before"))
    node, line = _key(folder / "node.key", ec.SECP384R1()), _key(keys / "mqtt.key", ec.SECP256R1())
    request, visit = _request(name, line), _request(visitor(name), _key(keys / VISIT_KEY, ec.SECP256R1()))
    asked = EnrolRequest(
        device=name,
        secret=token.secret,
        node_key=_public(node),
        request=request,
        visit=visit,
        proof=node.sign(signed("enrol", name, request, visit), ec.ECDSA(hashes.SHA384())),
    )
    answer = _post(url, "/v1/enrol", asked, EnrolAnswer, pem)
    _write(folder / "node.pub", f"{_public(node)}\n".encode(), 0o644)
    _write(keys / "ca.pem", answer.authority.encode(), 0o644)
    _write(keys / "root.json", answer.root.encode(), 0o644)
    if answer.certificate:
        _write(keys / "mqtt.pem", answer.certificate.encode(), 0o644)
    if answer.visit:
        _write(keys / VISIT_CERT, answer.visit.encode(), 0o644)
    _tell(settings, document, answer, folder, profile)
    return Enrolled(
        device=answer.device,
        node=answer.node,
        coordinator=answer.coordinator,
        broker=answer.broker,
        settings=str(settings),
        certificate_ends_ms=answer.ends_ms,
    )


def renew(settings: Path, environment: Mapping[str, str], *, force: bool) -> RenewAnswer | None:
    """Another certificate for MQTT, by the node's key; None: the one that is there is good for long.

    Commands and page get another one at the same time, unless the settings name one of somebody else's making. A device
    that was enrolled before there were such certificates gets its first, if the settings can be written.

    Raises:
        EnrolmentError, SettingsError: the class says why; the old certificates stay.
    """
    held = load(settings, environment)
    if not (held.broker.cert and held.registry.url and held.superlink.node_key):
        raise SettingsMalformed(
            f"{settings}: broker.cert, registry.url and superlink.node_key are needed",
            hint="enrol this device: edge-agent enrol URL TOKEN",
        )
    place = Path(held.broker.cert)
    own = (Path(held.broker.key).with_name(VISIT_KEY), place.with_name(VISIT_CERT))
    named = held.broker.visit_cert == str(own[1])
    # A first pair has to be named in the settings: who may not write them, such as the timer's service, asks for none.
    visits = named or (not held.broker.visit_cert and os.access(settings.absolute().parent, os.W_OK))
    if not force and not is_due(place) and not (named and is_due(own[1])):
        return None
    node = _load(Path(held.superlink.node_key))
    draft = Path(held.broker.key).with_name(".mqtt.key.new")
    line = _key(draft, ec.SECP256R1())
    request = _request(held.device, line)
    visit_draft = own[0].with_name(f".{VISIT_KEY}.new")
    visit = _request(visitor(held.device), _key(visit_draft, ec.SECP256R1())) if visits else b""
    proof = node.sign(signed("renew", held.device, request, visit), ec.ECDSA(hashes.SHA384()))
    asked = RenewRequest(device=held.device, request=request, visit=visit, proof=proof)
    answer = _post(held.registry.url, "/v1/renew", asked, RenewAnswer, Path(held.registry.ca).read_bytes())
    _exchange(draft, (Path(held.broker.key), place), answer.certificate)
    if answer.visit:
        _exchange(visit_draft, own, answer.visit)
        if not named:
            document = _document(settings)
            told = {"visit_cert": str(own[1]), "visit_key": str(own[0])}
            _settle(settings, {**document, "broker": {**document.get("broker", {}), **told}})
    return answer


def is_due(certificate: Path) -> bool:
    """Whether a certificate has less than a third of its life left, or cannot be read."""
    try:
        held = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return True
    life = held.not_valid_after_utc - held.not_valid_before_utc
    return held.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < life * RENEW_SHARE


def _exchange(draft: Path, pair: tuple[Path, Path], certificate: str) -> None:
    """Put the new pair in place. A crash between both leaves a pair that does not fit: renewing again mends it.

    Args:
        draft: the new key.
        pair: where key and certificate belong.
    """
    key, place = pair
    _write(place, certificate.encode(), 0o644)
    draft.replace(key)


def _document(settings: Path) -> dict[str, Any]:
    if not settings.exists():
        return {}
    return strict.read_toml(strict.read_text(settings, SettingsMalformed), str(settings), SettingsMalformed)


def _at(settings: Path, text: str) -> Path:
    return settings.absolute().parent / Path(text).expanduser()


def _tell(settings: Path, document: dict[str, Any], answer: EnrolAnswer, folder: Path, profile: Path | None) -> None:
    """Write what the coordinator told into the settings."""
    keys = folder / "keys"
    tls = {"ca": str(keys / "ca.pem"), "cert": str(keys / "mqtt.pem"), "key": str(keys / "mqtt.key")}
    visits = {"visit_cert": str(keys / VISIT_CERT), "visit_key": str(keys / VISIT_KEY)}
    broker = {**document.get("broker", {}), "url": answer.broker}
    for part in tls | visits:
        broker.pop(part, None)
    if answer.certificate:
        broker |= tls
    if answer.visit:
        broker |= visits
    told: dict[str, Any] = {
        **document,
        "device": answer.device,
        "state_dir": str(folder),
        "coordinator": answer.coordinator,
        **({"profile": str(profile.absolute())} if profile is not None else {}),
        "broker": broker,
        "registry": {
            **document.get("registry", {}),
            "url": answer.registry,
            "ca": tls["ca"],
            "trusted_root": str(keys / "root.json"),
        },
        "superlink": {
            **document.get("superlink", {}),
            "address": answer.superlink,
            "ca": tls["ca"],
            "node_key": str(folder / "node.key"),
        },
    }
    _settle(settings, told)


def _settle(settings: Path, told: dict[str, Any]) -> None:
    """Write the settings, if they can be used; the file before stays beside it as `.before`."""
    # Single values before tables: TOML has no other order.
    told = dict(sorted(told.items(), key=lambda pair: isinstance(pair[1], dict)))
    strict.convert(told, Settings, str(settings), SettingsMalformed)
    mode = 0o600
    if settings.exists():
        # A service's group may read its settings, and must be able to go on.
        mode |= settings.stat().st_mode & 0o040
        _write(settings.with_name(f"{settings.name}.before"), settings.read_bytes(), mode)
    _write(settings, tomli_w.dumps(told).encode(), mode)


def _key(path: Path, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """The key at a path, made when there is none: a try that comes to nothing is repeated with the same key."""
    if path.exists():
        return _load(path)
    key = ec.generate_private_key(curve)
    form = serialization.PrivateFormat.PKCS8
    _write(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()), 0o600)
    return key


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    hint = "move it away; a new one is made, and the device is enrolled with a new token"
    try:
        raw = path.read_bytes()
        ssh = b"OPENSSH PRIVATE KEY" in raw
        load_key = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
        key = load_key(raw, None)
    except (OSError, ValueError) as error:
        raise EnrolmentError(f"{path} cannot be used: {error}", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnrolmentError(f"{path} is no EC key", hint=hint)
    return key


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    shown = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return shown.decode()


def _request(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file; it appears whole or not at all. What root writes is the folder's owner's, who is to read it.

    Raises:
        EnrolmentError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700)
            _give(path.parent, path.parent.parent)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _give(draft, path if path.exists() else path.parent)
        draft.replace(path)
    except OSError as error:
        raise EnrolmentError(f"{path}: {error.strerror}", hint="run it as somebody who may write there") from error


def _give(path: Path, like: Path) -> None:
    """As root: to whom another file or folder belongs."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _authority(url: str, fingerprint: bytes) -> bytes:
    """The coordinator's authority, which must have the token's hash. Until it is known nothing is said.

    Raises:
        CoordinatorUnknown: somebody else answers there.
    """
    if not url.startswith("https://"):
        raise EnrolmentError(f"`{url}` is no https:// address", hint="copy it from `edge-coordinator nodes invite`")
    # Whoever answers is not trusted yet: what comes is public, and is compared with the hash.
    pool = urllib3.PoolManager(cert_reqs=ssl.CERT_NONE, assert_hostname=False, retries=False)
    with _quiet():
        status, raw = _call(pool, "GET", f"{url.rstrip('/')}/v1/authority", None, AUTHORITY_BYTES_MAX)
    try:
        found = x509.load_pem_x509_certificate(raw).fingerprint(hashes.SHA256()) if status == 200 else b""
    except ValueError:
        found = b""
    if found != fingerprint:
        raise CoordinatorUnknown(
            f"{url} is not the coordinator that made this token", hint="check the address; is someone between?"
        )
    return raw


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warning that nobody is trusted yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        yield


def _post(url: str, path: str, asked: Struct, kind: type[Answer], pem: bytes) -> Answer:
    """One call, by TLS that trusts the coordinator's authority only.

    Raises:
        CoordinatorUnreachable: nobody answers, or something that is no coordinator.
        EnrolmentRefused: the coordinator's own words.
    """
    context = ssl.create_default_context(cadata=pem.decode())
    pool = urllib3.PoolManager(ssl_context=context, retries=False)
    status, raw = _call(pool, "POST", f"{url.rstrip('/')}{path}", msgspec.json.encode(asked), ANSWER_BYTES_MAX)
    try:
        if status == 200:
            return msgspec.json.decode(raw, type=kind)
        refusal = msgspec.json.decode(raw, type=Refusal)
    except msgspec.MsgspecError as error:
        raise CoordinatorUnreachable(
            f"{url}{path} answers {status} with what is no answer of a coordinator", hint="check the address"
        ) from error
    raise EnrolmentRefused(f"the coordinator refused: [{refusal.code}] {refusal.what}", hint=refusal.fix)


def _call(pool: urllib3.PoolManager, method: str, url: str, body: bytes | None, most: int) -> tuple[int, bytes]:
    try:
        response = pool.request(
            method,
            url,
            body=body,
            headers={"Content-Type": "application/json"},
            timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S),
            preload_content=False,
            redirect=False,
        )
        raw = response.read(most + 1)
        response.close()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise CoordinatorUnreachable(f"{url}: {error}", hint="is the coordinator up, and the address right?") from error
    if len(raw) > most:
        raise CoordinatorUnreachable(f"{url} answers with more than {most} bytes", hint="check the address")
    return response.status, raw
