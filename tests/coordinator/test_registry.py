"""What may be published; a repository that a killed publish leaves whole; and attacks on the updater, a line each."""

import datetime
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from coordinator import registry
from coordinator.errors import NameInvalid, RegistryMissing, VersionStale, VersionTaken
from coordinator.shell import pki
from coordinator.shell.broker import free_port
from coordinator.shell.registry_store import Registry
from edge_agent.errors import (
    BundleUnavailable,
    MetadataExpired,
    OversizeRefused,
    ProbeFailed,
    RegistryUnreachable,
    RollbackRefused,
    SignatureRejected,
    UpdateError,
)
from edge_agent.shell.pipe import FetchTask
from edge_agent.shell.updater import fetch
from models.bundle import open_bundle, write_bundle
from tests.benchmarks.load import process, wait_for

BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"
CONTEXT = max(BUNDLES.glob("context-*.edgeward"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8), st.integers(0, 3), st.integers(0, 3))
def test_only_a_version_above_all_others_may_be_published(there: list[tuple[int, int]], major: int, minor: int) -> None:
    targets = [registry.target_name("m", f"{a}.{b}") for a, b in there]
    version = f"{major}.{minor}"
    try:
        assert registry.may_publish(targets, "m", version) == f"bundles/m-{version}.edgeward"
        assert all(Version(v) < Version(version) for v in registry.versions(targets, "m"))
    except VersionTaken:
        assert version in registry.versions(targets, "m")
    except VersionStale:
        assert Version(version) < Version(registry.versions(targets, "m")[-1])


@pytest.mark.parametrize("target", ["m-1.0", "bundles/m.edgeward", "bundles/../m-1.0.edgeward", "bundles/m-x.edgeward"])
def test_what_names_no_bundle_is_refused(target: str) -> None:
    with pytest.raises(NameInvalid):
        registry.parts(target)


def test_the_next_version_is_free_and_above_everything() -> None:
    targets = [registry.target_name("m", v) for v in ("1.0.0", "1.0.9", "1.2.0")]
    assert registry.next_version(targets, "m", "1.0.0") == "1.2.1"
    assert registry.next_version([], "m", "1.0.0") == "1.0.1"


def _version(folder: Path, version: str) -> Path:
    """The context bundle under another version."""
    import msgspec

    held = open_bundle(CONTEXT)
    spec = msgspec.structs.replace(held.spec, version=version)
    return write_bundle(folder, spec, {name: held.read(name) for name in held.files})


class Served:
    """A registry behind a real HTTPS server, and a device that trusts it."""

    def __init__(self, home: Path, device: Path) -> None:
        self.home, self.device = home, device
        self.registry = Registry.ensure(home)
        self.authority, self.server = pki.ensure_authority(home), pki.ensure_server(home)
        self.port = free_port()
        trust = device / "trust"
        trust.mkdir(parents=True)
        shutil.copyfile(self.registry.root_path, trust / "root.json")

    @property
    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "coordinator.shell.door", "--folder", str(self.home / "registry"),
            "--superlink", "127.0.0.1:1", "--ca", str(self.authority.certificate),
            "--port", str(self.port), "--certificate", str(self.server.certificate), "--key", str(self.server.key),
        ]  # fmt: skip

    def task(self, version: str = "1.0.0", **more: Any) -> FetchTask:
        import msgspec

        task = FetchTask(
            name="context",
            version=version,
            registry=f"https://127.0.0.1:{self.port}",
            ca=str(self.authority.certificate),
            trust_dir=str(self.device / "trust"),
            bundles_dir=str(self.device / "bundles"),
        )
        return msgspec.structs.replace(task, **more)

    def signed(self, role: str, change: Any) -> None:
        """Change a role's newest metadata and sign it with the role's own key: an insider, or a mistake."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import SSlibKey

        path = self.metadata(role)
        held: Metadata[Any] = Metadata.from_file(str(path))
        change(held.signed)
        key = load_pem_private_key((self.home / "keys" / f"{role}.key").read_bytes(), None)
        held.sign(CryptoSigner(key, SSlibKey.from_crypto(key.public_key())))  # type: ignore[arg-type]
        held.to_file(str(path))

    def metadata(self, role: str) -> Path:
        folder = self.registry.metadata
        timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json")).signed
        if role == "timestamp":
            return folder / "timestamp.json"
        snapshot_path = folder / f"{timestamp.snapshot_meta.version}.snapshot.json"
        if role == "snapshot":
            return snapshot_path
        snapshot = Metadata[Snapshot].from_file(str(snapshot_path)).signed
        return folder / f"{snapshot.meta['targets.json'].version}.targets.json"

    def target(self) -> Path:
        return next((self.registry.targets / "bundles").glob("*context*"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    own = Served(tmp_path / "home", tmp_path / "device")
    own.registry.publish(_version(tmp_path, "1.0.0"))
    with process(*own.command, log=tmp_path / "registry.log"):
        wait_for(lambda: _answers(own), "the registry")
        yield own


def _answers(own: Served) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", own.port)) == 0


def test_a_signed_bundle_arrives_verified_and_probed(served: Served) -> None:
    fetched = fetch(served.task())
    assert open_bundle(Path(fetched.path)).sha256 == fetched.sha256
    assert [path.name for path in (served.device / "bundles").iterdir()] == ["context-1.0.0.edgeward"]


def test_a_newer_version_arrives_later(served: Served, tmp_path: Path) -> None:
    fetch(served.task())
    served.registry.publish(_version(tmp_path, "1.0.1"))
    assert fetch(served.task("1.0.1")).version == "1.0.1"


def _refused(served: Served, error: type[UpdateError], task: FetchTask | None = None) -> None:
    with pytest.raises(error) as caught:
        fetch(task or served.task())
    assert caught.value.hint
    assert not list((served.device / "bundles").glob("*.edgeward")), "nothing half-applied"


def test_a_flipped_byte_in_the_bundle_is_refused(served: Served) -> None:
    raw = bytearray(served.target().read_bytes())
    raw[len(raw) // 2] ^= 1
    served.target().write_bytes(raw)
    _refused(served, SignatureRejected)


def test_a_longer_bundle_than_signed_is_refused(served: Served) -> None:
    served.target().write_bytes(served.target().read_bytes() + b"x")
    _refused(served, OversizeRefused)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_that_was_changed_without_the_key_is_refused(served: Served, role: str) -> None:
    path = served.metadata(role)
    document = json.loads(path.read_text())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_text(json.dumps(document))
    _refused(served, SignatureRejected)


def test_metadata_without_a_signature_is_refused(served: Served) -> None:
    path = served.metadata("timestamp")
    document = json.loads(path.read_text())
    document["signatures"] = []
    path.write_text(json.dumps(document))
    _refused(served, SignatureRejected)


def test_another_registrys_root_is_not_trusted(served: Served, tmp_path: Path) -> None:
    other = Registry.ensure(tmp_path / "other")
    shutil.copyfile(other.root_path, served.device / "trust" / "root.json")
    _refused(served, SignatureRejected)


def test_expired_metadata_is_refused(served: Served) -> None:
    def expire(signed: Timestamp) -> None:
        signed.expires = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

    served.signed("timestamp", expire)
    _refused(served, MetadataExpired)


def test_an_older_repository_is_refused(served: Served, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(served.home / "registry", before)
    served.registry.publish(_version(tmp_path, "1.0.1"))
    fetch(served.task("1.0.1"))
    (served.device / "bundles" / "context-1.0.1.edgeward").unlink()
    shutil.rmtree(served.registry.metadata)
    shutil.copytree(before / "metadata", served.registry.metadata)
    _refused(served, RollbackRefused)


def test_mixed_metadata_of_two_times_is_refused(served: Served, tmp_path: Path) -> None:
    def point_elsewhere(signed: Snapshot) -> None:
        signed.meta["targets.json"].version += 5

    served.signed("snapshot", point_elsewhere)
    with pytest.raises(UpdateError):
        fetch(served.task())


def test_a_bundle_that_is_not_published_is_named(served: Served) -> None:
    _refused(served, BundleUnavailable, served.task("9.9.9"))


def test_a_target_that_is_gone_from_the_server_is_named(served: Served) -> None:
    served.target().unlink()
    _refused(served, BundleUnavailable)


def test_a_version_that_is_held_already_is_verified_and_probed_but_not_downloaded_again(served: Served) -> None:
    first = fetch(served.task())
    served.target().unlink()
    assert fetch(served.task()) == first


def test_a_held_file_that_is_not_what_was_signed_is_downloaded_again(served: Served) -> None:
    first = fetch(served.task())
    Path(first.path).write_bytes(Path(first.path).read_bytes()[:-1] + b"!")
    assert fetch(served.task()) == first
    assert Path(first.path).read_bytes() == CONTEXT.read_bytes()


def test_the_probe_runs_what_the_device_will_run(served: Served, tmp_path: Path) -> None:
    import msgspec

    held = open_bundle(CONTEXT)
    files = {name: held.read(name) for name in held.files} | {"model.tflite": b"TFL3"}
    spec = msgspec.structs.replace(held.spec, version="1.0.4")
    served.registry.publish(write_bundle(tmp_path, spec, files))
    _refused(served, ProbeFailed, served.task("1.0.4", backend="tflite"))
    assert fetch(served.task("1.0.4")).version == "1.0.4"


def test_a_server_with_another_authority_is_refused(served: Served, tmp_path: Path) -> None:
    other = pki.ensure_authority(tmp_path / "other")
    _refused(served, RegistryUnreachable, served.task(ca=str(other.certificate)))


def test_a_server_that_is_not_there_is_named(served: Served) -> None:
    _refused(served, RegistryUnreachable, served.task(registry=f"https://127.0.0.1:{free_port()}"))


def test_a_signed_bundle_whose_graph_does_not_load_fails_in_the_probe(served: Served, tmp_path: Path) -> None:
    import msgspec

    held = open_bundle(CONTEXT)
    files = {name: held.read(name) for name in held.files}
    files["predict.onnx"] = files["predict.onnx"][: len(files["predict.onnx"]) // 2]
    spec = msgspec.structs.replace(held.spec, version="1.0.2")
    served.registry.publish(write_bundle(tmp_path, spec, files))
    _refused(served, ProbeFailed, served.task("1.0.2"))


def test_a_signed_bundle_that_scores_otherwise_than_its_golden_outputs_fails_in_the_probe(
    served: Served, tmp_path: Path
) -> None:
    import msgspec

    from models import arrays

    held = open_bundle(CONTEXT)
    files = {name: held.read(name) for name in held.files}
    files["weights.npz"] = arrays.pack({name: value * 0.5 for name, value in held.weights().items()})
    spec = msgspec.structs.replace(held.spec, version="1.0.3")
    served.registry.publish(write_bundle(tmp_path, spec, files))
    _refused(served, ProbeFailed, served.task("1.0.3"))


class _Endless(BaseHTTPRequestHandler):
    """Answers every request with bytes that do not end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65_536)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


def test_an_endless_download_is_stopped(served: Served) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _refused(served, UpdateError, served.task(registry=f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("kept", range(6))
def test_a_publish_that_is_cut_off_leaves_a_whole_repository(served: Served, tmp_path: Path, kept: int) -> None:
    """Of the files that a publish writes, in order, only the first `kept` reach the disk."""
    before = tmp_path / "before"
    shutil.copytree(served.home / "registry", before)
    served.registry.publish(_version(tmp_path, "1.0.1"))
    written = [
        path.relative_to(served.home / "registry")
        for path in sorted((served.home / "registry").rglob("*"), key=lambda p: p.stat().st_mtime_ns)
        if path.is_file() and not _same(path, before / path.relative_to(served.home / "registry"))
    ]
    assert len(written) == 5
    for lost in written[kept:]:
        (served.home / "registry" / lost).unlink()
        if (before / lost).exists():
            shutil.copyfile(before / lost, served.home / "registry" / lost)
    version = "1.0.1" if kept >= len(written) else "1.0.0"
    assert fetch(served.task(version)).version == version


def _same(path: Path, old: Path) -> bool:
    return old.exists() and old.read_bytes() == path.read_bytes()


def test_a_home_without_a_registry_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(RegistryMissing, match="edge-coordinator up"):
        Registry.existing(tmp_path)


def test_private_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    Registry.ensure(tmp_path)
    pki.ensure_server(tmp_path)
    for path in (tmp_path / "keys").glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_server_certificate_is_made_again_only_when_a_name_is_missing(tmp_path: Path) -> None:
    first = pki.ensure_server(tmp_path).certificate.read_bytes()
    assert pki.ensure_server(tmp_path).certificate.read_bytes() == first
    assert pki.ensure_server(tmp_path, [*pki.LOCAL, "hub.example"]).certificate.read_bytes() != first


def test_the_server_serves_ranges_and_nothing_else_of_the_machine(served: Served) -> None:
    import urllib3

    pool = urllib3.PoolManager(ca_certs=str(served.authority.certificate))
    base = f"https://127.0.0.1:{served.port}"
    name = served.target().name
    part = pool.request("GET", f"{base}/targets/bundles/{name}", headers={"Range": "bytes=0-9"})
    assert (part.status, len(part.data)) == (206, 10)
    for path in ("/targets/../../keys/ca.key", "/keys/ca.key", "/targets/%2e%2e/%2e%2e/keys/ca.key"):
        assert pool.request("GET", base + path, retries=False).status == 404


def test_the_updater_child_speaks_the_pipe(served: Served) -> None:
    from edge_agent.shell.pipe import Ended, Fetched, Frames, frame

    child = subprocess.run(
        [sys.executable, "-m", "edge_agent.shell.updater"],
        input=frame(served.task()),
        capture_output=True,
        timeout=60,
        check=True,
    )
    words = Frames().feed(child.stdout)
    assert isinstance(words[0], Fetched)
    assert words[1] == Ended()
    assert Metadata[Targets].from_file(str(served.metadata("targets"))).signed.version == 2
