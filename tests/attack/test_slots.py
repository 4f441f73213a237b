"""A profile that comes from the registry takes over in a running agent, and gives way when it cannot be lived under."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from coordinator.shell import ceremony
from coordinator.shell.keyring import Keyring
from coordinator.shell.registry_store import Registry
from edge_agent.shell import slots
from firmware_configs.messages import Desired, Reported, Topics
from tests.attack.mirror import Mirror
from tests.attack.test_documents import NARROWER, WIDER
from tests.attack.yard import PATIENCE_S, Victim, Yard, victim
from tests.benchmarks.load import DEVICE, wait_for

pytestmark = pytest.mark.attack


@dataclasses.dataclass
class House:
    """An agent of its own: its profile changes."""

    agent: Victim
    yard: Yard
    revision: int = 100

    def want(self, **documents: str) -> None:
        self.revision += 1
        word = Desired(revision=self.revision, documents=documents, registry=self.agent.url)
        publish.single(
            Topics(DEVICE).of("desired"),
            msgspec.msgpack.encode(word),
            qos=1,
            retain=True,
            hostname="127.0.0.1",
            port=self.agent.port,
            protocol=MQTTProtocolVersion.MQTTv5,
        )

    def says(self) -> dict[str, Any]:
        payloads = [payload for topic, payload in list(self.agent.ear.heard) if topic.endswith("/reported")]
        word = msgspec.msgpack.decode(payloads[-1], type=Reported) if payloads else None
        return dict(word.documents) if word is not None and word.revision == self.revision else {}

    def until(self, kind: str, state: str, version: str) -> str:
        def there() -> bool:
            told = self.says().get(kind)
            return told is not None and (told.state, told.version) == (state, version)

        wait_for(there, f"{kind} {version} {state}: {self.says()}", PATIENCE_S)
        return str(self.says()[kind].reason)

    def approve(self, text: str, kind: str, version: str) -> None:
        """Published, and signed by both approvers."""
        desks = [self.yard.folder / name for name in ("alice", "bob")]
        public = [Keyring([desk]).make(desk.name) for desk in desks]
        self.yard.registry.approvers("bench", public, 2)
        signing = Registry.existing(self.yard.home, desks)
        assert ceremony.sign(signing) == {}
        path = self.yard.folder / "loud.toml"
        path.write_text(text)
        given: dict[str, Any] = {"kind": kind, "fleet": "bench", "version": version, "approved": True}
        assert signing.publish_document(path, **given)[1] == {}

    def publish(self, text: str, kind: str = "profile", **more: Any) -> None:
        path = self.yard.folder / "loud.toml"
        path.write_text(text)
        given: dict[str, Any] = {"kind": kind, "fleet": "bench", "version": "", "approved": False, **more}
        assert self.yard.registry.publish_document(path, **given)[1] == {}


@pytest.fixture
def house(template: Path, hostile: Mirror, tmp_path: Path) -> Iterator[House]:
    ca = template / "keys" / "ca.pem"
    hostile.reset(template / "registry")
    with victim(tmp_path / "v", hostile, ca) as agent:
        yield House(agent, Yard(template, tmp_path / "y", hostile, agent.state, ca))


def test_a_profile_and_experiments_take_over_and_decisions_go_on(house: House) -> None:
    assert house.agent.decides() == "1.0.0"
    house.publish(WIDER)
    house.want(profile="bench-1.0.1")
    assert house.until("profile", "failed", "1.0.1").startswith("AGT714")
    assert house.agent.decides() == "1.0.0"
    house.publish(NARROWER.replace("1.0.1", "1.0.2"))
    house.want(profile="bench-1.0.2")
    house.until("profile", "active", "1.0.2")
    assert house.agent.decides() == "1.0.0"
    loud = '[placement.presence]\nname = "louder"\nwindow_s = 60.0\narms = [{ name = "a" }, { name = "b" }]\n'
    house.approve(loud, "experiment", version="1.0.0")
    house.want(profile="bench-1.0.2", experiment="loud-1.0.0")
    house.until("experiment", "active", "1.0.0")
    assert house.agent.decides() == "1.0.0"
    held = slots.read(house.agent.state)
    assert held.active.documents == {"profile": "bench-1.0.2", "experiment": "loud-1.0.0"}
    assert "louder" in (house.agent.state / "profiles" / held.active.file).read_text()


def test_the_free_place_is_filled_and_the_other_stays(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("own")
    assert slots.choose(tmp_path, own) == own
    for number, file in ((1, "a.toml"), (2, "b.toml"), (3, "a.toml")):
        slots.stage(tmp_path, "profile", f"p-1.0.{number}", str(number).encode())
        path = slots.choose(tmp_path, own)
        assert (path.name, path.read_text()) == (file, str(number))
        slots.confirm(tmp_path)
        assert slots.read(tmp_path).state == "good"
    assert (tmp_path / "profiles" / "b.toml").read_text() == "2"


def test_a_profile_that_the_agent_does_not_live_under_gives_way_and_is_not_taken_again(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    slots.stage(tmp_path, "profile", "p-1.0.1", b"1")
    slots.choose(tmp_path, own)
    slots.confirm(tmp_path)
    slots.stage(tmp_path, "profile", "p-1.0.2", b"2")
    assert [slots.choose(tmp_path, own).read_text() for _ in range(slots.STARTS_MAX)] == ["2"] * slots.STARTS_MAX
    assert slots.choose(tmp_path, own).read_text() == "1"
    held = slots.read(tmp_path)
    assert (held.state, list(held.given_up)) == ("good", ["p-1.0.2"])


@pytest.mark.parametrize("torn", [b"", b"{", b"\xff"])
def test_a_torn_pointer_says_that_the_own_profile_runs(tmp_path: Path, torn: bytes) -> None:
    own = tmp_path / "own.toml"
    slots.stage(tmp_path, "profile", "p-1.0.1", b"1")
    (tmp_path / "profiles" / slots.POINTER).write_bytes(torn)
    assert slots.choose(tmp_path, own) == own
    assert os.listdir(tmp_path / "profiles")  # noqa: PTH208
