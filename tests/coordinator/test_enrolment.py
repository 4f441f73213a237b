"""A device comes in with a token, reads and writes its own topics only, and is put out for good: all of it for real."""

import os
import socket
import ssl
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tomli_w
from cryptography import x509

from coordinator.errors import BrokerUnfit, TokenUsed
from coordinator.fleet.access import topology
from coordinator.shell.apps import admit, dismiss
from coordinator.shell.authority import fingerprint
from coordinator.shell.enrol import revoke
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import endpoints_of
from coordinator.shell.invitations import Invitations
from coordinator.shell.mosquitto import write_access
from coordinator.shell.up import Options, start
from edge_agent.errors import BrokerRefused, CoordinatorUnknown, EnrolmentError, EnrolmentRefused, TokenInvalid
from edge_agent.settings import Settings, load
from edge_agent.shell import visit
from edge_agent.shell.enrolment import enrol, renew
from edge_agent.shell.visit import Letter
from firmware_configs.enrolment import Token
from firmware_configs.errors import EdgeError
from firmware_configs.loader import load as load_profile
from firmware_configs.messages import Topics
from tests.coordinator.seat import AGENT, MOSQUITTO, PROFILE, QUIET_S, Peer, Seat, coordinator, peer, started, until

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


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


def is_let_in(settings: Settings) -> bool:
    try:
        with peer(settings) as one:
            time.sleep(0.3)
            return one.came and not one.gone
    except (ssl.SSLError, OSError):
        return False


def test_a_device_comes_in_and_its_settings_are_whole(seat: Seat, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('device = "garden"\nstate_dir = "state"\ntimezone = "Europe/Paris"\n')
    (tmp_path / "agent.toml").chmod(0o640)
    if os.geteuid() == 0:  # as a package has it: root enrols for the service's user
        for path in (tmp_path, tmp_path / "agent.toml"):
            os.chown(path, 65_534, 65_534)
    token = seat.token(groups=["beta"])
    done = enrol(seat.url, token, tmp_path / "agent.toml", device="", state_dir=None, profile=PROFILE, fresh=False)
    settings = load(tmp_path / "agent.toml", {})
    assert (settings.device, done.device, settings.timezone) == ("garden", "garden", "Europe/Paris")
    assert settings.coordinator == done.coordinator
    assert settings.state_dir == str(tmp_path / "state")
    broker = settings.broker
    for private in (broker.key, broker.visit_key, settings.superlink.node_key):
        assert Path(private).stat().st_mode & 0o077 == 0, f"{private} is for its owner only"
    assert (tmp_path / "agent.toml").stat().st_mode & 0o777 == 0o640, "the group that may read it still may"
    assert (tmp_path / "agent.toml.before").exists()
    written = [tmp_path, *tmp_path.rglob("*")]
    assert {one.stat().st_uid for one in written} == {tmp_path.stat().st_uid}, "nothing is root's own"
    view = FleetStore(seat.home).view("garden")
    assert view.groups == ("beta",)
    assert view.certificate_ends_ms == done.certificate_ends_ms
    seat.settle()
    assert is_let_in(settings)
    again = enrol(seat.url, token, tmp_path / "agent.toml", device="", state_dir=None, profile=None, fresh=False)
    assert again.node == done.node, "an answer that was lost is given again"


def test_pages_have_a_listener_where_one_was_asked_for_and_only_at_the_mosquitto_that_is_run(
    seat: Seat, tmp_path: Path
) -> None:
    where = urlsplit(endpoints_of(seat.home).pages_broker)
    assert where.scheme == "wss"
    trusted = ssl.create_default_context(cafile=str(seat.home / "keys" / "ca.pem"))
    with (
        socket.create_connection((where.hostname or "", where.port or 0), 10) as raw,
        trusted.wrap_socket(raw, server_hostname=where.hostname),
    ):
        pass
    with pytest.raises(BrokerUnfit):
        start(Options(home=tmp_path / "home", websocket_port=1))


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
    with pytest.raises(EnrolmentError, match="too long"):
        seat.enrol("x" * 64, tmp_path, token)
    for taken in ("home-1", "a/b", "home-1\n"):
        with pytest.raises(EnrolmentRefused, match=r"CRD107|CRD717|CRD716"):
            seat.enrol(taken, tmp_path, token)
    longest = "x" * 63
    assert seat.enrol(longest, tmp_path, token).device == longest
    assert may_visit(load(tmp_path / "agent.toml", {})), "there is room for the name of its visits, too"


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
        sensor.say("home/home-2/room", b"cold")
        sensor.say("edgeward/1/home-1/desired", b"forged")
        sensor.say("home/home-1/room", b"warm")  # last, so that what came before it has come, or never does
        until(lambda: device.heard)
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


def test_commands_and_page_come_by_a_certificate_of_their_own_and_write_on_their_devices_topics_alone(
    seat: Seat, pair: tuple[Settings, Settings]
) -> None:
    one, _ = pair
    own, other = Topics("home-1"), Topics("home-2")
    with coordinator(seat.home) as us, peer(one) as agent:
        us.listen("edgeward/1/#")
        us.heard.clear()
        said = [own.of("capture", "page"), own.of("consent", "ann"), own.of("feedback"), own.of("request", "shelf")]
        visit.post(one, [Letter(topic=topic, payload=b"{}") for topic in said], "page")
        for topic in (own.of("status"), own.of("desired"), other.of("consent", "ann"), other.of("capture", "page")):
            with pytest.raises(BrokerRefused, match="did not take"):
                visit.post(one, [Letter(topic=topic, payload=b"{}")], "page")
        until(lambda: len(us.heard) >= len(said))
        time.sleep(QUIET_S)
        assert sorted(topic for topic, _ in us.heard) == sorted(said)
        assert not agent.gone, "the agent's own line was left alone"


def serials(settings: Settings) -> tuple[int, int]:
    """Of the agent's certificate, and of its commands' and page's."""
    files = (settings.broker.cert, settings.broker.visit_cert)
    first, second = (x509.load_pem_x509_certificate(Path(file).read_bytes()).serial_number for file in files)
    return first, second


def may_visit(settings: Settings) -> bool:
    try:
        visit.post(settings, [Letter(topic=Topics(settings.device).of("feedback"), payload=b"{}")], "page")
    except EdgeError:
        return False
    return True


def test_certificates_are_renewed_by_the_nodes_key(seat: Seat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seat.enrol("renewer", tmp_path)
    path = tmp_path / "agent.toml"
    settings = load(path, {})
    before = serials(settings)
    assert renew(path, {}, force=False) is None, "they are good for long"
    assert renew(path, {}, force=True) is not None
    after = serials(settings)
    assert len({*before, *after}) == 4
    assert is_let_in(settings)
    assert may_visit(settings)
    # As a device that was enrolled before visits had certificates: renewing gives it its first.
    document = tomllib.loads(path.read_text())
    files = [Path(document["broker"].pop(name)) for name in ("visit_cert", "visit_key")]
    path.write_text(tomli_w.dumps(document))
    for file in files:
        file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # as the service, which may not write the settings
        answer = renew(path, {}, force=True)
        assert answer is not None
        assert answer.visit == ""
        assert not load(path, {}).broker.visit_cert
    assert renew(path, {}, force=True) is not None
    assert load(path, {}) == settings
    assert may_visit(settings)
    # One that somebody else made, such as an app's, is left as it is.
    kept = tmp_path / "app.pem"
    kept.write_bytes(Path(settings.broker.visit_cert).read_bytes())
    document["broker"] |= {"visit_cert": str(kept), "visit_key": settings.broker.visit_key}
    path.write_text(tomli_w.dumps(document))
    answer = renew(path, {}, force=True)
    assert answer is not None
    assert answer.visit == ""
    assert load(path, {}).broker.visit_cert == str(kept)


def test_who_is_revoked_is_out_at_once_and_for_good(seat: Seat, tmp_path: Path) -> None:
    token = seat.token()
    seat.enrol("leaver", tmp_path, token)
    settings = load(tmp_path / "agent.toml", {})
    with coordinator(seat.home) as us, peer(settings) as connected:
        us.listen("edgeward/1/leaver/status")
        assert may_visit(settings)
        connected.say(Topics("leaver").of("status"), b"before")
        until(lambda: us.heard)
        revoke(seat.home, "leaver")
        seat.settle()
        connected.say(Topics("leaver").of("status"), b"after")
        time.sleep(QUIET_S)
        assert [payload for _, payload in us.heard] == [b"before"], "a line that stands is worth nothing"
    until(lambda: not is_let_in(settings), 20)
    assert not may_visit(settings), "nor is its page let in"
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
