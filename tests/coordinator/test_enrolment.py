"""A device comes in with a token, reads and writes its own topics only, and is put out for good: all of it for real."""

import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.errors import TokenUsed
from coordinator.fleet.access import topology
from coordinator.shell.apps import admit, dismiss
from coordinator.shell.authority import fingerprint, operator
from coordinator.shell.enrol import revoke
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import endpoints_of
from coordinator.shell.invitations import Invitations
from coordinator.shell.mosquitto import write_access
from edge_agent.errors import CoordinatorUnknown, EnrolmentRefused, TokenInvalid
from edge_agent.settings import Settings, load
from edge_agent.shell.enrolment import Enrolled, enrol, renew
from firmware_configs.enrolment import Token
from firmware_configs.loader import load as load_profile
from firmware_configs.messages import Topics

SCRIPT = Path(sys.executable).parent / "edge-coordinator"
AGENT = Path(sys.executable).parent / "edge-agent"
PROFILE = Path(__file__).parents[2] / "firmware_configs" / "profiles" / "home-gateway.toml"
PATIENCE_S = 60.0
QUIET_S = 1.0
"""What is not there after so long does not come."""
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


@dataclass
class Seat:
    """A coordinator with mosquitto, as people start it."""

    home: Path
    url: str
    devices: dict[str, tuple[Path, str]] = field(default_factory=dict)

    def token(self, **more: Any) -> str:
        lasts_s = more.pop("lasts_s", 600.0)
        return str(Invitations(self.home).make(1, lasts_s, **more)[0])

    def enrol(self, name: str, folder: Path, token: str = "", url: str = "", *, fresh: bool = False) -> Enrolled:
        folder.mkdir(parents=True, exist_ok=True)
        done = enrol(
            url or self.url,
            token or self.token(),
            folder / "agent.toml",
            device=name,
            state_dir=folder / "state",
            profile=PROFILE,
            fresh=fresh,
        )
        self.settle()
        return done

    def settle(self) -> None:
        """Until mosquitto has read its lists again: `up` looks every 0.2 s."""
        time.sleep(1.5)


@contextmanager
def started(folder: Path) -> Iterator[Seat]:
    """`edge-coordinator up` with mosquitto."""
    home, ready = folder / "home", folder / "ready"
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [SCRIPT, "up", "--home", str(home), "--broker", "mosquitto", "--ready-file", str(ready)],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: ready.exists() or up.poll() is not None)
        assert up.poll() is None, (folder / "up.log").read_text()
        yield Seat(home, endpoints_of(home).registry)
    finally:
        up.terminate()
        up.wait(30)


@pytest.fixture(scope="module")
def seat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seat]:
    with started(tmp_path_factory.mktemp("seat")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(seat: Seat, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Settings]:
    """Two devices that are in."""
    found = []
    for name in ("home-1", "home-2"):
        folder = tmp_path_factory.mktemp(name)
        seat.enrol(name, folder)
        found.append(load(folder / "agent.toml", {}))
    FleetStore(seat.home).give_profile(topology(load_profile(PROFILE).profile), ["home-1", "home-2"])
    write_access(seat.home)
    seat.settle()
    return found[0], found[1]


def until(holds: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


class Peer:
    """A client of the broker with a certificate, and all that it was told."""

    def __init__(self, url: str, ca: str, cert: str, key: str, name: str = "") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.refused: list[str] = []
        self.came = self.gone = False
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
        self.client.on_message = self._message
        self.client.on_connect = self._connect
        self.client.on_disconnect = self._disconnect
        self._where = urlsplit(url)

    def __enter__(self) -> Self:
        assert self._where.hostname
        assert self._where.port
        self.client.connect(self._where.hostname, self._where.port)
        self.client.loop_start()
        until(lambda: self.came or self.gone, 20)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _connect(self, _c: Client, _u: object, _f: object, code: Any, _p: object) -> None:
        self.came = not code.is_failure
        self.gone = code.is_failure

    def _disconnect(self, *_given: object) -> None:
        self.gone = True

    def _message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)

    def listen(self, *topics: str) -> None:
        self.client.subscribe([(topic, 1) for topic in topics])
        time.sleep(QUIET_S)


def peer(settings: Settings, name: str = "") -> Peer:
    broker = settings.broker
    return Peer(broker.url, broker.ca, broker.cert, broker.key, name or settings.device)


def coordinator(home: Path) -> Peer:
    own = operator(home)
    return Peer(endpoints_of(home).broker, str(home / "keys" / "ca.pem"), str(own.certificate), str(own.key))


def is_let_in(settings: Settings) -> bool:
    try:
        with peer(settings) as one:
            time.sleep(0.3)
            return one.came and not one.gone
    except (ssl.SSLError, OSError):
        return False


def test_a_device_comes_in_and_its_settings_are_whole(seat: Seat, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('device = "garden"\nstate_dir = "state"\ntimezone = "Europe/Paris"\n')
    token = seat.token(groups=["beta"])
    done = enrol(seat.url, token, tmp_path / "agent.toml", device="", state_dir=None, profile=PROFILE, fresh=False)
    settings = load(tmp_path / "agent.toml", {})
    assert (settings.device, done.device, settings.timezone) == ("garden", "garden", "Europe/Paris")
    assert settings.coordinator == done.coordinator
    assert settings.state_dir == str(tmp_path / "state")
    for private in (settings.broker.key, settings.superlink.node_key, str(tmp_path / "agent.toml")):
        assert Path(private).stat().st_mode & 0o077 == 0, f"{private} is for its owner only"
    assert (tmp_path / "agent.toml.before").exists()
    view = FleetStore(seat.home).view("garden")
    assert view.groups == ("beta",)
    assert view.certificate_ends_ms == done.certificate_ends_ms
    seat.settle()
    assert is_let_in(settings)
    again = enrol(seat.url, token, tmp_path / "agent.toml", device="", state_dir=None, profile=None, fresh=False)
    assert again.node == done.node, "an answer that was lost is given again"


def test_a_token_is_good_once(seat: Seat, tmp_path: Path) -> None:
    token = seat.token()
    seat.enrol("first", tmp_path / "a", token)
    with pytest.raises(EnrolmentRefused, match="CRD714"):
        seat.enrol("second", tmp_path / "b", token)
    assert not (tmp_path / "b" / "agent.toml").exists()


@pytest.mark.parametrize(
    ("case", "code"),
    [("expired", "CRD713"), ("unknown", "CRD712"), ("of another device", "CRD712"), ("withdrawn", "CRD712")],
)
def test_a_token_that_is_not_good_is_refused_by_name(seat: Seat, tmp_path: Path, case: str, code: str) -> None:
    made = {
        "expired": lambda: seat.token(lasts_s=0.001),
        "unknown": lambda: str(Token(b"x" * 32, bytes.fromhex(fingerprint(seat.home)))),
        "of another device": lambda: seat.token(device="somebody"),
        "withdrawn": seat.token,
    }[case]()
    time.sleep(0.01)
    if case == "withdrawn":
        assert Invitations(seat.home).withdraw() >= 1
    with pytest.raises(EnrolmentRefused, match=code):
        seat.enrol("nobody", tmp_path, made)
    assert "nobody" not in {one.name for one in FleetStore(seat.home).views()}


def test_a_token_with_a_wrong_letter_is_not_sent_anywhere(tmp_path: Path) -> None:
    token = str(Token(b"x" * 32, b"y" * 32))
    for wrong in (token[:-1], token.replace("eHh4", "eHh5", 1), "", "edgeward1.", token + "é"):
        with pytest.raises(TokenInvalid):
            enrol(
                "https://127.0.0.1:1", wrong, tmp_path / "a.toml", device="", state_dir=None, profile=None, fresh=False
            )


def test_somebody_else_who_answers_learns_nothing(seat: Seat, tmp_path: Path) -> None:
    """The token pins the authority: to another one the device does not even send its secret."""
    other = str(Token(b"x" * 32, b"y" * 32))
    with pytest.raises(CoordinatorUnknown):
        seat.enrol("nobody", tmp_path, other)
    assert not (tmp_path / "state").exists(), "not even keys were made"


def test_a_name_that_is_taken_is_refused_and_the_token_stays_good(
    seat: Seat, pair: tuple[Settings, Settings], tmp_path: Path
) -> None:
    token = seat.token()
    for taken in ("home-1", "a/b", "home-1\n", "x" * 64):
        with pytest.raises(EnrolmentRefused, match=r"CRD107|CRD717|CRD716"):
            seat.enrol(taken, tmp_path, token)
    assert seat.enrol("home-3", tmp_path, token).device == "home-3"


def test_of_devices_that_come_at_once_with_one_token_one_is_let_in(seat: Seat) -> None:
    token = Invitations(seat.home).make(1, 600.0)[0]
    won, lost = [], []

    def claim(name: str) -> None:
        try:
            won.append(Invitations(seat.home).claim(token.secret, name, "key"))
        except TokenUsed:
            lost.append(name)

    threads = [threading.Thread(target=claim, args=(f"d{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)


def test_secrets_are_kept_nowhere(seat: Seat) -> None:
    token = Invitations(seat.home).make(1, 600.0)[0]
    for path in seat.home.glob("coordinator.db*"):
        assert token.secret not in path.read_bytes()
    assert str(token) not in repr(token)


def test_a_device_reads_and_writes_its_own_topics_only(seat: Seat, pair: tuple[Settings, Settings]) -> None:
    one, two = pair
    own, other = Topics("home-1"), Topics("home-2")
    with coordinator(seat.home) as us, peer(one) as spy, peer(two) as honest:
        us.listen("edgeward/1/#")
        spy.listen("edgeward/1/#", "#", other.of("desired"), other.of("status"), "home/home-2/room", "$SYS/#")
        before = len(spy.heard)
        us.say(other.of("desired"), b"for two")
        us.say(own.of("desired"), b"for one")
        honest.say(other.of("status"), b"two")
        spy.say(other.of("status"), b"forged")
        spy.say(other.of("reported"), b"forged")
        spy.say(own.of("desired"), b"self-made", retain=True)
        spy.say(own.of("status"), b"one")
        until(lambda: (own.of("status"), b"one") in us.heard)
        time.sleep(QUIET_S)
        assert (other.of("status"), b"two") in us.heard
        assert b"forged" not in {payload for _, payload in us.heard}
        assert b"self-made" not in {payload for _, payload in us.heard}
        assert {payload for _, payload in spy.heard[before:]} == {b"for one"}


def test_a_device_hears_its_profiles_sources_and_sends_to_its_actuators(
    seat: Seat, pair: tuple[Settings, Settings], tmp_path: Path
) -> None:
    one, _ = pair
    files = admit(seat.home, "thermometer", ["sensor"], tmp_path, 1)
    seat.settle()
    url = endpoints_of(seat.home).device_broker
    ca, cert, key = (str(files[name]) for name in ("authority", "certificate", "key"))
    with peer(one) as device, Peer(url, ca, cert, key) as sensor:
        device.listen("home/home-1/room", "home/home-2/room")
        sensor.say("home/home-1/room", b"warm")
        sensor.say("home/home-2/room", b"cold")
        sensor.say("edgeward/1/home-1/desired", b"forged")
        until(lambda: device.heard)
        time.sleep(QUIET_S)
        assert device.heard == [("home/home-1/room", b"warm")]
    assert dismiss(seat.home, "thermometer") == 1


def test_nobody_takes_the_session_of_another(pair: tuple[Settings, Settings]) -> None:
    one, two = pair
    with peer(two) as victim, peer(one, name="home-2") as thief:
        time.sleep(QUIET_S)
        assert thief.came, "it is let in, but as itself"
        assert not victim.gone, "mosquitto goes by the certificate, not by the client id that is claimed"


def test_a_devices_certificate_does_not_open_the_coordinators_listener(
    seat: Seat, pair: tuple[Settings, Settings]
) -> None:
    broker = pair[0].broker
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):  # noqa: PT012, SIM117
        with Peer(endpoints_of(seat.home).broker, broker.ca, broker.cert, broker.key) as one:
            time.sleep(0.3)
            assert not one.gone


def test_a_certificate_is_renewed_by_the_nodes_key(seat: Seat, tmp_path: Path) -> None:
    seat.enrol("renewer", tmp_path)
    path = tmp_path / "agent.toml"
    settings = load(path, {})
    before = Path(settings.broker.cert).read_bytes()
    assert renew(path, {}, force=False) is None, "it is good for long"
    assert renew(path, {}, force=True) is not None
    after = Path(settings.broker.cert).read_bytes()
    assert x509.load_pem_x509_certificate(after).serial_number != x509.load_pem_x509_certificate(before).serial_number
    assert is_let_in(settings)


def test_who_is_revoked_is_out_at_once_and_for_good(seat: Seat, tmp_path: Path) -> None:
    token = seat.token()
    seat.enrol("leaver", tmp_path, token)
    settings = load(tmp_path / "agent.toml", {})
    with coordinator(seat.home) as us, peer(settings) as connected:
        us.listen("edgeward/1/leaver/#")
        connected.say(Topics("leaver").of("status"), b"before")
        until(lambda: us.heard)
        revoke(seat.home, "leaver")
        seat.settle()
        connected.say(Topics("leaver").of("status"), b"after")
        time.sleep(QUIET_S)
        assert [payload for _, payload in us.heard] == [b"before"], "a line that stands is worth nothing"
    until(lambda: not is_let_in(settings), 20)
    with pytest.raises(EnrolmentRefused, match="CRD717"):
        renew(tmp_path / "agent.toml", {}, force=True)
    with pytest.raises(EnrolmentRefused, match="CRD712"):
        seat.enrol("leaver", tmp_path, token)
    seat.enrol("leaver", tmp_path, fresh=True)
    assert is_let_in(load(tmp_path / "agent.toml", {})), "a person may let it in again, with a new token and new keys"


def test_without_a_declared_status_there_is_presence_and_nothing_else(seat: Seat, tmp_path: Path) -> None:
    """The device says nothing at all; that it is connected is what the broker knows by itself."""
    quiet = tmp_path / "quiet.toml"
    text = PROFILE.read_text()
    start = text.index('[[egress]]\nkind = "status"')
    end = text.index("[[", start + 2)
    quiet.write_text(text[:start] + text[end:])
    seat.enrol("quiet", tmp_path)
    with coordinator(seat.home) as us:
        us.listen("edgeward/1/quiet/#")
        run = [AGENT, "run", "--settings", str(tmp_path / "agent.toml"), "--profile", str(quiet)]
        with (tmp_path / "log").open("wb") as log:
            agent = subprocess.Popen(run, stdout=log, stderr=log, env={**os.environ})
        try:
            until(lambda: FleetStore(seat.home).view("quiet").online)
        finally:
            agent.terminate()
            agent.wait(30)
        until(lambda: FleetStore(seat.home).view("quiet").online is False)
        assert us.heard == []
    view = FleetStore(seat.home).view("quiet")
    assert (view.said_by, view.status, view.reported, view.agent) == ("broker", None, None, "")
    assert {row.kind for row in FleetStore(seat.home).log("quiet")} == {"presence"}


def test_a_declared_status_comes_and_tells_what_runs(seat: Seat, tmp_path: Path) -> None:
    seat.enrol("talker", tmp_path)
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen([AGENT, "run", "--settings", str(tmp_path / "agent.toml")], stdout=log, stderr=log)
    try:
        until(lambda: FleetStore(seat.home).view("talker").reported)
        view = FleetStore(seat.home).view("talker")
        assert (view.presence, view.said_by) == ("online", "device")
        assert view.agent
    finally:
        agent.terminate()
        agent.wait(30)
    until(lambda: FleetStore(seat.home).view("talker").online is False)


def test_guessing_is_slowed_down_for_all_tokens(seat: Seat, tmp_path: Path) -> None:
    """Last, for it shuts this address out."""
    pin = bytes.fromhex(fingerprint(seat.home))
    codes = []
    for n in range(12):
        with pytest.raises(EnrolmentRefused) as caught:
            enrol(
                seat.url,
                str(Token(bytes([n]) * 32, pin)),
                tmp_path / "agent.toml",
                device="guesser",
                state_dir=tmp_path / "state",
                profile=None,
                fresh=False,
            )
        codes.append("CRD715" in str(caught.value))
    assert codes[-1], "no more attempts from here"
    with pytest.raises(EnrolmentRefused, match="CRD715"):
        seat.enrol("honest", tmp_path / "honest")
