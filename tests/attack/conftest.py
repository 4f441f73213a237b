"""One registry to copy, one server, one agent: for all attacks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.shell import pki
from coordinator.shell.registry_store import Registry
from tests.attack.mirror import Mirror, mirror
from tests.attack.yard import NEW, Victim, Yard, version, victim


@pytest.fixture(scope="package")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose registry holds the new version; the keys lie there, for tests that steal them."""
    folder = tmp_path_factory.mktemp("template")
    registry = Registry.ensure(folder / "home")
    registry.publish(version(folder, NEW))
    pki.ensure_server(folder / "home")
    return folder / "home"


@pytest.fixture(scope="package")
def hostile(template: Path) -> Iterator[Mirror]:
    with mirror(template) as made:
        yield made


@pytest.fixture(scope="package")
def agent(template: Path, hostile: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim(tmp_path_factory.mktemp("victim"), hostile, template / "keys" / "ca.pem") as made:
        yield made


@pytest.fixture
def yard(template: Path, hostile: Mirror, tmp_path: Path, request: pytest.FixtureRequest) -> Yard:
    """The registry that a device is about to be attacked from; it has not looked at it yet. The device is the agent
    where the test asks for one."""
    device = tmp_path / "device"
    if "agent" in request.fixturenames:
        device = request.getfixturevalue("agent").state
    return Yard(template, tmp_path, hostile, device, template / "keys" / "ca.pem")
