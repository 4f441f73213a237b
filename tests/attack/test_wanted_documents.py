"""From `registry publish` and `fleet want` to a profile that runs on a real agent, or is refused by name."""

import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.shell.home import Endpoints
from coordinator.shell.keyring import Keyring
from coordinator.shell.listening import Listener
from coordinator.shell.store import Store
from edge_agent.shell import slots
from tests.attack.test_documents import NARROWER, WIDER
from tests.attack.test_slots import House, house  # noqa: F401 - a fixture
from tests.attack.yard import PATIENCE_S
from tests.benchmarks.load import DEVICE, wait_for

pytestmark = pytest.mark.attack


class Office:
    """People at the coordinator's terminal, whose one device is a real agent."""

    def __init__(self, of: House) -> None:
        self.house, self.home = of, of.yard.home
        broker = f"mqtt://127.0.0.1:{of.agent.port}"
        where = Endpoints(broker=broker, registry=of.agent.url, superlink="", ca="", root="", control="")
        (self.home / "endpoints.json").write_bytes(msgspec.json.encode(where))
        Store(self.home).enrol(DEVICE, 1, "")

    def call(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, [*words, "--home", str(self.home)], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    def publish(self, text: str, *words: str, name: str = "new") -> None:
        path = self.house.yard.folder / f"{name}.toml"
        path.write_text(text)
        self.call("registry", "publish", str(path), "--fleet", "bench", *words)

    def want(self, *words: str) -> None:
        told = json.loads(self.call("fleet", "want", DEVICE, *words, "--json"))
        self.house.revision = told["revisions"][DEVICE]

    def why_not(self, kind: str) -> str:
        return "".join(one["why"] for one in self.shown()["delta"] if one["what"] == kind)

    def shown(self) -> Any:
        return json.loads(self.call("fleet", "show", DEVICE, "--json"))


@pytest.fixture
def office(house: House) -> Office:  # noqa: F811 - the fixture
    return Office(house)


def test_a_published_profile_is_wanted_by_a_command_and_takes_over_on_the_device(office: Office) -> None:
    office.publish(NARROWER)
    office.want("--profile", "bench=1.0.1")
    office.house.until("profile", "active", "1.0.1")
    assert office.house.agent.decides() == "1.0.0"
    held = slots.read(office.house.agent.state)
    assert (held.active.documents, held.before.file) == ({"profile": "bench-1.0.1"}, "")
    assert (office.house.agent.state / slots.FOLDER / held.active.file).read_text() == NARROWER
    office.want("--any-time")
    assert office.shown()["desired"]["documents"] == {"profile": "bench-1.0.1"}, "another wish leaves it as it was"


def test_what_widens_is_refused_by_name_and_runs_once_its_approvers_have_signed(office: Office) -> None:
    broker = f"mqtt://127.0.0.1:{office.house.agent.port}"
    with Listener(broker, office.home, broker_log=False):
        office.publish(WIDER)
        office.want("--profile", "bench=1.0.1")
        reason = office.house.until("profile", "failed", "1.0.1")
        assert reason.startswith("AGT714")
        assert "1 of 2 people" in reason
        assert office.house.agent.decides() == "1.0.0"
        wait_for(lambda: "AGT714" in office.why_not("profile"), "the coordinator hears of it", PATIENCE_S)
        assert "document" in office.call("fleet", "doctor", code=2)
    desks = [office.house.yard.folder / name for name in ("alice", "bob")]
    keys = [Keyring([desk]) for desk in desks]
    for ring, desk in zip(keys, desks, strict=True):
        ring.make(desk.name)
    public = [word for desk in desks for word in ("--public-key", str(desk / f"{desk.name}.pub"))]
    office.call("registry", "approvers", "bench", *public, "--threshold", "2")
    for desk in desks:
        office.call("registry", "sign", "--keys", str(desk))
    office.publish(WIDER.replace("1.0.1", "1.0.2"), "--approved")
    told = office.call("fleet", "want", DEVICE, "--profile", "bench=1.0.2", code=1)
    assert "CRD306" in told
    assert "waits for 2 more signatures of approved-bench" in told
    for desk in desks:
        office.call("registry", "sign", "--keys", str(desk))
    office.want("--profile", "bench=1.0.2")
    office.house.until("profile", "active", "1.0.2")
    assert office.house.agent.decides() == "1.0.0"


def test_a_document_that_is_not_published_is_not_wanted(office: Office) -> None:
    office.publish(NARROWER)
    for words in (("--profile", "bench=9.9.9"), ("--experiment", "bench=1.0.1"), ("--profile", "x")):
        assert "CRD311" in office.call("fleet", "want", DEVICE, *words, code=2)
    assert Store(office.home).desired(DEVICE).revision == 0
