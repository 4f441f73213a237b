"""The shop's page and the kiosk in a real browser, with a real broker and agent: what is captured, and what follows."""

import statistics
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from demo.pages.catalogue import THEMES
from demo.pages.house import House
from tests.benchmarks.web import measure
from tests.browser import corner_shop as shop
from tests.browser.chromium import PHONE, faults, needs_chromium, sideways, visitor
from tests.browser.screenshots import SCHEMES
from tests.conformance.brokers import MOSQUITTO

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not Path(MOSQUITTO).exists(), reason="mosquitto is not installed (apt-get install mosquitto)"),
]
GPC = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })"

ANOTHER = """async ({ port, device }) => {
  const policy = { ...page.policy, device, purposes: { recommend: { asks: false } } };
  globalThis.other = await edgeward({ policy, url: `ws://127.0.0.1:${port}` });
  for (const item of ["jam", "oats"]) other.track("click", { item });
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with visitor(browser) as context:
        found = context.new_page()
        errors: list[str] = []
        found.on("pageerror", lambda error: errors.append(str(error)))
        yield found
        assert errors == []


def test_what_is_touched_changes_what_the_same_page_shows(house: House, page: Page) -> None:
    shop.enter(page, house)
    shop.agree(page)
    first = shop.shelf(page)
    shop.touch(page, "teapot")
    second = shop.shelf(page)
    shop.touch(page, "grinder")
    assert second[0] in THEMES["tea"]
    assert set(shop.shelf(page)) & set(THEMES["coffee"])
    assert first != second != shop.shelf(page)


def test_a_click_changes_the_page_before_anybody_waits_for_it(
    house: House, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    """The aim is 200 ms at p95, which `python -m tests.benchmarks.web` measures on a machine that does nothing else.

    Here other tests run beside it: the figure is printed, and the bound is one that only a fault exceeds.
    """
    shop.enter(page, house)
    shop.agree(page)
    times = measure(page, 30)
    p95 = statistics.quantiles(times, n=100, method="inclusive")[94]
    with capsys.disabled():
        print(f"\nfrom a click to the decision on the same page: p95 {p95:.0f} ms of {len(times)} clicks")
    assert p95 < 2_000


def test_nothing_is_captured_and_nothing_asked_before_a_yes(house: House, page: Page, listener: shop.Listener) -> None:
    subject = shop.enter(page, house)
    asked, came = shop.counted(house, "requests"), shop.counted(house, "events")
    page.click("#everything [data-item=jam].item")
    shop.holds(page, "page.counts.dropped > 0 && page.counts.queued === 0")
    assert page.inner_text("#why") == "The usual order."
    assert listener.of("capture", subject) == []
    assert (shop.counted(house, "requests"), shop.counted(house, "events")) == (asked, came)


def test_only_fields_whose_purpose_has_a_yes_leave_the_page(house: House, page: Page, listener: shop.Listener) -> None:
    subject = shop.enter(page, house)
    shop.agree(page)
    page.evaluate("page.track('conversion', { item: 'jam', value: 5, seen: 'jam', cookie: 'x' })")
    shop.until(lambda: listener.of("capture", subject), "the event")
    (event,) = listener.of("capture", subject)
    assert set(event) == {"id", "time", "subject", "kind", "item"}


def test_after_a_no_on_the_page_the_very_next_event_stays_there(
    house: House, page: Page, listener: shop.Listener
) -> None:
    subject = shop.enter(page, house)
    shop.agree(page)
    shop.touch(page, "oats")
    shop.agree(page, yes=False)
    dropped = page.evaluate("page.counts.dropped")
    page.click("#everything [data-item=jam].item")
    shop.holds(page, "before => page.counts.dropped > before", dropped)
    shop.until(lambda: counts_of(page)["queued"] == 0, "the queue")
    shop.until(lambda: listener.of("capture", subject), "the event before")
    assert [event["item"] for event in listener.of("capture", subject)] == ["oats"]


def test_after_a_no_said_elsewhere_the_agent_drops_the_very_next_event(
    house: House, page: Page, listener: shop.Listener
) -> None:
    subject = shop.enter(page, house)
    shop.agree(page)
    shop.touch(page, "oats")
    dropped, words = shop.counted(house, "dropped.consent"), shop.counted(house, "consents")
    listener.say(subject, recommend=False)
    shop.until(lambda: shop.counted(house, "consents") > words, "the word")
    page.evaluate("page.track('click', { item: 'jam' })")
    shop.until(lambda: shop.counted(house, "dropped.consent") == dropped + 1, "the counter")


def test_a_no_takes_back_what_still_waited(house: House, page: Page, listener: shop.Listener) -> None:
    subject = shop.enter(page, house)
    shop.agree(page)
    page.evaluate("page.track('click', { item: 'jam' }); page.consent({ recommend: false })")
    shop.holds(page, "page.counts.queued === 0")
    shop.until(lambda: [w for w in listener.of("consent") if w["purposes"].get("recommend") is False], "the word")
    assert listener.of("capture", subject) == []


def test_what_was_touched_offline_waits_through_a_reload_and_counts_once(house: House, page: Page) -> None:
    subject = shop.enter(page, house)
    shop.agree(page)
    shop.holds(page, "page.counts.queued === 0")
    events, again = shop.counted(house, "events"), shop.counted(house, "duplicates")
    house.stop_broker()
    shop.holds(page, "!page.counts.up")
    for item in ("jam", "oats", "bread"):
        page.evaluate("item => page.track('click', { item })", item)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("page.subject") == subject
    assert counts_of(page)["queued"] == 3
    assert "the gateway is not there" in page.inner_text("#why")
    house.start_broker()
    shop.holds(page, "page.counts.up && page.counts.queued === 0", seconds=30)
    shop.until(lambda: shop.counted(house, "events") - events >= 3, "the events", 30.0)
    assert shop.counted(house, "events") - shop.counted(house, "duplicates") == events - again + 3


def test_what_nobody_listens_to_waits_on_the_page(house: House, page: Page, listener: shop.Listener) -> None:
    shop.enter(page, house)
    page.evaluate(ANOTHER, {"port": house.pages, "device": "shop-2"})
    shop.holds(page, "other.counts.up && other.counts.queued === 2")
    page.wait_for_timeout(300)
    assert page.evaluate("other.counts.sent") == 0
    listener.listen("edgeward/1/shop-2/capture/+")
    shop.holds(page, "other.counts.queued === 0")
    shop.until(lambda: sum("/shop-2/" in topic for topic, _ in listener.heard) >= 2, "the events")
    assert [body["item"] for topic, body in listener.heard if "/shop-2/" in topic] == ["jam", "oats"]


def test_what_is_said_twice_counts_once(house: House, page: Page, listener: shop.Listener) -> None:
    subject = shop.enter(page, house)
    shop.agree(page)
    page.evaluate("page.track('click', { item: 'jam' })")
    shop.holds(page, "page.counts.queued === 0")
    shop.until(lambda: listener.of("capture", subject), "the event")
    (event,) = listener.of("capture", subject)
    again = shop.counted(house, "duplicates")
    page.evaluate(
        "([id, message]) => localStorage.setItem(`edgeward:queue:shop-1:${id}`, JSON.stringify(message))",
        ["0-again", ["capture/page", _json(event), False, event["time"]]],
    )
    page.reload()
    shop.until(lambda: shop.counted(house, "duplicates") == again + 1, "the agent's word")


def test_a_browser_that_says_no_to_sharing_is_heard(house: House, browser: Browser, listener: shop.Listener) -> None:
    with visitor(browser) as context:
        context.add_init_script(GPC)
        page = context.new_page()
        subject = shop.enter(page, house)
        shop.agree(page)
        assert page.is_disabled("input[name=brand-report]")
        said = page.evaluate("page.consent({ 'brand-report': true })")
        assert said["brand-report"] is False
        page.evaluate("page.track('conversion', { item: 'jam', value: 5 })")
        shop.until(lambda: listener.of("capture", subject), "the event")
        (event,) = listener.of("capture", subject)
        assert event["gpc"] is True
        assert "value" not in event
        assert any(word["gpc"] for word in listener.of("consent"))


def test_a_page_hears_the_answers_to_its_own_questions_and_nobody_elses(house: House, browser: Browser) -> None:
    with visitor(browser) as one, visitor(browser) as other:
        mine, theirs = one.new_page(), other.new_page()
        frames: list[str | bytes] = []

        def heard(frame: str | bytes) -> None:
            frames.append(frame)

        theirs.on("websocket", lambda line: line.on("framereceived", heard))
        shop.enter(mine, house)
        shop.enter(theirs, house)
        shop.agree(mine)
        shop.touch(mine, "grinder")
        theirs.wait_for_timeout(200)
        published = [frame for frame in frames if isinstance(frame, bytes) and frame[:1] and frame[0] >> 4 == 3]
        assert published == []


def test_a_page_that_came_from_another_name_of_the_shop_may_dial_that_name(house: House, page: Page) -> None:
    page.goto(house.url.replace("127.0.0.1", "localhost") + "/shop.html")
    page.wait_for_selector("body[data-ready]")
    shop.holds(page, "page.counts.up")


def test_a_refused_message_is_counted_and_does_not_hold_up_the_next(house: House, page: Page) -> None:
    shop.enter(page, house)
    shop.agree(page)
    sent = counts_of(page)["sent"]
    page.evaluate(
        "page.policy.topic = 'desired'; page.track('click', { item: 'jam' }); page.policy.topic = 'capture/page'"
    )
    page.evaluate("page.track('click', { item: 'oats' })")
    shop.holds(page, "page.counts.queued === 0")
    assert counts_of(page)["refused"] == 1
    assert counts_of(page)["sent"] == sent + 1


def test_the_queue_is_bounded_and_says_what_it_lost(house: House, page: Page) -> None:
    shop.enter(page, house)
    shop.agree(page)
    page.evaluate(
        "page.policy.topic = 'capture/page'; for (let n = 0; n < 300; n++) page.track('click', { item: 'x' + n })"
    )
    assert counts_of(page)["queued"] <= 256
    assert counts_of(page)["lost"] >= 44
    shop.holds(page, "page.counts.queued === 0", seconds=20)


def test_a_kiosk_suggests_during_a_visit_and_forgets_it_after(house: House, page: Page) -> None:
    subject = shop.enter(page, house, "kiosk")
    page.click("#yes")
    page.wait_for_selector("#suggested:not([hidden])")
    assert page.evaluate("page.consent().recommend") is True
    touches = iter([*THEMES["coffee"]] * 3)

    def suggests_coffee() -> bool:
        """After one more touch. One suggestion in twenty is a guess at random (`epsilon` in the pages' profile)."""
        item = next(touches)
        page.click(f"[data-item={item}]")
        names = [name for other, name in THEMES["coffee"].items() if other != item]
        asked = "names => names.includes(document.querySelector('#suggestion').textContent)"
        with suppress(AssertionError):
            shop.holds(page, asked, names, seconds=3.0)
            return True
        return False

    shop.until(suggests_coffee, "coffee is suggested", 30.0)
    page.click("#leave")
    page.wait_for_selector("#welcome:not([hidden])")
    assert page.evaluate("page.subject") != subject
    assert page.evaluate("page.consent().recommend") is False
    kept = page.evaluate("Object.keys(localStorage).filter(name => !name.startsWith('edgeward:policy'))")
    assert kept == []


@pytest.mark.parametrize("name", ["shop", "kiosk"])
def test_nothing_serious_keeps_anybody_out_in_light_or_dark(house: House, browser: Browser, name: str) -> None:
    with visitor(browser, width=PHONE["width"]) as context:
        page = context.new_page()
        shop.enter(page, house, name)
        if name == "shop":
            shop.agree(page)
        else:
            page.click("#yes")
            page.wait_for_selector("#suggested:not([hidden])")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert faults(page) == []
        assert sideways(page) == 0


def counts_of(page: Page) -> dict[str, int]:
    found: dict[str, int] = page.evaluate("page.counts")
    return found


def _json(event: dict[str, Any]) -> str:
    import json

    return json.dumps(event)
