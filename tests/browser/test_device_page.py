"""The device's page as people use it, in a real browser beside a real agent: see, understand, choose, take, erase."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from edge_agent.roles import Role
from firmware_configs.rules.words import lix
from tests.benchmarks.load import wait_for
from tests.browser.chromium import PHONE, Scheme, chromium, faults, needs_chromium, sideways, visitor
from tests.browser.device_home import Place, lived_in
from tests.edge_agent.erasure_home import ANNA, BERT
from tests.edge_agent.house import ROOT

pytestmark = needs_chromium
PAGES = ("/me", "/me/why", "/me/choices", "/me/looks", "/me/data")
RESTART_MS = 60_000
"""How long a form may take that waits for the agent's next start, on a loaded machine."""
EASY = 40.0
"""LIX up to which a text is easy to read."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with lived_in(tmp_path_factory.mktemp("home")) as one:
        yield one


@pytest.fixture(scope="module")
def anna(browser: Browser, place: Place) -> Iterator[BrowserContext]:
    """Anna's browser, which runs no script, on her phone; she has come in."""
    with visitor(browser, width=PHONE["width"], script=False) as context:
        place.enter(context.new_page())
        yield context


@pytest.fixture
def page(anna: BrowserContext) -> Iterator[Page]:
    opened = anna.new_page()
    yield opened
    opened.close()


def test_a_link_lets_one_person_in_once(browser: Browser, place: Place) -> None:
    link = place.link()
    for says in ("What this device knows about you", "used already"):
        with visitor(browser) as context:
            page = context.new_page()
            page.goto(link)
            page.reload()  # looking at a link does not use it up
            page.get_by_role("button", name="Open my page").click()
            assert says in page.get_by_role("main").inner_text()


def test_a_number_lets_in_too_and_leaving_ends_it(browser: Browser, place: Place) -> None:
    words = ("web", "link", ANNA, "--pin", "--settings", str(place.home.settings))
    pin = place.home.asked(*words)["pin"]
    with visitor(browser, script=False) as context:
        page = context.new_page()
        page.goto(place.address)
        page.get_by_label("Your number").fill(pin[:3] + " " + pin[3:])
        page.get_by_role("button", name="Come in").click()
        assert page.url.endswith("/me")
        page.get_by_role("button", name="Leave").click()
        page.goto(f"{place.address}/me")
        assert page.url == f"{place.address}/", "nobody is here any more"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(browser: Browser, place: Place, scheme: Scheme) -> None:
    with visitor(browser, width=PHONE["width"], scheme=scheme) as context:
        page = context.new_page()
        found = {}

        def look(path: str) -> None:
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            found[path] = (faults(page), sideways(page))

        for path in ("/", "/staff", "/nowhere", place.link().removeprefix(place.address)):
            page.goto(place.address + path)
            look(path)
        page.get_by_role("button", name="Open my page").click()
        for path in PAGES:
            page.goto(place.address + path)
            look(path)
        page.get_by_role("button", name="Leave").click()
        place.enter_as_staff(page)
        look("/staff, inside")
        assert {path: one for path, one in found.items() if one != ([], 0)} == {}


def test_the_keyboard_comes_first_to_the_way_past_the_menu(anna: BrowserContext, place: Place, page: Page) -> None:
    page.goto(f"{place.address}/me")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator("main :focus").count() == 1, "the next thing lies in the content"


def test_it_says_what_is_known_in_words(place: Place, page: Page) -> None:
    page.goto(f"{place.address}/me")
    text = page.get_by_role("main").inner_text()
    for words in ("The newest temperature", "21.5", "Europe/Lisbon", "examples for the model affinity", "Nothing"):
        assert (words in text) == (words != "Nothing"), words
    assert re.search(r"(Evening|Day), which means: hour", text), "segments"
    assert "What was decided, to apps" in text, "what left the device"


def test_it_says_why_something_was_shown(place: Place, page: Page) -> None:
    page.goto(f"{place.address}/me/why")
    # What was tried by chance names no model, and any one may be.
    picked = page.get_by_role("article").filter(has_text="Next pick")
    newest = picked.filter(has_not_text="It was tried by chance").first
    text = newest.inner_text()
    for words in (
        "Just before, interaction said: item is",
        "It was picked a moment ago.",
        "affinity",
        "came of it: Click",
    ):
        assert words in text, words
    newest.get_by_text("All details").click()
    assert "What the rules said" in newest.inner_text(), "the whole trail, for who wants it"


def test_words_of_strangers_stay_words(place: Place, browser: Browser) -> None:
    evil = "</pre><img src=x onerror=alert(1)>\u202eevil"
    place.home.tell("interaction", {"id": "evil", "user": ANNA, "time": time.time(), "item": evil})
    with visitor(browser) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        place.enter(page)
        page.goto(f"{place.address}/me/why")
        assert "<img src=x onerror=alert(1)>\N{REPLACEMENT CHARACTER}evil" in page.get_by_role("main").inner_text()
        assert all(url.startswith(place.address) and not url.endswith("/x") for url in asked)


def test_a_no_counts_from_the_very_next_event_and_a_yes_again(place: Place, page: Page) -> None:
    titles = ("Personalise", "Improve models", "Recognise")
    page.goto(f"{place.address}/me/choices")
    for title in titles:
        card = page.get_by_role("region", name=title)
        assert "On" in card.inner_text()
        card.get_by_role("button").click()
        assert f"{title}: you said no. It holds from now on." in page.get_by_role("status").inner_text()
        assert "Off" in page.get_by_role("region", name=title).inner_text()
    dropped, taken = place.home.counted("dropped.consent"), place.home.counted("events")
    place.home.picks(ANNA, BERT, 1)
    wait_for(lambda: place.home.counted("dropped.consent") == dropped + 1, "the drop", 10)
    assert place.home.counted("events") == taken + 1, "it was the very next one"
    said = place.home.asked("consent", "ls", ANNA, "--settings", str(place.home.settings))[0]["purposes"]
    assert [said["personalise"], said["improve-models"], said["comfort"]] == ["no", "no", "yes"]
    with page.expect_download() as got:
        page.get_by_role("link", name="Save the receipt").click()
    record = json.loads(Path(got.value.path()).read_text())
    assert record["event"]["event_state"] == "withdrawn"
    for title in titles:
        page.get_by_role("region", name=title).get_by_role("button").click()
    place.home.picks(ANNA, BERT, 1)
    wait_for(lambda: place.home.counted("events") == taken + 2, "the pick", 10)
    assert place.home.counted("dropped.consent") == dropped + 1


def test_it_says_who_looked(place: Place, page: Page) -> None:
    place.home.asked("subject", "show", ANNA, "--state-dir", str(place.home.state), "--reason", "she asked by phone")
    page.goto(f"{place.address}/me/looks")
    first, second, *_ = page.get_by_role("main").get_by_role("listitem").all_inner_texts()
    assert "You, on this page" in first
    assert "Who looked" in first
    for words in ("who runs the device", "Subject show", "Reason given: she asked by phone"):
        assert words in second, words


def test_staff_see_what_their_role_allows_and_nobodys_data(place: Place, browser: Browser) -> None:
    seen = {}
    for role in (Role.OFFICER, Role.ENGINEER):
        with visitor(browser, script=False) as context:
            page = context.new_page()
            place.enter_as_staff(page, role)
            seen[role] = page.get_by_role("main").inner_text()
            page.goto(f"{place.address}/me")
            assert page.url == f"{place.address}/", "these are nobody's own pages"
    officer, engineer = seen[Role.OFFICER], seen[Role.ENGINEER]
    for words in ("What is collected", "What left it", "whole", "Who looked", "page what it knows"):
        assert words in officer, words
    assert ANNA not in officer
    assert "What is collected" in engineer
    assert "Who looked" not in engineer
    assert "What left it" not in engineer


def test_a_wrong_token_opens_nothing(place: Place, browser: Browser) -> None:
    with visitor(browser, script=False) as context:
        page = context.new_page()
        page.goto(f"{place.address}/staff")
        page.get_by_label("Your token").fill("guessed")
        page.get_by_role("button", name="Come in").click()
        assert "This token is not right" in page.get_by_role("main").inner_text()
        assert context.cookies() == []


def test_a_copy_of_everything_can_be_taken(place: Place, page: Page) -> None:
    page.goto(f"{place.address}/me/data")
    with page.expect_download() as got:
        page.get_by_role("link", name="Save my data").click()
    copy = json.loads(Path(got.value.path()).read_text())
    jsonschema.validate(copy, json.loads((ROOT / "docs" / "subject.schema.json").read_text()))
    assert copy["subject"] == ANNA
    assert copy["decisions"]


def test_a_form_of_another_page_does_nothing(place: Place, anna: BrowserContext) -> None:
    purpose = {"purpose": "comfort", "say": "no"}
    for form, headers in (
        (purpose, {}),
        ({**purpose, "form_key": "guessed"}, {}),
        (purpose, {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = anna.request.post(f"{place.address}/me/choices", form=form, headers=headers)
        assert answer.status == 403
    said = place.home.asked("consent", "ls", ANNA, "--settings", str(place.home.settings))[0]["purposes"]
    assert said["comfort"] == "yes"


@pytest.mark.parametrize("path", ["/", *PAGES, "/nowhere"])
def test_the_words_are_easy_to_read(place: Place, page: Page, path: str) -> None:
    page.goto(place.address + path)
    text = page.get_by_role("main").inner_text().replace("\n", ". ")
    assert lix(text) <= EASY, f"{lix(text):.0f}: {text}"


def test_what_was_heard_wrong_is_put_right(place: Place, page: Page) -> None:
    page.goto(f"{place.address}/me/data")
    page.get_by_label("zone").fill("Europe/Paris")
    page.get_by_role("button", name="Save zone").click(timeout=RESTART_MS)
    assert "Zone was put right." in page.get_by_role("status").inner_text()
    page.goto(f"{place.address}/me")
    assert "Europe/Paris" in page.get_by_role("main").inner_text()


def test_everything_is_erased_with_a_receipt(place: Place, browser: Browser, tmp_path: Path) -> None:
    assert place.home.traces(BERT)
    with visitor(browser, script=False) as context:
        page = context.new_page()
        place.enter(page, BERT)
        place.link(BERT)  # one that is open names him, too
        page.goto(f"{place.address}/me/data")
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Erase everything about me").click(timeout=RESTART_MS)
        assert page.url.endswith("/erased")
        with page.expect_download() as got:
            page.get_by_role("link", name="Save the receipt").click()
        receipt = tmp_path / "receipt.json"
        got.value.save_as(receipt)
        assert BERT not in page.content(), "nobody is named any more"
        page.goto(f"{place.address}/me")
        assert page.url.endswith("/erased")
    assert place.home.traces(BERT) == {}
    key = place.home.state / "node.pub"
    command = [sys.executable, "-m", "firmware_configs.cli", "erasure", receipt, "--key", key, "--subject", BERT]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
