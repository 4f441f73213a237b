"""The fleet's own broker as we configure it: people's words, the device's page, pages in browsers, doctor."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.cli import main as fleet_main
from coordinator.errors import UnknownDevice
from coordinator.shell.apps import admit, dismiss
from coordinator.shell.fleet_store import FleetStore
from edge_agent.commands.group import main
from edge_agent.errors import BrokerRefused
from edge_agent.settings import Settings, load
from edge_agent.shell import visit
from edge_agent.shell.doctor.examination import examine
from edge_agent.shell.visit import Letter
from edge_agent.shell.vitals import ask
from firmware_configs import ledger_evidence
from firmware_configs.ledger_record import read_record, reconcile
from tests.coordinator.seat import MOSQUITTO, QUIET_S, Peer, coordinator, peer, until
from tests.coordinator.town import Town, opened, run

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
ROOM = {"temperature": 21.0, "humidity": 30.0, "light": 100.0, "co2": 500.0, "occupied": True}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with opened(tmp_path_factory.mktemp("town")) as running:
        yield running


def _visits(town: Town, settings: Path, device: str) -> dict[str, Path]:
    """What the operator gives the device's page and commands, named in the settings."""
    files = admit(town.home, f"{device}-page", ["consent", "page"], settings.parent, 1, device=device)
    named = f'visit_cert = "{files["certificate"]}"\nvisit_key = "{files["key"]}"\n'
    settings.write_text(settings.read_text() + named)
    town.settle()
    return files


def test_a_persons_word_reaches_a_running_agent_without_throwing_it_out(town: Town, tmp_path: Path) -> None:
    path = town.device("home-1", tmp_path)
    grant = ["consent", "grant", "anna", "personalise", "--settings", str(path), "--reason", "she said so", "--json"]
    agent = run(path)
    try:
        with coordinator(town.home) as us:
            us.listen("$SYS/broker/log/#", "edgeward/1/home-1/consent/+")
            us.heard.clear()
            refused = CliRunner().invoke(main, grant)
            assert refused.exit_code != 0
            assert "AGT602" in refused.output
            assert "edge-agent keys renew --force" in refused.output
            _visits(town, path, "home-1")
            told = CliRunner().invoke(main, grant)
            assert told.exit_code == 0, told.output
            assert json.loads(told.output)["ms"] > 0, "the agent has stored it"
            assert json.loads(told.output)["state"] == "given"
            until(lambda: "edgeward/1/home-1/consent/anna" in {topic for topic, _ in us.heard})
            parted = [text for topic, text in us.heard if topic.startswith("$SYS") and b"home-1 " in text]
            assert parted == [], "the agent's own line was left alone"
    finally:
        agent.terminate()
        agent.wait(30)


def test_a_devices_page_says_what_pages_say_of_its_own_device_alone(town: Town, tmp_path: Path) -> None:
    path = town.device("home-2", tmp_path)
    _visits(town, path, "home-2")
    settings = load(path, {})
    with coordinator(town.home) as us:
        us.listen("edgeward/1/#")
        us.heard.clear()
        visit.post(settings, [Letter(topic="edgeward/1/home-2/capture/page", payload=b"{}")], "beacon")
        for topic in ("edgeward/1/home-3/capture/page", "edgeward/1/home-3/consent/ann", "edgeward/1/home-2/status"):
            with pytest.raises(BrokerRefused, match="did not take"):
                visit.post(settings, [Letter(topic=topic, payload=b"{}")], "beacon")
        until(lambda: us.heard)
        time.sleep(QUIET_S)
        assert [topic for topic, _ in us.heard] == ["edgeward/1/home-2/capture/page"]


def test_visits_that_meet_throw_each_other_out_and_all_of_them_are_heard(town: Town, tmp_path: Path) -> None:
    """At this broker all visits of a device have one name, and a name is there once."""
    path = town.device("home-5", tmp_path)
    _visits(town, path, "home-5")
    settings = load(path, {})
    topics = [f"edgeward/1/home-5/capture/page-{n}" for n in range(8)]
    with coordinator(town.home) as us, ThreadPoolExecutor(len(topics)) as pool:
        us.listen("edgeward/1/home-5/#")
        us.heard.clear()
        for done in [
            pool.submit(visit.post, settings, [Letter(topic=topic, payload=b"{}")], "page") for topic in topics
        ]:
            done.result(60)
        until(lambda: {topic for topic, _ in us.heard} >= set(topics))


def _looked(path: Path) -> dict[str, str]:
    return {check.name: f"{check.verdict}: {check.what}" for check in examine(path, None)}


def test_doctor_leaves_what_waits_for_a_stopped_agent_where_it_is(town: Town, tmp_path: Path) -> None:
    path = town.device("home-4", tmp_path)
    files = admit(town.home, "thermometer", ["sensor"], tmp_path, 1)
    town.settle()
    state = tmp_path / "state"
    agent = run(path)
    agent.terminate()
    agent.wait(30)
    ca, cert, key = (str(files[name]) for name in ("authority", "certificate", "key"))
    url = load(path, {}).broker.url
    with Peer(url, ca, cert, key) as sensor:
        for n in range(3):
            event = {"id": f"e{n}", "time": time.time(), **ROOM}
            sensor.say("home/home-4/room", json.dumps(event).encode())
    found = _looked(path)
    assert found["broker"].startswith("ok"), found
    assert "left alone" in found["topics"]
    agent = run(path)
    try:
        until(lambda: (v := ask(state)) is not None and v.counters.get("events") == 3, 20)
    finally:
        agent.terminate()
        agent.wait(30)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_doctor_leaves_no_session_of_its_own_behind(town: Town, tmp_path: Path, protocol: str) -> None:
    path = town.device(f"fresh-{protocol.replace('.', '')}", tmp_path)
    path.write_text(path.read_text() + f'protocol = "{protocol}"\n')
    assert "granted" in _looked(path)["topics"]
    assert not _session_present(load(path, {}))


def _session_present(settings: Settings) -> bool:
    told: list[bool] = []
    broker = settings.broker
    client = Client(CallbackAPIVersion.VERSION2, settings.device, protocol=MQTTProtocolVersion.MQTTv5)
    client.tls_set(ca_certs=broker.ca, certfile=broker.cert, keyfile=broker.key)
    client.on_connect = lambda _c, _d, flags, _r, _p: told.append(flags.session_present)
    client.connect(broker.host, broker.port, clean_start=False)
    client.loop_start()
    until(lambda: told, 10)
    client.disconnect()
    client.loop_stop()
    return told[0]


class Browser:
    """What edgeward.js is to the broker: a client over WebSockets with a password, and no certificate."""

    def __init__(self, town: Town, user: str, password: str, name: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.greeted: list[bool] = []
        self.client = Client(
            CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5, transport="websockets"
        )
        self.client.tls_set(ca_certs=str(town.home / "keys" / "ca.pem"))
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda _c, _d, _f, reason, _p: self.greeted.append(not reason.is_failure)
        self.client.on_message = lambda _c, _d, message: self.heard.append((message.topic, message.payload))
        self.client.connect("127.0.0.1", town.pages)
        self.client.loop_start()
        until(lambda: self.greeted, 10)

    def say(self, topic: str) -> None:
        self.client.publish(topic, b"{}", qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_pages_come_in_by_websockets_with_a_password_and_say_what_pages_may(town: Town, tmp_path: Path) -> None:
    town.device("shop-1", tmp_path)
    files = admit(town.home, "kiosk", ["page"], tmp_path, 1, device="shop-1")
    assert files["password"].stat().st_mode & 0o077 == 0
    secret = files["password"].read_text().strip()
    town.settle()
    stranger = Browser(town, "kiosk", "not the password", "page-x")
    stranger.close()
    assert stranger.greeted[0] is False
    with coordinator(town.home) as us:
        us.listen("edgeward/1/#")
        page = Browser(town, "kiosk", secret, "page-a")
        assert page.greeted == [True]
        page.client.subscribe([("edgeward/1/shop-1/reply/#", 1), ("edgeward/1/+/status", 1), ("$SYS/#", 1)])
        time.sleep(QUIET_S)
        for part in ("capture/page", "consent/ann", "feedback", "request/shelf", "status", "desired", "reply/page-a"):
            page.say(f"edgeward/1/shop-1/{part}")
        page.say("edgeward/1/shop-2/capture/page")
        us.say("edgeward/1/shop-1/desired", b"for the shop")
        with peer(load(tmp_path / "agent.toml", {})) as device:
            device.say("edgeward/1/shop-1/reply/page-a", b"mine")
            device.say("edgeward/1/shop-1/reply/page-b", b"another's")
            device.say("edgeward/1/shop-1/status", b"on")
        until(lambda: page.heard)
        time.sleep(QUIET_S)
        said = {topic.removeprefix("edgeward/1/shop-1/") for topic, payload in us.heard if payload == b"{}"}
        assert said == {"capture/page", "consent/ann", "feedback", "request/shelf"}
        assert page.heard == [("edgeward/1/shop-1/reply/page-a", b"mine")]
        # Who is dismissed is out: at once for what is said, for good at the next connection.
        dismiss(town.home, "kiosk")
        town.settle()
        page.close()
        gone = Browser(town, "kiosk", secret, "page-a")
        gone.close()
        assert gone.greeted[0] is False


def test_an_app_of_a_device_that_is_not_enrolled_is_refused(town: Town, tmp_path: Path) -> None:
    with pytest.raises(UnknownDevice):
        admit(town.home, "lost", ["page"], tmp_path, 1, device="nobody")
    assert "lost" not in FleetStore(town.home).apps()


def test_what_a_device_says_at_the_fleets_own_broker_is_recorded_and_found_in_its_ledger(
    town: Town, tmp_path: Path
) -> None:
    path, record = town.device("home-9", tmp_path), tmp_path / "record.jsonl"
    words = ["listen", "--home", str(town.home), "--device", "home-9", "--out", str(record), "--json"]
    with ThreadPoolExecutor(1) as aside:
        heard = aside.submit(CliRunner().invoke, fleet_main, [*words, "--seconds", "8"])
        until(record.exists)
        time.sleep(QUIET_S)
        agent = run(path)
        try:
            done = heard.result(60)
        finally:
            agent.terminate()
            agent.wait(30)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["messages"] == len(read_record(record)) > 0
    found = reconcile(ledger_evidence.read(Path(load(path, {}).state_dir)), read_record(record))
    assert (found.undeclared, found.matched) == ((), len(read_record(record)))
