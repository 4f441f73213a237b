"""edgeward.js by itself, in a real browser: what it captures, how it sends, what strangers' bytes do to it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from playwright.sync_api import Browser, Page

from demo.pages.house import SCRIPT, House
from tests.browser import corner_shop as shop
from tests.browser.chromium import needs_chromium, visitor
from tests.conformance.brokers import MOSQUITTO
from tests.conformance.brokers import broker as conformance_broker

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not Path(MOSQUITTO).exists(), reason="mosquitto is not installed (apt-get install mosquitto)"),
]
LINE = SCRIPT.parent / "line.js"
PAGE = """<body style="margin: 0"><button data-item="near" style="height: 200px">near</button>
<div style="height: 3000px"></div><button data-item="far" style="height: 200px">far</button></body>"""
OPEN = """async ({ port, device, fields, more }) => {
  const policy = { device, topic: "capture/page", fields, placements: {}, purposes: { p: { asks: false } } };
  globalThis.page = await edgeward({ policy, url: `ws://127.0.0.1:${port}`, subject: "ann", ...more });
}"""
HIDE = """() => {
  Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  delete document.visibilityState;
}"""
ALL = ("kind", "item", "seen", "page", "seconds", "depth", "value")
FUZZ = """async ({ seed, rounds }) => {
  const { Line } = await import("/line.js");
  let socket, ups = 0, state = seed;
  globalThis.WebSocket = class { constructor() { socket = this; } send() {} close() {} };
  const heard = [];
  const line = Line({ url: "ws://here" }, "d", (text) => heard.push(text), () => {}, (up) => (ups += up));
  const dice = (n) => ((state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 8) % n;
  const connack = [32, 3, 0, 0, 0], publish = [48, 8, 0, 1, 114, 0, 0x7b, 0x7d, 1, 2], puback = [64, 2, 0, 1];
  for (let n = 0; n < rounds; n++) {
    line.dial();
    socket.onopen?.();
    const raw = dice(4) ? [...connack, ...publish, ...puback] : [];
    for (let more = dice(2) ? dice(3) : dice(30); more; more--) raw.splice(dice(raw.length + 1), dice(2), dice(256));
    for (let at = 0; at < raw.length; ) {
      const part = raw.slice(at, (at += 1 + dice(raw.length)));
      socket.onmessage?.({ data: Uint8Array.from(part).buffer });
    }
    if (!dice(3)) socket.onclose?.();
  }
  for (let n = 0; n < 2; n++) socket.onclose?.(), line.dial(), socket.onopen(); // whichever version it is at now
  const before = heard.length, modern = true;
  const answer = new TextEncoder().encode('{"correlation":"1"}');
  for (const version of [0, 1]) {
    const body = version ? [0, 1, 114, ...answer] : [0, 1, 114, 0, ...answer];
    for (const byte of [...(version ? [32, 2, 0, 0] : connack), 48, body.length, ...body])
      socket.onmessage?.({ data: Uint8Array.of(byte).buffer });
    socket.onclose?.(), line.dial(), socket.onopen();
  }
  line.close();
  return { heard: heard.slice(before), ups };
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may keep nothing in the browser: about:blank has no storage."""
    with visitor(browser) as context:
        found = context.new_page()
        errors: list[str] = []
        found.on("pageerror", lambda error: errors.append(str(error)))
        found.set_content(PAGE)
        found.add_script_tag(path=str(SCRIPT))
        yield found
        assert errors == []


def opened(page: Page, house: House, device: str, listener: shop.Listener, fields: tuple[str, ...] = ALL) -> None:
    """Open a way to the shop's broker as a device that only the listener hears."""
    listener.listen(f"edgeward/1/{device}/capture/+")
    given = {"port": house.pages, "device": device, "fields": {name: ["p"] for name in fields}, "more": {}}
    page.evaluate(OPEN, given)
    shop.holds(page, "page.counts.up")


def said(listener: shop.Listener, device: str) -> list[dict[str, Any]]:
    return [body for topic, body in list(listener.heard) if topic.startswith(f"edgeward/1/{device}/")]


def what_was_seen(listener: shop.Listener, subject: str) -> list[tuple[str, str]]:
    return [(event["kind"], event.get("seen") or event.get("item", "")) for event in said(listener, subject)]


def test_what_is_looked_at_and_how_far_is_captured_by_itself(house: House, page: Page, listener: shop.Listener) -> None:
    opened(page, house, "looks", listener)
    page.evaluate("page.watch()")
    heard = partial(what_was_seen, listener, "looks")
    shop.until(lambda: ("view", "near") in heard(), "the first look")
    page.evaluate("scrollTo(0, 1e6)")
    shop.until(lambda: ("view", "far") in heard(), "the second look")
    page.click("[data-item=far]")
    page.evaluate(HIDE)
    shop.until(lambda: len(heard()) >= 7, "what is said at the end")
    found, kinds = said(listener, "looks"), heard()
    assert kinds[:2] == [("view", ""), ("view", "near")]
    assert set(kinds[2:]) == {("dwell", "near"), ("view", "far"), ("click", "far"), ("dwell", "far"), ("scroll", "")}
    assert all(0.5 <= event["seconds"] < 60 for event in found if event["kind"] == "dwell")
    assert [event["depth"] for event in found if event["kind"] == "scroll"] == [1]
    assert len({event["id"] for event in found}) == len(found)


def test_what_was_said_is_captured_only_where_the_profile_lists_it(
    house: House, page: Page, listener: shop.Listener
) -> None:
    opened(page, house, "quiet", listener)
    assert page.evaluate("page.say('tea for two')") is False
    opened(page, house, "voice", listener, ("kind", "query"))
    assert page.evaluate("page.say('tea for two')") is True
    shop.until(lambda: said(listener, "voice"), "the query")
    assert said(listener, "voice")[0]["query"] == "tea for two"
    assert said(listener, "quiet") == []


def test_a_page_without_storage_waits_in_memory(house: House, page: Page, listener: shop.Listener) -> None:
    opened(page, house, "memory", listener)
    house.stop_broker()
    shop.holds(page, "!page.counts.up")
    page.evaluate("page.track('click', { item: 'jam' })")
    assert page.evaluate("page.counts.queued") == 1
    house.start_broker()
    shop.holds(page, "page.counts.queued === 0", seconds=30)
    shop.until(lambda: said(listener, "memory"), "the event")
    assert [event["item"] for event in said(listener, "memory")] == ["jam"]


def test_of_what_the_page_showed_by_itself_nothing_is_said(house: House, page: Page, listener: shop.Listener) -> None:
    listener.listen("edgeward/1/fallback/feedback")
    opened(page, house, "fallback", listener)
    page.evaluate("page.feedback({ items: ['near'] }, 'click', 'near'), page.feedback({ id: 'd1' }, 'click', 'near')")
    shop.until(lambda: said(listener, "fallback"), "the word on the decision")
    assert [body.get("decision_id") for body in said(listener, "fallback")] == ["d1"]


def test_a_decision_that_nobody_makes_is_told_in_time(house: House, page: Page, listener: shop.Listener) -> None:
    opened(page, house, "nobody", listener)
    page.evaluate("page.policy.placements.shelf = ['p']")
    why = page.evaluate("page.decide('shelf', [], { ms: 100 }).catch((error) => error.message)")
    assert why == "no decision of shelf: none in time"
    assert (
        page.evaluate("page.decide('till').catch((error) => error.message)") == "no decision of till: not in the policy"
    )


def test_a_broker_that_speaks_only_3_1_1_there_is_spoken_to_in_it(browser: Browser, tmp_path: Path) -> None:
    with conformance_broker("iotcore", tmp_path) as place, visitor(browser) as context:
        heard: list[bytes] = []
        peer = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        peer.on_message = lambda _c, _d, message: heard.append(message.payload)
        peer.on_connect = lambda client, *_: client.subscribe("edgeward/1/old/capture/+", 1)
        peer.connect("127.0.0.1", place.port("plain", "3.1.1"))
        peer.loop_start()
        page = context.new_page()
        page.add_script_tag(path=str(SCRIPT))
        given = {
            "port": place.port("ws", "3.1.1"),
            "device": "old",
            "fields": {"kind": ["p"], "item": ["p"]},
            "more": {},
        }
        page.evaluate(OPEN, given)
        shop.holds(page, "page.counts.up", seconds=20)
        page.evaluate("page.track('click', { item: 'jam' })")
        shop.until(lambda: heard, "the event")
        shop.holds(page, "page.counts.sent === 1")
        peer.disconnect()
        peer.loop_stop()


def test_beacons_reach_the_agent_where_there_is_no_line(
    house: House, browser: Browser, listener: shop.Listener
) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        page.goto(f"{house.url}/shop.html")
        page.wait_for_selector("body[data-ready]")
        web = f"http://127.0.0.1:{house.web}"
        more = {"policy": f"{web}/capture-policy", "beacon": f"{web}/beacon", "subject": "visit-bea", "url": ""}
        page.evaluate("more => edgeward(more).then((opened) => { globalThis.bea = opened; })", more)
        page.evaluate("bea.consent({ recommend: true }); bea.track('click', { item: 'jam' })")
        page.evaluate(HIDE)  # at once, by navigator.sendBeacon; and again with the same ids, for nobody confirmed it
        shop.until(lambda: listener.of("capture", "visit-bea"), "the event")
        shop.holds(page, "bea.counts.queued === 0")
        assert page.evaluate("bea.counts.sent") == 2
        assert len({event["id"] for event in listener.of("capture", "visit-bea")}) == 1
        assert any(word["purposes"] == {"recommend": True} for word in listener.of("consent/visit-bea"))


def test_no_bytes_of_a_broker_break_the_line(house: House, browser: Browser) -> None:
    with visitor(browser) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        script = LINE.read_text()
        page.route("**/line.js", lambda route: route.fulfill(content_type="text/javascript", body=script))
        page.goto(house.url)
        found = page.evaluate(FUZZ, {"seed": 7, "rounds": 5_000})
        assert errors == []
        assert found["ups"] > 500, "most of it must get past the greeting"
        assert '{"correlation":"1"}' in found["heard"], "and it hears what is right after all that"
