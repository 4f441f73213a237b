"""A registry, its keys in an attacker's hands where a test says so, and a device that is attacked."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from coordinator.shell.registry_store import Registry
from edge_agent.shell.download import Line, Pace
from edge_agent.shell.pipe import Ended, Fetched, FetchTask, Frames, frame
from edge_agent.shell.trust import Trust
from firmware_configs.messages import DecisionMade, Desired, Reported, Topics
from models.bundle import open_bundle, write_bundle
from tests.attack.mirror import Mirror, mirror
from tests.benchmarks.load import (
    DEVICE,
    READING,
    agent_command,
    broker,
    process,
    wait_for,
    write_agent,
)
from tests.edge_agent.shell.test_run import Ear, tell

BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"
CONTEXT = max(BUNDLES.glob("context-*.edgeward"))
NEW = "1.0.1"
PATIENCE_S = 60.0


def version(folder: Path, number: str, name: str = "context") -> Path:
    """The context bundle under another version, or another name."""
    held = open_bundle(CONTEXT)
    spec = msgspec.structs.replace(held.spec, version=number, name=name)
    return write_bundle(folder, spec, {one: held.read(one) for one in held.files})


class Yard:
    """One registry, freshly copied for each test.

    Attributes:
        mirror: serves it.
        device: a folder with a device's trust and bundles.
    """

    def __init__(self, template: Path, folder: Path, served_by: Mirror, device: Path, ca: Path) -> None:
        self.folder, self.home, self.mirror, self.device, self.ca = folder, folder / "home", served_by, device, ca
        shutil.copytree(template, self.home)
        self.registry = Registry.existing(self.home)
        served_by.reset(self.home / "registry")
        self.trust_this()

    def trust_this(self, root: Path | None = None) -> None:
        """The device is given this registry's root, and forgets what it believed before."""
        trust = self.device / "trust"
        shutil.rmtree(trust, ignore_errors=True)
        trust.mkdir(parents=True)
        shutil.copy(root or self.registry.repository.root_path(1), trust / "root.json")

    def visit(self, not_before_ms: int = 0) -> None:
        """The device looks at the registry as it is now."""
        line = Line(str(self.ca), lambda: Pace(0, 1, PATIENCE_S))
        Trust(self.device / "trust", self.mirror.url, line, not_before_ms).refresh()

    def task(self, number: str = NEW, **more: Any) -> FetchTask:
        task = FetchTask(
            name="context",
            version=number,
            registry=self.mirror.url,
            ca=str(self.ca),
            trust_dir=str(self.device / "trust"),
            bundles_dir=str(self.device / "bundles"),
            fleet="bench",
        )
        return msgspec.structs.replace(task, **more)

    def fetched(self, task: FetchTask | None = None) -> Fetched | Ended:
        """What the real child says: the file, or its last word."""
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent.shell.updater"],
            input=frame(task or self.task()),
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
        word = Frames().feed(done.stdout)[0]
        assert isinstance(word, Fetched | Ended)
        return word

    def path(self, role: str) -> Path:
        """The file of a role's newest metadata."""
        repository = self.registry.repository
        if role == "timestamp":
            return repository.metadata / "timestamp.json"
        if role == "root":
            return repository.root_path()
        return repository.metadata / f"{repository.current(role).signed.version}.{role}.json"

    def bundle(self, number: str = NEW) -> Path:
        found = self.registry.find("context", number)
        assert found is not None
        return found

    def with_keys_of(self, role: str, change: Callable[[Any], None], *, path: Path | None = None) -> None:
        """Whoever has the role's keys changes its newest metadata, as if it had always been so."""
        where = path or self.path(role)
        document: Metadata[Any] = Metadata.from_file(str(where))
        change(document.signed)
        document.signatures.clear()
        self.signed(role, document)
        document.to_file(str(where))

    def signed(self, role: str, document: "Metadata[Any]") -> None:
        """Sign with the keys of a role that lie in the home."""
        owner = "root" if role in ("root", "targets", "snapshot", "timestamp") else "targets"
        keyids = self.registry.repository.current(owner).signed.get_delegated_role(role).keyids
        for signer in self.registry.keyring.signers(keyids):
            document.sign(signer, append=True)

    def without_keys(self, role: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Whoever can write to the server, and has no key."""
        where = self.path(role)
        document = json.loads(where.read_text())
        change(document)
        where.write_text(json.dumps(document))

    def forged(self, role: str, change: Callable[[Any], None]) -> None:
        """Signed by a key that nobody has named."""
        where = self.path(role)
        document: Metadata[Any] = Metadata.from_file(str(where))
        change(document.signed)
        document.sign(CryptoSigner.generate_ed25519())
        document.to_file(str(where))


class Victim:
    """A real agent with the old bundle, on a real broker; it is told to update, and asked to decide."""

    def __init__(self, port: int, url: str, state: Path) -> None:
        self.state, self.port, self.url = state, port, url
        self.ear = Ear(port, "edgeward/1/+/reported", "edgeward/1/+/decision/#")
        self._revision = self._events = 0

    def told(self, number: str = NEW, registry: str = "") -> str:
        """Want a version; returns the reason why it was refused.

        The agent must say `failed`, and serve the old version on.
        """
        self._revision += 1
        word = Desired(revision=self._revision, bundles={"context": number}, registry=registry or self.url)
        topic = Topics(DEVICE).of("desired")
        payload = msgspec.msgpack.encode(word)
        publish.single(
            topic,
            payload,
            qos=1,
            retain=True,
            hostname="127.0.0.1",
            port=self.port,
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        wait_for(lambda: self._refusal() is not None, f"the refusal of {number}", PATIENCE_S)
        return self._refusal() or ""

    def _refusal(self) -> str | None:
        for topic, payload in reversed(self.ear.heard):
            if topic.endswith("/reported"):
                word = msgspec.msgpack.decode(payload, type=Reported)
                state = word.bundles.get("context")
                if word.revision == self._revision and state is not None and state.state == "failed":
                    assert state.serving == "1.0.0", word
                    return state.reason
        return None

    def decides(self) -> str:
        """The version that decides about one more event."""
        self._events += 1
        before = self.ear.count("/decision/")
        tell(self.port, {"id": f"e{self._events}-{time.monotonic_ns()}", **READING, "light": 400.0})
        wait_for(lambda: self.ear.count("/decision/") > before, "the decision", PATIENCE_S)
        payload = next(p for t, p in reversed(self.ear.heard) if "/decision/" in t)
        return msgspec.msgpack.decode(payload, type=DecisionMade).bundles["context"]


@contextmanager
def victim(folder: Path, served_by: Mirror, ca: Path) -> Iterator[Victim]:
    """An agent for a whole module."""
    with broker("iotcore", folder) as port:
        settings = write_agent(folder / "agent", port)
        root = folder / "agent" / "state" / "trust" / "root.json"
        root.parent.mkdir(parents=True)
        root.write_bytes((served_by.folder / "metadata" / "1.root.json").read_bytes())
        settings.write_text(settings.read_text() + f'[registry]\nurl = "{served_by.url}"\nca = "{ca}"\n')
        with process(*agent_command(settings), log=folder / "agent.log"):
            log = folder / "agent.log"
            wait_for(lambda: " connected " in log.read_text(), "the agent", PATIENCE_S)
            agent = Victim(port, served_by.url, folder / "agent" / "state")
            yield agent
            agent.ear.close()


def served(home: Path) -> Any:
    """A mirror whose certificate is of this home's authority."""
    return mirror(home)
