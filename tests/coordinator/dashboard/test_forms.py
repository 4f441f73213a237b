"""The dashboard by TLS in a real browser, and what is done on it beside rollouts: a release, a receipt checked."""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from coordinator.shell.dashboard.trail import Trail
from coordinator.shell.experiment_store import ExperimentStore
from coordinator.shell.store import Store
from tests.browser.chromium import PHONE, chromium, faults, needs_chromium, sideways, visitor
from tests.coordinator.dashboard.world import ROOT, served, sign_in

pytestmark = needs_chromium
OFFICER = ROOT / "examples" / "officer"
SUBJECT = "anna-q7f3k9"


@pytest.fixture(scope="module")
def home(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("forms") / "home"
    shutil.copytree(filled, own)
    Store(own).enrol("home-1", 99, (OFFICER / "home-1.pub").read_text())
    return own


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with served(home, "--tls") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def _sound(page: Page) -> None:
    """Nothing serious in light or dark, and nobody scrolls sideways on a phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert faults(page) == [], scheme
    page.emulate_media(color_scheme="light")
    wide = page.viewport_size
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert sideways(page) == 0
    page.set_viewport_size(wide)  # type: ignore[arg-type]


def test_by_tls_it_shows_a_certificate_of_the_coordinators_authority_and_keeps_the_cookie_to_itself(
    home: Path, address: str, browser: Browser
) -> None:
    assert address.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(home / "keys" / "ca.pem"))
    with httpx.Client(verify=trusted) as client:
        assert client.get(f"{address}/login").status_code == 200
    with httpx.Client() as stranger, pytest.raises(httpx.ConnectError, match="certificate"):
        stranger.get(f"{address}/login")
    with pytest.raises(httpx.TransportError):
        httpx.get(address.replace("https://", "http://") + "/login")
    with visitor(browser) as person:
        page = person.new_page()
        sign_in(page, address, "olga")
        (cookie,) = [one for one in person.cookies() if "edgeward" in one["name"]]
        assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-edgeward", True, True)
        expect(page.get_by_text("Live: changes come by themselves.")).to_be_visible()


def test_an_engineer_releases_the_newest_sums_of_an_experiment_once_it_was_said_what_that_means(
    home: Path, address: str, browser: Browser
) -> None:
    (plan,) = ExperimentStore(home).plans()
    with visitor(browser) as person:
        page = person.new_page()
        sign_in(page, address, "emil")
        page.goto(f"{address}/experiments/order")
        page.get_by_role("link", name="Release the newest sums").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Release the newest sums of order")
        expect(page.get_by_text("No noise was promised, so it costs nothing.")).to_be_visible()
        _sound(page)
        assert ExperimentStore(home).releases(plan) == [], "to look at the form releases nothing"
        page.get_by_role("button", name="Release").click()
        page.wait_for_url(f"{address}/experiments/order")
        (released,) = ExperimentStore(home).releases(plan)
        assert released.devices == "6"
        (deed,) = [one.deed for one in Trail(home).newest(50) if one.deed.did == "experiment.release"]
        assert (deed.who, deed.role, deed.what) == ("emil", "engineer", "order")


def test_an_officer_has_a_receipt_looked_over_and_none_of_it_is_kept(
    home: Path, address: str, browser: Browser
) -> None:
    receipt = (OFFICER / "receipt.json").read_text()
    with visitor(browser) as person:
        page = person.new_page()
        sign_in(page, address, "otto")
        page.goto(f"{address}/privacy")

        def check(text: str, subject: str = "") -> None:
            page.get_by_label("Receipt").fill(text)
            page.get_by_label("About whom").fill(subject)
            page.get_by_role("button", name="Check").click()

        check(receipt, SUBJECT)
        expect(page.get_by_role("status").first).to_contain_text("Everything fits.")
        expect(page.get_by_role("status").first).to_contain_text(f"it is about {SUBJECT}")
        _sound(page)
        check(receipt, "somebody-else")
        expect(page.get_by_role("status").first).to_contain_text("It does not fit.")
        check("{}")
        expect(page.get_by_role("alert")).to_be_visible()
        _sound(page)
        # Of a device that nobody enrolled nothing can be said.
        check(receipt.replace('"home-1"', '"home-2"'))
        expect(page.get_by_role("alert")).to_be_visible()
    for file in (home / "dashboard.db", home / "coordinator.db"):
        assert SUBJECT.encode() not in file.read_bytes()
