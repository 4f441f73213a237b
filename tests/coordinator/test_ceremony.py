"""Keys of the registry: several that sign together, kept elsewhere, replaced; and what a client then accepts."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from coordinator.cli import main
from coordinator.errors import ChangePending, RegistryKeyInvalid, RegistryThere
from coordinator.shell import ceremony
from coordinator.shell.keyring import Keyring
from coordinator.shell.pki import write_private
from coordinator.shell.registry_store import Registry
from coordinator.shell.repository import expiry
from coordinator.shell.verifying import verify
from models.bundle import open_bundle, write_bundle

BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"
CONTEXT = max(BUNDLES.glob("context-*.edgeward"))


def version(folder: Path, number: str) -> Path:
    """The context bundle under another version."""
    import msgspec

    held = open_bundle(CONTEXT)
    spec = msgspec.structs.replace(held.spec, version=number)
    return write_bundle(folder, spec, {name: held.read(name) for name in held.files})


def cli(home: Path, *words: object, status: int = 0) -> Result:
    done = CliRunner().invoke(main, ["registry", *map(str, words), "--home", str(home)])
    assert done.exit_code == status, done.output
    return done


def errors(registry: Registry) -> list[str]:
    return [f"{one.where}: {one.what}" for one in verify(registry) if one.level == "error"]


class Shared:
    """A registry whose root three people hold, two of whom must sign; each has a stick."""

    def __init__(self, folder: Path, *, targets_offline: bool = False) -> None:
        self.home, self.vault = folder / "home", folder / "vault"
        registry = Registry(self.home, [self.vault])
        plan = ceremony.Plan(offline=self.vault, targets_offline=targets_offline)
        ceremony.init(registry, plan, None)
        self.sticks: list[Path] = []
        for number, key in enumerate(sorted(self.vault.glob("root*.key"))):
            stick = folder / f"stick-{number}"
            stick.mkdir()
            shutil.move(key, stick)
            shutil.move(key.with_suffix(".pub"), stick)
            self.sticks.append(stick)

    def opened(self, *sticks: int, vault: bool = False) -> Registry:
        folders: Sequence[Path] = [*(self.sticks[n] for n in sticks), *([self.vault] if vault else [])]
        return Registry.existing(self.home, folders)


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


def test_a_root_of_several_keys_publishes_without_any_of_them_at_hand(shared: Shared, tmp_path: Path) -> None:
    registry = shared.opened()
    assert registry.publish(version(tmp_path, "1.0.0")).pending == ()
    assert errors(registry) == []
    root = registry.repository.current("root").signed.get_delegated_role("root")
    assert (len(root.keyids), root.threshold) == (3, 2)


def test_one_of_two_signatures_is_not_enough_to_change_the_root_and_two_are(shared: Shared) -> None:
    first = ceremony.rotate(shared.opened(0), "timestamp")
    assert first == {"root": 1}
    assert shared.opened().repository.current("root").signed.version == 1
    (waiting,) = ceremony.pending(shared.opened())
    assert (waiting.role, waiting.missing, len(waiting.signed_by)) == ("root", 1, 1)
    assert ceremony.sign(shared.opened(0)) == {"root": 1}, "the same key again counts once"
    assert ceremony.sign(shared.opened(2)) == {}
    assert shared.opened().repository.current("root").signed.version == 2
    assert ceremony.pending(shared.opened()) == []
    assert errors(shared.opened()) == []


def test_a_copy_is_signed_on_a_machine_that_knows_nothing_else(shared: Shared, tmp_path: Path) -> None:
    ceremony.rotate(shared.opened(1), "snapshot")
    copy = tmp_path / "usb" / "root.json"
    copy.parent.mkdir()
    shutil.copy(shared.opened().repository.waits_at("root"), copy)
    elsewhere = tmp_path / "nothing"
    assert "added 1" in cli(elsewhere, "sign", "--copy", copy, "--keys", shared.sticks[0]).output
    assert "in force" in cli(shared.home, "sign", "--take", copy).output
    assert errors(shared.opened()) == []


def test_a_copy_of_something_else_is_not_taken(shared: Shared, tmp_path: Path) -> None:
    ceremony.rotate(shared.opened(1), "snapshot")
    stray = tmp_path / "stray.json"
    shutil.copy(shared.opened().repository.root_path(), stray)
    assert "no copy" in cli(shared.home, "sign", "--take", stray, status=1).output


def test_a_change_that_waits_holds_up_its_own_roles_only(shared: Shared, tmp_path: Path) -> None:
    ceremony.rotate(shared.opened(1), "timestamp")
    registry = shared.opened()
    registry.publish(version(tmp_path, "1.0.0"))
    registry.refresh()
    with pytest.raises(ChangePending):
        ceremony.rotate(registry, "snapshot")
    assert ceremony.sign(shared.opened(0)) == {}
    assert errors(shared.opened()) == []
    assert shared.opened().newest("context") == "1.0.0"


def test_a_change_that_waits_can_be_given_up(shared: Shared) -> None:
    ceremony.rotate(shared.opened(1), "timestamp")
    assert "gave up root" in cli(shared.home, "sign", "--drop").output
    assert ceremony.pending(shared.opened()) == []


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp", "bundle-context"])
def test_every_role_gets_new_keys_and_a_client_follows(shared: Shared, tmp_path: Path, role: str) -> None:
    registry = shared.opened(0, 1)
    registry.publish(version(tmp_path, "1.0.0"))
    owner = "targets" if role == "bundle-context" else "root"
    before = set(registry.repository.current(owner).signed.get_delegated_role(role).keyids)
    assert ceremony.rotate(registry, role) == {}
    after = set(registry.repository.current(owner).signed.get_delegated_role(role).keyids)
    assert not before & after
    assert errors(registry) == []
    Registry.existing(shared.home).publish(version(tmp_path, "1.0.1"))
    assert errors(registry) == []


def test_targets_that_are_kept_away_make_a_new_bundle_wait_and_a_new_version_not(tmp_path: Path) -> None:
    shared = Shared(tmp_path, targets_offline=True)
    assert shared.opened().publish(version(tmp_path, "1.0.0")).pending == ("targets",)
    assert shared.opened().published() == []
    assert ceremony.sign(shared.opened(vault=True)) == {}
    assert shared.opened().publish(version(tmp_path, "1.0.1")).pending == ()
    assert [target.version for target in shared.opened().published()] == ["1.0.0", "1.0.1"]
    assert errors(shared.opened()) == []


def test_keys_under_a_passphrase_sign_with_it_and_not_without(tmp_path: Path) -> None:
    home, vault = tmp_path / "home", tmp_path / "vault"
    (tmp_path / "word").write_text("correct horse\n")
    (tmp_path / "other").write_text("battery staple\n")
    made = cli(home, "init", "--out", vault, "--passphrase-file", tmp_path / "word", "--json")
    assert len(json.loads(made.output)["keys"]) == 3
    assert b"ENCRYPTED" in (vault / "root.key").read_bytes()
    said = cli(home, "rotate", "timestamp", "--keys", vault, "--passphrase-file", tmp_path / "other", status=2)
    assert "passphrase is wrong" in said.output
    cli(home, "rotate", "timestamp", "--keys", vault, "--passphrase-file", tmp_path / "word")
    assert errors(Registry.existing(home)) == []


def test_a_threshold_that_cannot_be_met_and_a_second_registry_are_refused(shared: Shared, tmp_path: Path) -> None:
    with pytest.raises(RegistryKeyInvalid):
        ceremony.init(Registry(tmp_path / "b"), ceremony.Plan(root_keys=1, root_threshold=2), None)
    with pytest.raises(RegistryKeyInvalid):
        ceremony.rotate(shared.opened(0, 1), "targets", count=1, threshold=2)
    with pytest.raises(RegistryThere):
        ceremony.init(Registry(shared.home), ceremony.Plan(), None)


def test_a_bundles_key_signs_for_no_other_bundle(tmp_path: Path) -> None:
    registry = Registry.ensure(tmp_path / "home")
    registry.publish(version(tmp_path, "1.0.0"))
    held: Targets = registry.repository.current("bundle-context").signed
    held.targets["bundles/presence-1.0.0.edgeward"] = TargetFile.from_data("bundles/presence-1.0.0.edgeward", b"x")
    registry.repository.change({"bundle-context": held})
    assert any("may not sign for it" in one for one in errors(registry))


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    registry = Registry.ensure(tmp_path / "home")
    registry.publish(version(tmp_path, "1.0.0"))
    registry.publish(version(tmp_path, "1.0.1"))
    assert errors(registry) == []
    first, second = registry.find("context", "1.0.0"), registry.find("context", "1.0.1")
    assert first
    assert second
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    attestation = next((registry.targets / "attestations").glob("*1.0.1*"))
    document = json.loads(attestation.read_bytes())
    document["signatures"][0]["sig"] = document["signatures"][0]["sig"][::-1]
    attestation.write_text(json.dumps(document))
    said = "\n".join(errors(registry))
    for part in ("context-1.0.0.edgeward: its file is gone", "not what was signed", "not signed by its role"):
        assert part in said
    assert "its file is gone" in cli(tmp_path / "home", "verify", status=1).output


def test_a_registry_of_an_older_edgeward_goes_on_and_its_versions_move_to_their_roles(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _old_registry(home, version(tmp_path, "1.0.0"))
    registry = Registry.ensure(home)
    assert [target.version for target in registry.published()] == ["1.0.0"]
    registry.refresh()
    registry.publish(version(tmp_path, "1.0.1"))
    assert [(t.version, t.attested) for t in registry.published()] == [("1.0.0", False), ("1.0.1", True)]
    assert registry.repository.current("targets").signed.targets == {}
    assert errors(registry) == []


def _old_registry(home: Path, bundle: Path) -> None:
    """As it was written before there were delegations: one key a role, every bundle in targets."""
    metadata, targets = home / "registry" / "metadata", home / "registry" / "targets" / "bundles"
    metadata.mkdir(parents=True)
    targets.mkdir(parents=True)
    root, signers = Root(expires=expiry(365), consistent_snapshot=True), {}
    for role in ("root", "targets", "snapshot", "timestamp"):
        signers[role] = CryptoSigner.generate_ed25519()
        write_private(home / "keys" / f"{role}.key", signers[role].private_bytes)
        root.add_key(signers[role].public_key, role)
    raw = bundle.read_bytes()
    file = TargetFile.from_data(f"bundles/{bundle.name}", raw, ["sha256"])
    (targets / f"{file.hashes['sha256']}.{bundle.name}").write_bytes(raw)
    documents: dict[str, tuple[str, Any]] = {
        "root": ("1.root.json", root),
        "targets": ("1.targets.json", Targets(expires=expiry(20), targets={file.path: file})),
        "snapshot": ("1.snapshot.json", Snapshot(expires=expiry(30))),
        "timestamp": ("timestamp.json", Timestamp(expires=expiry(7), snapshot_meta=MetaFile(version=1))),
    }
    for role, (name, signed) in documents.items():
        document: Metadata[Any] = Metadata(signed)
        document.sign(signers[role])
        document.to_file(str(metadata / name))


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    ring = Keyring([tmp_path])
    ring.make("alice")
    with pytest.raises(RegistryKeyInvalid):
        ring.make("alice")


def test_garbage_goes_but_nothing_that_a_device_runs_or_would_return_to(tmp_path: Path) -> None:
    from coordinator.shell.sweeping import in_use, sweep
    from firmware_configs.messages import BundleState, Desired, Reported

    registry = Registry.ensure(tmp_path / "home")
    for number in range(8):
        registry.publish(version(tmp_path, f"1.0.{number}"))
    needed = in_use(
        [Desired(revision=1, bundles={"context": "1.0.4"})],
        [
            Reported(
                device="d",
                revision=1,
                bundles={"context": BundleState(version="1.0.4", state="canary", serving="1.0.2")},
            )
        ],
    )
    dry = sweep(registry, 2, needed, dry_run=True)
    assert [one for _, one in dry.versions] == ["1.0.0", "1.0.5"]
    assert len(registry.published()) == 8
    done = sweep(registry, 2, needed, dry_run=False)
    assert done.versions == dry.versions
    assert [one.version for one in registry.published()] == ["1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.6", "1.0.7"]
    assert errors(registry) == []
    assert len(list((registry.targets / "bundles").iterdir())) == 6
    assert sweep(registry, 2, needed, dry_run=False).files == 0


def test_a_card_is_a_page_of_its_own(tmp_path: Path) -> None:
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from coordinator.shell.artefacts import routes

    registry = Registry.ensure(tmp_path / "home")
    registry.publish(version(tmp_path, "1.0.0"))
    client = TestClient(Starlette(routes=routes(tmp_path / "home" / "registry")))
    assert "context 1.0.0" in client.get("/cards").text
    page = client.get("/cards/context/1.0.0").text
    assert registry.published()[0].sha256 in page
    assert "What is attested" in page
    assert client.get("/cards/context/1.0.0?as=markdown").text == open_bundle(CONTEXT).read("card.md").decode()
    assert client.get("/cards/context/9.0.0").status_code == 404
    path = registry.find("context", "1.0.0")
    assert path
    path.write_bytes(path.read_bytes()[:-9])
    assert client.get("/cards/context/1.0.0").status_code == 500


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_rotation_that_is_killed_before_its_last_file_leaves_the_old_registry_whole(
    tmp_path: Path, role: str
) -> None:
    """The new root comes last: whoever knows only the old one must still be served."""
    registry = Registry.ensure(tmp_path / "home")
    registry.publish(version(tmp_path, "1.0.0"))
    assert ceremony.rotate(registry, role) == {}
    registry.repository.root_path(2).unlink()
    assert errors(registry) == []
