"""Beacons, the policy and the script, as `edge-agent web` serves them to pages; with a real broker behind."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from coordinator.shell.broker import free_port
from edge_agent import settings as settings_of
from edge_agent.errors import PayloadMalformed
from edge_agent.settings import Settings
from edge_agent.web.app import build
from edge_agent.web.capture import MESSAGES_MAX, SCRIPT, letters_of
from edge_agent.web.site import Site
from tests.benchmarks.load import broker
from tests.browser.corner_shop import Listener, until

ROOT = Path(__file__).parents[3]
SHOP = "https://shop.example"
EVENT = {"id": "e1", "time": 1, "subject": "ann", "kind": "click", "item": "jam", "cookie": "x"}


def _site(folder: Path, port: int) -> Site:
    state = folder / "state"
    state.mkdir(exist_ok=True, parents=True)
    file = folder / "agent.toml"
    file.write_text(
        f'device = "shop-1"\nstate_dir = "{state}"\nprofile = "{ROOT}/demo/pages/profile.toml"\n'
        f'broker = {{ url = "mqtt://127.0.0.1:{port}" }}\nweb = {{ origins = ["{SHOP}"], '
        'subjects = ["visit-", "ann", "bo", "eve"] }\n'
    )
    found: Settings = settings_of.load(file, {})
    return Site(file, found)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with broker("iotcore", tmp_path_factory.mktemp("broker")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, port: int) -> TestClient:
    site = _site(tmp_path_factory.mktemp("device"), port)
    return TestClient(build(site), base_url="http://127.0.0.1:8477")


@pytest.fixture(scope="module")
def listener(port: int) -> Iterator[Listener]:
    found = Listener(port)
    yield found
    found.close()


def site_of(page: TestClient) -> Site:
    """What the pages of a client stand on."""
    found: Site = page.app._app.state.site  # type: ignore[attr-defined]
    return found


def _beacon(*messages: tuple[str, dict[str, Any]], device: str = "shop-1") -> str:
    return json.dumps({"device": device, "messages": [{"topic": topic, "body": body} for topic, body in messages]})


def _send(page: TestClient, text: str, origin: str = SHOP, **headers: str) -> Any:
    named = {"Origin": origin, "Content-Type": "text/plain"} if origin else {}
    return page.post("/beacon", content=text, headers={**named, **headers})


def test_an_event_of_a_beacon_is_published_with_the_fields_of_the_profile_alone(
    page: TestClient, listener: Listener
) -> None:
    answer = _send(page, _beacon(("capture/page", EVENT)))
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, SHOP)
    until(lambda: listener.of("capture", "ann"), "the event")
    assert listener.of("capture", "ann") == [{name: value for name, value in EVENT.items() if name != "cookie"}]


def test_global_privacy_control_of_the_browser_is_in_every_event_and_word(page: TestClient, listener: Listener) -> None:
    word = {"purposes": {"recommend": True}, "time_ms": 5}
    messages = _beacon(("capture/page", {**EVENT, "subject": "bo"}), ("consent/bo", word))
    assert _send(page, messages, **{"Sec-GPC": "1"}).status_code == 204
    until(lambda: listener.of("capture", "bo") and listener.of("consent/bo"), "both")
    assert listener.of("capture", "bo")[0]["gpc"] is True
    assert listener.of("consent/bo")[0]["gpc"] is True


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", ""])
def test_a_page_that_the_settings_do_not_name_sends_nothing(page: TestClient, listener: Listener, origin: str) -> None:
    answer = _send(page, _beacon(("capture/page", {**EVENT, "subject": "eve"})), origin)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert listener.of("capture", "eve") == []


def test_a_page_of_the_device_itself_may_capture(page: TestClient) -> None:
    assert _send(page, _beacon(), "http://127.0.0.1:8477").status_code == 204


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"device": "shop-1"}',
        _beacon(("capture/page", EVENT), device="shop-2"),
        _beacon(("desired", {"revision": 99})),
        _beacon(("request/shelf", {})),
        _beacon(("consent/+", {"purposes": {}, "time_ms": 1})),
        _beacon(("consent/ann", {"purposes": "all"})),
        _beacon(("feedback", {"outcome": "click"})),
        _beacon(*[("capture/page", EVENT)] * (MESSAGES_MAX + 1)),
    ],
)
def test_what_is_no_beacon_is_refused_whole(page: TestClient, text: str) -> None:
    assert _send(page, text).status_code == 400


@pytest.mark.parametrize(
    "message",
    [
        ("consent/mayor", {"purposes": {"recommend": True}, "time_ms": 1}),
        ("consent/nann", {"purposes": {"recommend": False}, "time_ms": 1}),
        ("capture/page", {**EVENT, "subject": "mayor"}),
        ("capture/page", {**EVENT, "subject": 7}),
        ("capture/page", {"id": "e1", "time": 1, "kind": "click"}),
    ],
)
def test_nobody_speaks_by_a_beacon_for_people_whose_names_others_give(
    page: TestClient, message: tuple[str, dict[str, Any]]
) -> None:
    answer = _send(page, _beacon(("capture/page", EVENT), message))
    assert answer.status_code == 400
    assert "visit-" in answer.text


def test_a_broker_that_is_not_there_leaves_the_beacon_with_the_page(tmp_path: Path) -> None:
    alone = TestClient(build(_site(tmp_path, free_port())), base_url="http://127.0.0.1:8477")
    answer = _send(alone, _beacon(("capture/page", EVENT)))
    assert answer.status_code == 503, "edgeward.js sends it again"


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_TOPICS = st.sampled_from(["capture/page", "feedback", "consent/ann", "desired", "consent/", ""]) | st.text(max_size=20)
_MESSAGES = st.lists(st.fixed_dictionaries({"topic": _TOPICS, "body": _JSON}), max_size=3)
_BEACONS = st.fixed_dictionaries({"device": st.just("shop-1"), "messages": _MESSAGES})


@given(raw=st.binary(max_size=200) | _JSON.map(json.dumps).map(str.encode) | _BEACONS.map(json.dumps).map(str.encode))
def test_whatever_comes_is_published_on_the_topics_of_pages_or_refused_by_name(page: TestClient, raw: bytes) -> None:
    try:
        letters = letters_of(raw, site_of(page), gpc=False)
    except PayloadMalformed:
        return
    for letter in letters:
        below = letter.topic.removeprefix("edgeward/1/shop-1/")
        assert below in {"capture/page", "feedback"} or below.startswith("consent/")
        assert letter.retain == below.startswith("consent/")


def test_the_policy_is_for_pages_that_may_capture(page: TestClient) -> None:
    answer = page.get("/capture-policy", headers={"Origin": SHOP})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, SHOP)
    assert answer.json()["topic"] == "capture/page"
    assert page.get("/capture-policy", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert page.get("/capture-policy?source=till").status_code == 404


def test_the_script_comes_packed_and_is_not_sent_twice(page: TestClient) -> None:
    answer = page.get("/edgeward.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == SCRIPT.read_bytes()
    assert int(answer.headers["content-length"]) == len(gzip.compress(SCRIPT.read_bytes(), 9)) <= 5_000
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin", "pages elsewhere may include it"
    assert page.get("/edgeward.js", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
