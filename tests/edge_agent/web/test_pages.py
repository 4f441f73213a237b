"""What holds for every request and every answer, whoever wrote the page; and for visits, by the clock."""

import re
import sqlite3
import ssl
import subprocess
import sys
import time
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from coordinator.shell.broker import free_port
from edge_agent.errors import StoreUnavailable
from edge_agent.memory import known
from edge_agent.roles import themselves
from edge_agent.settings import load
from edge_agent.shell import database
from edge_agent.shell.clock import wall_ms
from edge_agent.web import serve
from edge_agent.web.app import build
from edge_agent.web.guard import BODY_BYTES_MAX
from edge_agent.web.site import Site
from edge_agent.web.visits import VISITS_MAX, Visits
from tests.benchmarks.load import process, wait_for
from tests.edge_agent.house import NOW, PROFILES

ADDRESS = "http://127.0.0.1:8477"
LEAST = f'device = "home-1"\nstate_dir = "state"\nprofile = "{PROFILES / "home-gateway.toml"}"\n'


class Clock:
    """Unix ms, moved by hand."""

    now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


def site(folder: Path, clock: Clock | None = None, more: str = "") -> Site:
    state = folder / "state"
    state.mkdir(parents=True)
    database.open_writable(state / database.FILE, 1_000).close()
    path = folder / "agent.toml"
    path.write_text(LEAST + more)
    return Site(path, load(path, {}), clock or Clock())


def client(one: Site) -> TestClient:
    return TestClient(build(one), base_url=ADDRESS, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    return client(site(tmp_path_factory.mktemp("site")))


@pytest.mark.parametrize("path", ["/", "/enter/x", "/staff", "/nowhere", "/static/style.css"])
def test_every_answer_forbids_scripts_frames_and_other_places(shared: TestClient, path: str) -> None:
    headers = shared.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_it_answers_for_its_own_names_and_addresses_only(shared: TestClient) -> None:
    for host, status in (
        ("127.0.0.1:8477", 200),
        ("localhost:8477", 200),
        ("[::1]:8477", 200),
        ("192.168.1.7", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8477", 421),
        ("", 421),
        ("[", 421),
    ):
        assert shared.get("/", headers={"Host": host}).status_code == status, host


def test_the_address_that_people_type_is_one_of_its_names(tmp_path: Path) -> None:
    one = client(site(tmp_path, more='web = { url = "https://home.example:8443" }\n'))
    assert one.get("/", headers={"Host": "home.example:8443"}).status_code == 200


def test_what_is_too_large_is_refused_before_it_is_held(shared: TestClient) -> None:
    assert shared.post("/enter", content=b"x" * (BODY_BYTES_MAX + 1)).status_code == 413
    pieces = (b"pin=" + b"1" * 4_096 for _ in range(20))  # of no stated length
    assert shared.post("/enter", content=pieces).status_code == 413


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300), path=st.sampled_from(["/enter", "/staff/enter", "/me/choices", "/leave", "/me/erase"])
)
def test_whatever_is_sent_is_answered(shared: TestClient, body: bytes, path: str) -> None:
    answer = shared.post(path, content=body, follow_redirects=False)
    assert answer.status_code in {303, 403}


def test_a_form_from_another_page_is_refused_before_it_is_read(shared: TestClient) -> None:
    for said, status in (("cross-site", 403), ("same-site", 403)):
        answer = shared.post("/enter", data={"pin": "123456"}, headers={"Sec-Fetch-Site": said})
        assert answer.status_code == status
        assert "another page sent this form" in answer.text.lower()


def test_a_visit_ends_with_silence(tmp_path: Path) -> None:
    clock = Clock()
    one = site(tmp_path, clock, "web = { visit_s = 60 }\n")
    visitor = client(one)
    made = one.door.invite("anna", clock.now_ms + 1_000, clock.now_ms, pin=False)
    answer = visitor.post("/enter", data={"token": made.token}, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=strict", "path=/"):
        assert word in cookie
    assert "anna" not in cookie
    for pause_ms, here in ((59_000, True), (59_000, True), (61_000, False)):
        clock.now_ms += pause_ms
        assert visitor.get("/me", follow_redirects=False).is_success == here
    assert "holds no data about anna" not in visitor.get("/me").text


def test_nobody_is_known_without_having_come_in(shared: TestClient) -> None:
    for path in ("/me", "/me/why", "/me/choices", "/me/looks", "/me/data", "/me/data.json", "/erased", "/receipt.json"):
        answer = shared.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), path


def test_of_too_many_visits_the_most_silent_ends() -> None:
    visits = Visits(60_000)
    first = visits.begin(themselves("a"), NOW)
    second = visits.begin(themselves("b"), NOW + 1)
    visits.of(first.cookie, NOW + 2)
    for n in range(VISITS_MAX - 1):
        visits.begin(themselves(f"c{n}"), NOW + 3)
    assert visits.of(first.cookie, NOW + 4) is not None
    assert visits.of(second.cookie, NOW + 4) is None


def test_a_look_that_cannot_be_entered_shows_nothing(tmp_path: Path) -> None:
    one = site(tmp_path)
    visitor = client(one)
    made = one.door.invite("anna", NOW + 1_000, NOW, pin=False)
    visitor.post("/enter", data={"token": made.token})
    (one.state_dir / "looks.log").unlink()
    (one.state_dir / "looks.log").mkdir()
    answer = visitor.get("/me")
    assert answer.status_code == 503
    assert "AGT003" in answer.text


def test_what_cannot_be_done_is_told_with_the_right_status(tmp_path: Path) -> None:
    one = site(tmp_path)
    with sqlite3.connect(one.state_dir / database.FILE) as file:
        heard = known.pack({"age": (41.0, NOW)})
        file.execute("INSERT INTO state VALUES ('known', 'anna', ?, 0)", (heard,))
    for subject in ("anna", "nobody"):
        visitor = client(one)
        visitor.post("/enter", data={"token": one.door.invite(subject, NOW + 1_000, NOW, pin=False).token})
        form = {"form_key": re.findall(r'name="form_key" value="([^"]+)"', visitor.get("/me").text)[0]}
        wrong = visitor.post("/me/rectify", data={**form, "field": "age", "value": "old"})
        unknown = visitor.post("/me/choices", data={**form, "purpose": "resale", "say": "yes"})
        found = (visitor.get("/me/data.json").status_code, wrong.status_code, unknown.status_code)
        assert found == {"anna": (200, 400, 404), "nobody": (404, 404, 404)}[subject]
        unsure = visitor.post("/me/erase", data=form)
        assert (unsure.status_code, "tick the box" in unsure.text) == (403, True)


def test_a_damaged_profile_is_told_with_its_fix(tmp_path: Path) -> None:
    one = site(tmp_path)
    text = (PROFILES / "home-gateway.toml").read_text()
    own = tmp_path / "profile.toml"
    own.write_text(text + "\nnonsense = 1\n")
    (tmp_path / "agent.toml").write_text(LEAST.replace(str(PROFILES / "home-gateway.toml"), str(own)))
    visitor = client(Site(tmp_path / "agent.toml", load(tmp_path / "agent.toml", {}), one.clock))
    answer = visitor.get("/")
    assert answer.status_code == 503
    assert "nonsense" in answer.text
    own.write_text(text)
    assert visitor.get("/").status_code == 200, "it is read again when it has changed"


def test_under_tls_the_cookie_is_this_hosts_alone(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=home", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    more = f'web = {{ listen = "127.0.0.1:{port}", cert = "{cert}", key = "{key}" }}\n'
    one = site(tmp_path / "home", more=more)
    log = tmp_path / "web.log"
    command = (sys.executable, "-m", "edge_agent.cli", "web", "--settings", str(one.settings_path))
    trust = ssl.create_default_context(cafile=str(cert))
    with process(*command, log=log):
        wait_for(lambda: log.exists() and "https://" in log.read_text(), "the page", 30)
        made = one.door.invite("anna", wall_ms() + 60_000, wall_ms(), pin=False)
        line = HTTPSConnection("127.0.0.1", port, context=trust)
        line.request("POST", "/enter", f"token={made.token}")
        cookie = line.getresponse().headers["set-cookie"]
        line.close()
    assert cookie.startswith("__Host-edgeward=")
    assert "Secure" in cookie


def test_the_page_is_refused_where_nobody_can_listen(tmp_path: Path) -> None:
    one = site(tmp_path, more='web = { listen = "192.0.2.1:80", plain = true }\n')
    command = [sys.executable, "-m", "edge_agent.cli", "web", "--settings", str(one.settings_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "web.listen" in ended.stderr


def test_started_before_the_agent_it_waits_for_the_agents_folder(tmp_path: Path) -> None:
    path, log = tmp_path / "agent.toml", tmp_path / "web.log"
    path.write_text(LEAST + f'web = {{ listen = "127.0.0.1:{free_port()}" }}\n')
    state = Path(load(path, {}).state_dir)
    with process(sys.executable, "-m", "edge_agent.cli", "web", "--settings", str(path), log=log) as running:
        time.sleep(2.0)  # longer than it takes to look for the folder
        assert running.poll() is None
        state.mkdir()
        wait_for(lambda: "http://" in log.read_text(), "the page", 30)


def test_where_no_agent_was_ever_started_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "FIRST_START_S", 0.2)
    path = tmp_path / "agent.toml"
    path.write_text(LEAST)
    with pytest.raises(StoreUnavailable, match="is not there") as refused:
        serve.serve(path, load(path, {}), "")
    assert "start the agent" in refused.value.hint


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    none.write_text("none")
    one = site(tmp_path, more=f'web = {{ listen = "127.0.0.1:{free_port()}", cert = "{none}", key = "{none}" }}\n')
    command = [sys.executable, "-m", "edge_agent.cli", "web", "--settings", str(one.settings_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "web.cert" in ended.stderr


def test_a_link_can_be_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("segno")
    one = site(tmp_path)
    command = [sys.executable, "-m", "edge_agent.cli", "web", "link", "anna", "--qr", "--settings", one.settings_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.startswith(f"{ADDRESS}/enter/")
    assert "█" in ended.stdout
