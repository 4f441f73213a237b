"""TUF's list of attacks, each on a real agent: refused by name, and the old version decides on."""

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, MetaFile, Root, TargetFile

from coordinator.provenance import Made, statement
from coordinator.shell import ceremony
from coordinator.shell.attesting import seal
from coordinator.shell.registry_store import Registry
from edge_agent.errors import (
    AttestationRejected,
    BundleUnavailable,
    FleetForbidden,
    MetadataExpired,
    OversizeRefused,
    ProbeFailed,
    RegistryUnreachable,
    RollbackRefused,
    SignatureRejected,
    UpdateError,
    VersionForbidden,
)
from tests.attack.mirror import cut_off, elsewhere, endless, mirror, saying
from tests.attack.yard import CONTEXT, NEW, Victim, Yard, version

pytestmark = pytest.mark.attack
LONG_AGO = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
Attack = Callable[[Yard], None]
TARGET = f"bundles/context-{NEW}.edgeward"


def refused(agent: Victim, error: type[UpdateError], number: str = NEW, registry: str = "") -> str:
    """The agent refuses, says so by name, keeps no half file, and serves on."""
    before = sorted(path.name for path in (agent.state / "bundles").glob("*.edgeward"))
    reason = agent.told(number, registry)
    assert reason.startswith(error.code), reason
    assert sorted(path.name for path in (agent.state / "bundles").glob("*.edgeward")) == before
    assert agent.decides() == "1.0.0"
    return reason


def _expire(signed: Any) -> None:
    signed.expires = LONG_AGO


def _other_bytes(yard: Yard) -> None:
    path = yard.bundle()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _other_card(yard: Yard) -> None:
    """The same bundle with a card that tells a nicer story, whole in itself."""
    from models.bundle import open_bundle, write_bundle

    held = open_bundle(yard.bundle())
    files = {name: held.read(name) for name in held.files} | {"card.md": b"# Perfect in every way\n"}
    yard.bundle().write_bytes(write_bundle(yard.folder, held.spec, files).read_bytes())


def _longer(yard: Yard) -> None:
    with yard.bundle().open("ab") as file:
        file.write(b"x")


def _without_signature(yard: Yard) -> None:
    yard.without_keys("timestamp", lambda document: document.update(signatures=[]))


def _captive_portal(yard: Yard) -> None:
    yard.mirror.deeds["timestamp.json"] = saying(b"<html>Please log in to the hotel's network</html>")


def _expires_later_unsigned(role: str) -> Attack:
    def attack(yard: Yard) -> None:
        yard.without_keys(role, lambda document: document["signed"].update(expires="2099-01-01T00:00:00Z"))

    return attack


def _another_registry(yard: Yard) -> None:
    """A mirror that serves a whole registry of its own, well signed by its own keys."""
    other = Registry.ensure(yard.folder / "other")
    other.publish(version(yard.folder, NEW))
    yard.mirror.folder = yard.folder / "other" / "registry"


def _rolled_back_timestamp(yard: Yard) -> None:
    before = yard.folder / "before"
    shutil.copytree(yard.registry.metadata, before / "metadata")
    yard.registry.publish(version(yard.folder, "1.0.2"))
    yard.visit()
    yard.mirror.folder = before


def _rolled_back_snapshot(yard: Yard) -> None:
    yard.registry.publish(version(yard.folder, "1.0.2"))
    yard.visit()
    newest = yard.registry.repository.current("snapshot").signed.version

    def point_back(signed: Any) -> None:
        signed.version += 1
        signed.snapshot_meta = MetaFile(version=newest - 1)

    yard.with_keys_of("timestamp", point_back)


def _rolled_back(role: str) -> Attack:
    """Keys of snapshot and timestamp, used to lead to an older version of a role."""

    def attack(yard: Yard) -> None:
        yard.registry.publish(version(yard.folder, "1.0.2"))
        yard.with_keys_of("targets", lambda _signed: None)
        _bump(yard, role)
        yard.visit()
        path = yard.path("snapshot")
        held: Metadata[Any] = Metadata.from_file(str(path))
        number = held.signed.version + 1
        held.signed.version = number
        held.signed.meta[f"{role}.json"] = MetaFile(version=1)
        held.signatures.clear()
        yard.signed("snapshot", held)
        held.to_file(str(path.with_name(f"{number}.snapshot.json")))

        def lead(signed: Any) -> None:
            signed.version += 1
            signed.snapshot_meta = MetaFile(version=number)

        yard.with_keys_of("timestamp", lead)

    return attack


def _bump(yard: Yard, role: str) -> None:
    yard.registry.repository.change({role: yard.registry.repository.current(role).signed})


def _frozen(role: str) -> Attack:
    """The registry is never renewed: what it says of a role has expired."""

    def attack(yard: Yard) -> None:
        yard.with_keys_of(role, _expire)

    return attack


def _expired_root(yard: Yard) -> None:
    _next_root(yard, _expire)


def _next_root(yard: Yard, change: Callable[[Any], None], *, number: int = 2, sign: bool = True) -> None:
    held: Metadata[Root] = Metadata.from_file(str(yard.path("root")))
    held.signed.version = number
    change(held.signed)
    held.signatures.clear()
    if sign:
        yard.signed("root", held)
    held.to_file(str(yard.registry.metadata / "2.root.json"))


def _root_without_the_old_keys(yard: Yard) -> None:
    other = Registry.ensure(yard.folder / "other")
    document = Metadata.from_file(str(other.root_path))
    document.signed.version = 2
    document.signatures.clear()
    for signer in other.keyring.signers(document.signed.roles["root"].keyids):
        document.sign(signer, append=True)
    document.to_file(str(yard.registry.metadata / "2.root.json"))


def _root_that_skips_a_number(yard: Yard) -> None:
    _next_root(yard, lambda _signed: None, number=3)


def _mixed(yard: Yard) -> None:
    """A snapshot of another time under the name of the newest."""
    yard.registry.publish(version(yard.folder, "1.0.2"))
    newest = yard.path("snapshot")
    number = int(newest.name.split(".")[0])
    shutil.copy(newest.with_name(f"{number - 1}.snapshot.json"), newest)


def _mixed_role(yard: Yard) -> None:
    yard.registry.publish(version(yard.folder, "1.0.2"))
    newest = yard.path("bundle-context")
    shutil.copy(newest.with_name("1.bundle-context.json"), newest)


def _endless(what: str) -> Attack:
    def attack(yard: Yard) -> None:
        yard.mirror.deeds[what] = endless

    return attack


def _too_large(yard: Yard) -> None:
    def swell(signed: Any) -> None:
        signed.targets[TARGET].length = 300 * 1024 * 1024

    yard.with_keys_of("bundle-context", swell)


def _below_threshold(role: str) -> Attack:
    """The role has two keys that must both sign; the attacker has one of them."""

    def attack(yard: Yard) -> None:
        owner = "root" if role in ("root", "targets") else "targets"
        assert ceremony.rotate(yard.registry, role, count=2, threshold=2) == {}
        held = yard.registry.repository.current(owner).signed.get_delegated_role(role)
        (stolen, *_) = yard.registry.keyring.signers(held.keyids)
        if role == "root":
            document: Metadata[Any] = Metadata.from_file(str(yard.path("root")))
            document.signed.version += 1
            place = yard.registry.metadata / f"{document.signed.version}.root.json"
        else:
            place = yard.path(role)
            document = Metadata.from_file(str(place))
        document.signed.expires += datetime.timedelta(days=1)
        document.signatures.clear()
        document.sign(stolen, append=True)
        document.to_file(str(place))

    return attack


def _one_key_twice(yard: Yard) -> None:
    """The one stolen key's signature, listed under the other key's id as well."""
    _below_threshold("bundle-context")(yard)
    held = yard.registry.repository.current("targets").signed.get_delegated_role("bundle-context")

    def repeat(document: dict[str, Any]) -> None:
        (own,) = document["signatures"]
        document["signatures"] = [{**own, "keyid": keyid} for keyid in held.keyids]

    yard.without_keys("bundle-context", repeat)


def _timestamp_key_alone(yard: Yard) -> None:
    """The key of timestamp, used to lead to a snapshot of one's own."""
    yard.forged("snapshot", lambda _signed: None)
    yard.with_keys_of("timestamp", lambda _signed: None)


def _snapshot_and_timestamp_keys(yard: Yard) -> None:
    """Both keys that lie on the server, used to bring in targets of one's own."""
    yard.forged("bundle-context", lambda _signed: None)
    yard.with_keys_of("snapshot", lambda _signed: None)
    yard.with_keys_of("timestamp", lambda _signed: None)


def _wrong_software(yard: Yard) -> None:
    """Another bundle, well signed, under the name of the one that is wanted."""
    raw = version(yard.folder, NEW, name="presence").read_bytes()
    file = TargetFile.from_data(TARGET, raw, ["sha256"])
    sealed = seal(statement("context", TARGET, file.hashes["sha256"], Made()), _signers(yard))
    attestation = TargetFile.from_data(f"attestations/context-{NEW}.intoto.json", sealed, ["sha256"])
    for one, content in ((file, raw), (attestation, sealed)):
        yard.registry.file_of(one).write_bytes(content)
    yard.with_keys_of("bundle-context", lambda signed: signed.targets.update({f.path: f for f in (file, attestation)}))


def _signers(yard: Yard) -> list[Any]:
    held = yard.registry.repository.current("targets").signed.get_delegated_role("bundle-context")
    return yard.registry.keyring.signers(held.keyids)


def _tampered_attestation(yard: Yard) -> None:
    path = next((yard.registry.targets / "attestations").iterdir())
    path.write_bytes(path.read_bytes().replace(b"payload", b"PAYLOAD", 1))


def _missing_attestation(yard: Yard) -> None:
    next((yard.registry.targets / "attestations").iterdir()).unlink()


def _attestation(signer: Any, digest: str) -> Attack:
    def attack(yard: Yard) -> None:
        signers = [signer] if signer is not None else _signers(yard)
        sealed = seal(statement("context", TARGET, digest, Made()), signers)
        file = TargetFile.from_data(f"attestations/context-{NEW}.intoto.json", sealed, ["sha256"])
        yard.registry.file_of(file).write_bytes(sealed)
        yard.with_keys_of("bundle-context", lambda signed: signed.targets.update({file.path: file}))

    return attack


def _by_a_stranger() -> Attack:
    import hashlib

    from securesystemslib.signer import CryptoSigner

    return _attestation(CryptoSigner.generate_ed25519(), hashlib.sha256(b"").hexdigest())


def _gone(yard: Yard) -> None:
    yard.bundle().unlink()


def _truncated(yard: Yard) -> None:
    yard.mirror.deeds["/targets/bundles/"] = cut_off(0)


def _redirected(yard: Yard) -> None:
    yard.mirror.deeds["timestamp.json"] = elsewhere("https://127.0.0.1:1/metadata/timestamp.json")


def _server_error(yard: Yard) -> None:
    yard.mirror.deeds["snapshot.json"] = saying(b"no", 500)


ATTACKS: dict[str, tuple[Attack, type[Any]]] = {
    "arbitrary software: other bytes": (_other_bytes, SignatureRejected),
    "arbitrary software: a nicer card": (_other_card, SignatureRejected),
    "arbitrary software: longer than signed": (_longer, OversizeRefused),
    "metadata without a signature": (_without_signature, SignatureRejected),
    "no metadata at all: a captive portal": (_captive_portal, SignatureRejected),
    "timestamp changed without its key": (_expires_later_unsigned("timestamp"), SignatureRejected),
    "snapshot changed without its key": (_expires_later_unsigned("snapshot"), SignatureRejected),
    "targets changed without its key": (_expires_later_unsigned("targets"), SignatureRejected),
    "bundle's role changed without its key": (_expires_later_unsigned("bundle-context"), SignatureRejected),
    "malicious mirror with keys of its own": (_another_registry, SignatureRejected),
    "rollback of timestamp": (_rolled_back_timestamp, RollbackRefused),
    "rollback of snapshot": (_rolled_back_snapshot, RollbackRefused),
    "rollback of targets": (_rolled_back("targets"), RollbackRefused),
    "rollback of the bundle's role": (_rolled_back("bundle-context"), RollbackRefused),
    "freeze: timestamp expired": (_frozen("timestamp"), MetadataExpired),
    "freeze: snapshot expired": (_frozen("snapshot"), MetadataExpired),
    "freeze: targets expired": (_frozen("targets"), MetadataExpired),
    "freeze: bundle's role expired": (_frozen("bundle-context"), MetadataExpired),
    "root expired": (_expired_root, MetadataExpired),
    "root chain: the old keys did not sign": (_root_without_the_old_keys, SignatureRejected),
    "root chain: a number is skipped": (_root_that_skips_a_number, RollbackRefused),
    "mix and match: snapshot": (_mixed, RollbackRefused),
    "mix and match: bundle's role": (_mixed_role, RollbackRefused),
    "endless root": (_endless(r"2\.root"), OversizeRefused),
    "endless timestamp": (_endless("timestamp"), OversizeRefused),
    "endless snapshot": (_endless("snapshot"), OversizeRefused),
    "endless targets": (_endless(r"\d\.targets"), OversizeRefused),
    "endless bundle's role": (_endless("bundle-context"), OversizeRefused),
    "endless bundle": (_endless("/targets/bundles/"), OversizeRefused),
    "oversized bundle, well signed": (_too_large, OversizeRefused),
    "one of two keys of root": (_below_threshold("root"), SignatureRejected),
    "one of two keys of targets": (_below_threshold("targets"), SignatureRejected),
    "one of two keys of the bundle's role": (_below_threshold("bundle-context"), SignatureRejected),
    "one signature under two names": (_one_key_twice, SignatureRejected),
    "the key of timestamp": (_timestamp_key_alone, SignatureRejected),
    "the keys of snapshot and timestamp": (_snapshot_and_timestamp_keys, SignatureRejected),
    "wrong software under the right name": (_wrong_software, ProbeFailed),
    "attestation tampered with": (_tampered_attestation, AttestationRejected),
    "attestation not served": (_missing_attestation, AttestationRejected),
    "attestation about another file": (_attestation(None, "ab" * 32), AttestationRejected),
    "attestation by a stranger": (_by_a_stranger(), AttestationRejected),
    "bundle gone": (_gone, BundleUnavailable),
    "truncated for ever": (_truncated, RegistryUnreachable),
    "redirected elsewhere": (_redirected, RegistryUnreachable),
    "server fails": (_server_error, RegistryUnreachable),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_by_name_and_the_agent_serves_on(yard: Yard, agent: Victim, name: str) -> None:
    attack, error = ATTACKS[name]
    attack(yard)
    refused(agent, error)


def test_a_version_for_another_fleet_is_refused(yard: Yard, agent: Victim) -> None:
    yard.registry.publish(version(yard.folder, "1.0.2"), fleets=["office", "shop"])
    assert "`bench`" in refused(agent, FleetForbidden, "1.0.2")


def test_another_bundles_role_signs_for_nothing_here(yard: Yard, agent: Victim) -> None:
    """`delegation outside its paths`: a key of `presence`, used to sign a version of `context`."""
    yard.registry.publish(version(yard.folder, "1.0.0", name="presence"))
    file = TargetFile.from_data("bundles/context-9.9.9.edgeward", CONTEXT.read_bytes(), ["sha256"])
    yard.registry.file_of(file).write_bytes(CONTEXT.read_bytes())
    yard.with_keys_of("bundle-presence", lambda signed: signed.targets.update({file.path: file}))
    refused(agent, BundleUnavailable, "1.9.9")
    file = TargetFile.from_data("bundles/context-1.9.9.edgeward", CONTEXT.read_bytes(), ["sha256"])
    yard.with_keys_of("bundle-presence", lambda signed: signed.targets.update({file.path: file}))
    refused(agent, BundleUnavailable, "1.9.9")


@pytest.mark.parametrize("number", ["1.0.1/../../../etc/passwd", "1.0.1\x00", "1.0.1.edgeward", ""])
def test_a_name_that_leads_out_of_the_registry_is_refused(yard: Yard, agent: Victim, number: str) -> None:
    refused(agent, VersionForbidden, number)
    assert yard.mirror.asked == []


def test_a_server_of_another_authority_is_refused(yard: Yard, agent: Victim) -> None:
    with mirror(yard.folder / "stranger") as stranger:
        stranger.folder = yard.mirror.folder
        word = yard.fetched(yard.task(registry=stranger.url))
    assert getattr(word, "code", "") == RegistryUnreachable.code
    assert agent.decides() == "1.0.0"


def test_a_registry_without_tls_is_refused(yard: Yard, agent: Victim) -> None:
    word = yard.fetched(yard.task(registry=yard.mirror.url.replace("https", "http")))
    assert getattr(word, "code", "") == RegistryUnreachable.code
    assert "not https" in getattr(word, "reason", "")
    assert agent.decides() == "1.0.0"


def test_nothing_is_asked_for_but_what_was_wanted(yard: Yard, agent: Victim) -> None:
    """`extraneous dependencies`: a registry full of other things costs a device nothing."""
    for name in ("presence", "affinity"):
        yard.registry.publish(version(yard.folder, "1.0.0", name=name))
    _other_bytes(yard)
    refused(agent, SignatureRejected)
    files = [path for path in yard.mirror.asked if path.startswith("/targets/")]
    assert {Path(path).name.split(".", 1)[1] for path in files} == {
        f"context-{NEW}.edgeward",
        f"context-{NEW}.intoto.json",
    }
    assert not [path for path in yard.mirror.asked if "presence" in path or "affinity" in path]


def test_every_attack_is_refused_because_of_the_attack(yard: Yard, agent: Victim) -> None:
    """The same registry, untouched, is taken: in another folder, so that the agent still has something to refuse."""
    word = yard.fetched(yard.task(bundles_dir=str(yard.folder / "bundles")))
    assert getattr(word, "version", "") == NEW, word
    assert agent.decides() == "1.0.0"
    assert json.loads((yard.registry.metadata / "timestamp.json").read_text())["signed"]["_type"] == "timestamp"
