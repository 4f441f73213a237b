"""The dashboard in a real browser: one real server on a filled home."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from coordinator.accountant import Spend, epsilon
from coordinator.shell.dashboard.site import PAGES
from coordinator.shell.dashboard.trail import Trail
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.private_run import enter
from coordinator.shell.store import Store
from firmware_configs.messages import BundleState, Reported
from tests.browser.chromium import PHONE, chromium, faults, needs_chromium, sideways, visitor
from tests.coordinator.dashboard.world import (
    PASSWORD,
    PRIVATE_RUN,
    QUICK,
    ROLLOUT,
    RUN,
    carried_on,
    rollout_of,
    say,
    served,
    sign_in,
    status,
)
from tests.coordinator.written import job_of

pytestmark = needs_chromium
QUICK_SPEND = Spend(noise_multiplier=QUICK.noise_multiplier, rate=QUICK.rate)
PATHS = {
    "/fleet/{device}": "/fleet/device-5",
    "/rounds/{run}": f"/rounds/{PRIVATE_RUN}",
    "/rollouts/{rollout}": f"/rollouts/{ROLLOUT}",
    "/experiments/{experiment}": "/experiments/order",
    "/audit": "/audit?looks=yes",
}
EVERY = [PATHS.get(page.path, page.path) for page in PAGES]


@pytest.fixture(scope="module")
def home(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("browsed") / "home"
    shutil.copytree(filled, own)
    return own


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with served(home) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def sessions(browser: Browser, address: str) -> dict[str, list[object]]:
    """User → the cookies that signing in gave."""
    found = {}
    for name in ("vera", "emil", "olga", "otto"):
        with visitor(browser) as person:
            sign_in(person.new_page(), address, name)
            found[name] = person.cookies()
    return found  # type: ignore[return-value]


@pytest.fixture
def olga(browser: Browser, sessions: dict[str, list[object]]) -> Iterator[Page]:
    with visitor(browser) as person:
        yield as_user(person, sessions, "olga")


def as_user(person: BrowserContext, sessions: dict[str, list[object]], name: str) -> Page:
    person.add_cookies(sessions[name])  # type: ignore[arg-type]
    return person.new_page()


def test_nobody_sees_anything_before_signing_in(browser: Browser, address: str) -> None:
    with visitor(browser) as person:
        page = person.new_page()
        page.goto(f"{address}/rollouts/{ROLLOUT}")
        assert page.url.startswith(f"{address}/login?next=")
        page.get_by_label("Name").fill("olga")
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("No user has this name and this password.")
        page.get_by_label("Name").fill("olga")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("context 1.1.0")
        (cookie,) = [one for one in person.cookies() if one["name"] == "edgeward"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{address}/fleet")
        assert "/login" in page.url


def test_guesses_are_throttled_and_noted(home: Path, address: str) -> None:
    # By an address of its own, so that nobody else is shut out.
    with httpx.Client(base_url=address, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as guesser:
        answers = [guesser.post("/login", data={"name": "olga", "password": "x"}).status_code for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    noted = [one.deed for one in Trail(home).newest(30) if one.deed.address == "127.0.0.2"]
    assert [one.did for one in noted] == ["failed to sign in"] * 12
    assert noted[0].why == "too many attempts"


def test_roles_are_checked_by_the_server_whatever_a_page_shows(
    home: Path, address: str, sessions: dict[str, list[dict[str, str]]]
) -> None:
    def ask(name: str, path: str, **fields: str) -> int:
        cookies = {one["name"]: one["value"] for one in sessions[name]}
        with httpx.Client(base_url=address, cookies=cookies) as client:
            return (client.post(path, data=fields) if fields else client.get(path)).status_code

    allowed = {
        "/audit": {"olga", "otto"},
        "/privacy": {"otto"},
        "/live/privacy": {"otto"},
        f"/rollouts/{ROLLOUT}/rollback": {"emil", "olga"},
        f"/rollouts/{ROLLOUT}/promote": {"olga"},
        "/experiments/order/release": {"emil"},
    }
    for path, who in allowed.items():
        for name in sessions:
            if name in who and path.startswith("/live"):
                continue
            assert ask(name, path) == (200 if name in who else 403), (path, name)
    # Whoever may, but whose form is none of this session's: nothing happens either.
    assert ask("olga", f"/rollouts/{ROLLOUT}/rollback", csrf="0" * 64, reason="x") == 403
    assert ask("vera", f"/rollouts/{ROLLOUT}/rollback", csrf="0" * 64, reason="x") == 403
    assert rollout_of(home).state == "soaking"
    refused = [one.deed for one in Trail(home).newest(50, looks=False) if one.deed.did == "was refused"]
    assert {one.who for one in refused} == {"vera", "emil", "olga", "otto"}


def test_what_a_device_says_is_on_the_page_without_loading_it(home: Path, address: str, olga: Page) -> None:
    olga.goto(f"{address}/fleet?q=device-7")
    line = olga.locator("#device-device-7")
    expect(line).to_contain_text("offline")
    expect(olga.get_by_text("Live: changes come by themselves.")).to_be_visible()
    olga.evaluate("window.here = 1")
    now = int(time.time() * 1_000)
    say(home, "device-7", "status", status("device-7", 7, now), now)
    expect(line).to_contain_text("online")
    expect(olga.locator("#summary")).to_contain_text("11")
    # A device that comes brings its row, and what was typed meanwhile stays.
    olga.goto(f"{address}/fleet?q=new")
    expect(olga.get_by_text("Live: changes come by themselves.")).to_be_visible()
    olga.get_by_label("Where").fill("group:beta")
    olga.evaluate("window.here = 1")
    Store(home).enrol("new-1", 99, "key")
    expect(olga.get_by_role("link", name="new-1")).to_be_visible()
    assert olga.get_by_label("Where").input_value() == "group:beta"
    assert olga.evaluate("window.here") == 1, "it was not loaded again"
    Store(home).revoke("new-1")


def test_whoever_looks_sees_what_is_left_of_privacy_by_task_and_population_as_it_is_spent(
    home: Path, address: str, browser: Browser, sessions: dict[str, list[object]]
) -> None:
    def cells(number: int) -> list[str]:
        row = page.locator(f"#account-{number}")
        return [text.strip() for text in row.locator("th, td").all_inner_texts()]

    def told(rounds: int) -> list[str]:
        reached = epsilon([QUICK_SPEND] * rounds, 1e-5, "rdp")
        return [f"{reached:.3f}", "8", f"{8.0 - reached:.3f}", "1e-05", "one device", "RDP", str(rounds)]

    with visitor(browser) as person:
        page = as_user(person, sessions, "vera")
        page.goto(f"{address}/budgets")
        region = page.get_by_role("region", name="Privacy budgets by task and population")
        expect(region).not_to_contain_text("reckoning", timeout=60_000)
        assert cells(1) == ["affinity", "homes", "left", *told(3)]
        # Another round is paid for, and another population begins: the page says so by itself.
        page.evaluate("window.here = 1")
        job = job_of(home, PRIVATE_RUN, QUICK)
        enter(job, QUICK, 4, "affinity")
        enter(job, msgspec.structs.replace(QUICK, population="cabins"), 5, "affinity")
        expect(page.locator("#account-2")).to_contain_text("homes")
        expect(region).not_to_contain_text("reckoning", timeout=60_000)
        assert cells(1) == ["affinity", "cabins", "left", *told(1)]
        assert cells(2) == ["affinity", "homes", "left", *told(4)]
        assert page.evaluate("window.here") == 1, "it was not loaded again"


def test_words_of_devices_are_words_and_nothing_else(home: Path, address: str, olga: Page) -> None:
    evil = "<img src=x onerror=window.owned=1>\u202e</script><script>window.owned=1</script>"
    told = Reported(
        device="device-9", revision=0, bundles={"context": BundleState(version="1.0.0", state="failed", reason=evil)}
    )
    olga.goto(f"{address}/fleet/device-9")
    expect(olga.get_by_text("Live: changes come by themselves.")).to_be_visible()
    say(home, "device-9", "reported", msgspec.msgpack.encode(told), int(time.time() * 1_000))
    FleetStore(home).join("<b>bold</b>", ["device-9"])
    expect(olga.locator("#wanted")).to_contain_text("<img src=x onerror=window.owned=1>\ufffd</script>")
    olga.reload()
    expect(olga.locator("#summary")).to_contain_text("@<b>bold</b>")
    assert olga.evaluate("window.owned") is None
    FleetStore(home).leave("<b>bold</b>", ["device-9"])


def test_no_page_has_a_serious_fault_of_accessibility_light_or_dark(
    browser: Browser, address: str, sessions: dict[str, list[object]]
) -> None:
    found: list[str] = []

    def look(page: Page, path: str) -> None:
        page.goto(f"{address}{path}")
        found.extend(f"{path}: {fault}" for fault in faults(page))
        page.emulate_media(color_scheme="dark")
        found.extend(f"{path}, dark: {fault}" for fault in faults(page))
        page.emulate_media(color_scheme="light")

    with visitor(browser) as person:
        page = person.new_page()
        look(page, "/login")
        person.add_cookies(sessions["otto"])  # type: ignore[arg-type]
        for path in [*EVERY, "/fleet?where=nonsense", "/fleet?q=nobody", "/nowhere"]:
            look(page, path)
        person.clear_cookies()
        person.add_cookies(sessions["olga"])  # type: ignore[arg-type]
        for path in (f"/rollouts/{ROLLOUT}/rollback", "/privacy"):
            look(page, path)
    assert found == []


def test_nobody_scrolls_a_page_sideways_on_a_phone(
    browser: Browser, address: str, sessions: dict[str, list[object]]
) -> None:
    wide = {}
    with visitor(browser, width=PHONE["width"]) as person:
        page = as_user(person, sessions, "otto")
        for path in [*EVERY, "/fleet?where=nonsense"]:
            page.goto(f"{address}{path}")
            wide[path] = sideways(page)
    assert {path for path, pixels in wide.items() if pixels} == set()


def test_everything_can_be_reached_by_keyboard_and_the_brightness_chosen(address: str, olga: Page) -> None:
    olga.goto(f"{address}/fleet")
    olga.keyboard.press("Tab")
    skip = olga.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    olga.keyboard.press("Enter")
    assert olga.evaluate("document.activeElement.id") == "content"
    assert olga.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    olga.get_by_role("button", name="Dark").click()
    expect(olga.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    expect(olga.locator("html")).to_have_css("color-scheme", "dark")


def test_pages_work_without_a_script(browser: Browser, address: str, sessions: dict[str, list[object]]) -> None:
    with visitor(browser, script=False) as person:
        page = as_user(person, sessions, "olga")
        page.goto(f"{address}/fleet")
        page.get_by_label("Presence").select_option("online")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("link", name="device-3")).to_have_count(1)
        page.goto(f"{address}/rounds/{RUN}")
        page.get_by_text("Loss as a table").click()
        expect(page.get_by_role("region", name="Loss as a table")).to_be_visible()
        page.goto(f"{address}/rollouts/{ROLLOUT}/rollback")
        expect(page.get_by_role("button", name="Stop and roll back")).to_be_visible()


def test_no_answer_lets_a_page_fetch_or_run_anything_of_elsewhere(address: str, olga: Page) -> None:
    asked: list[str] = []
    olga.on("request", lambda request: asked.append(request.url))
    answer = olga.goto(f"{address}/fleet")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert all(url.startswith(address) for url in asked)
    with httpx.Client() as client:
        assert client.get(f"{address}/login", headers={"host": "elsewhere.example"}).status_code == 400
        assert client.get(f"{address}/login").headers["x-content-type-options"] == "nosniff"


def test_a_database_that_is_gone_is_said_and_the_page_comes_back_by_itself(
    home: Path, address: str, olga: Page
) -> None:
    olga.goto(f"{address}/rollouts")
    expect(olga.get_by_text("Live: changes come by themselves.")).to_be_visible()
    (home / "coordinator.db").rename(home / "away.db")
    expect(olga.get_by_text("there is no coordinator in")).to_be_visible()
    assert olga.goto(f"{address}/rounds").status == 503  # type: ignore[union-attr]
    expect(olga.get_by_text("edge-coordinator up")).to_be_visible()
    (home / "away.db").rename(home / "coordinator.db")
    expect(olga.get_by_role("link", name=RUN)).to_be_visible()


def test_the_stop_button_stops_a_rollout_for_a_reason_and_everybody_goes_back(
    home: Path, address: str, olga: Page
) -> None:
    with carried_on(home, threading.Event()) as town:
        olga.goto(f"{address}/rollouts/{ROLLOUT}")
        olga.get_by_role("link", name="Stop and roll back").click()
        expect(olga.get_by_role("heading", level=1)).to_have_text("Stop and roll back: context 1.1.0")
        olga.get_by_label("Why").fill("people complain that it is slow")
        olga.get_by_role("button", name="Stop and roll back").click()
        expect(olga.locator("#summary")).to_contain_text("rolled-back")
        expect(olga.locator("#log")).to_contain_text("people complain that it is slow")
        assert rollout_of(home).state == "rolled-back"
        asked = {name for name, wanted in town.wanted.items() if wanted.revision}
        assert asked
        assert all(town.wanted[name].bundles["context"] == "1.0.0" for name in asked)
    expect(olga.get_by_role("link", name="Stop and roll back")).to_have_count(0)
    (deed,) = [one.deed for one in Trail(home).newest(50) if one.deed.did == "rollout.rollback"]
    assert (deed.who, deed.role, deed.what) == ("olga", "operator", ROLLOUT)
    olga.goto(f"{address}/rollouts/{ROLLOUT}/rollback")
    expect(olga.get_by_role("alert")).to_contain_text("nothing to rollback")
    olga.goto(f"{address}/audit?source=dashboard")
    expect(olga.get_by_role("cell", name="people complain that it is slow")).to_be_visible()
