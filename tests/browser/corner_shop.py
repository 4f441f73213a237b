"""The demo's shop in a real browser: its broker, its agent, its pages, and somebody who listens at the broker."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from playwright.sync_api import Page

from demo.pages.house import DEVICE, House, listens
from edge_agent.shell import vitals
from firmware_configs.messages import Consent, Topics
from tests.browser.screenshots import Shot, World

TOPICS = Topics(DEVICE)
PATIENCE_S = 10.0
SHELF = "[...document.querySelectorAll('#shelf .item')].map(card => card.dataset.item)"
SETTLED = "said => page.counts.queued === 0 && document.querySelector('#why').textContent.includes(said)"


class Listener:
    """A client at the broker: hears all that the shop's pages say, and can say a person's word elsewhere."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._on_message
        self._granted = 0
        self._topics = [TOPICS.of(below) for below in ("capture/+", "consent/+", "feedback", "request/+")]
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(lambda: self._granted, "subscriptions")

    def listen(self, *topics: str) -> None:
        """Hear what comes on more topics; returns when the broker knows."""
        before = self._granted
        self._topics += topics
        self._client.subscribe([(topic, 1) for topic in topics])
        until(lambda: self._granted > before, "subscriptions")

    def say(self, subject: str, **purposes: bool) -> None:
        """A person's word, as the device's own page or another app would say it."""
        word = Consent(purposes=purposes, time_ms=int(time.time() * 1_000))
        self._client.publish(TOPICS.of("consent", subject), msgspec.msgpack.encode(word), qos=1).wait_for_publish(5)

    def of(self, below: str, subject: str = "") -> list[dict[str, Any]]:
        """Bodies that came on a topic so far, of one subject where it is given."""
        return [
            body
            for topic, body in list(self.heard)
            if topic.startswith(TOPICS.of(below)) and (not subject or body.get("subject") == subject)
        ]

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, *_more: object) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(self, *_more: object) -> None:
        self._granted += 1

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if message.payload[:1] == b"{":
            self.heard.append((message.topic, msgspec.json.decode(message.payload)))


def until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    """Poll until it holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not after {seconds:g} s"
        time.sleep(0.02)


def holds(page: Page, script: str, argument: object = None, *, seconds: float = PATIENCE_S) -> None:
    """Wait until the script says so. Playwright's own way evaluates text in the page, which the pages forbid."""
    until(lambda: page.evaluate(script, argument) or page.wait_for_timeout(20), script, seconds)


def counted(house: House, name: str) -> int:
    """A counter of the shop's agent."""
    told = vitals.ask(house.folder / "state")
    assert told is not None, "the agent does not answer"
    return told.counters.get(name, 0)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """A shop that is open."""
    folder.mkdir(parents=True, exist_ok=True)
    found = House(folder)
    try:
        found.start()
        until(lambda: (told := vitals.ask(folder / "state")) and told.line.state == "up", "the agent's line", 30.0)
        until(lambda: listens("127.0.0.1", found.web), "the device's page", 30.0)
        yield found
    finally:
        found.stop()


def enter(page: Page, house: House, name: str = "shop") -> str:
    """Open a page of the shop; returns whom it is about."""
    page.goto(f"{house.url}/{name}.html")
    page.wait_for_selector("body[data-ready]")
    holds(page, "page.counts.up")
    return str(page.evaluate("page.subject"))


def shelf(page: Page) -> list[str]:
    """What the shelf shows, first things first."""
    return [
        str(item) for item in page.evaluate("[...document.querySelectorAll('#shelf .item')].map(e => e.dataset.item)")
    ]


def agree(page: Page, purpose: str = "recommend", *, yes: bool = True) -> None:
    """Switch a purpose; returns when the shelf shows what follows."""
    page.set_checked(f"input[name={purpose}]", yes)
    settled(page, "Chosen for you" if yes and purpose == "recommend" else "")


def settled(page: Page, said: str) -> None:
    """Wait until the page has nothing more to say, and says how the shelf came about."""
    holds(page, SETTLED, said)


def touch(page: Page, item: str) -> None:
    """Touch an item and wait until the shelf was decided anew."""
    before = page.evaluate("page.shown?.id")
    page.click(f"#everything [data-item={item}].item")
    holds(page, "before => page.shown?.id && page.shown.id !== before", before)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    with house(folder) as found:
        yield found.url


def _shopping(page: Page) -> None:
    page.wait_for_selector("body[data-ready]")
    holds(page, "page.counts.up")
    agree(page)
    touch(page, "teapot")


def _touched(page: Page) -> None:
    page.wait_for_selector("body[data-ready]")
    page.click("#yes")
    page.wait_for_selector("#suggested:not([hidden])")


def _offline(page: Page) -> None:
    page.wait_for_selector("body[data-ready]")


WORLD = World(
    start=_served,
    shots=(
        Shot("first", "/shop.html", _offline),
        Shot("shop", "/shop.html", _shopping),
        Shot("kiosk-asks", "/kiosk.html", _offline),
        Shot("kiosk", "/kiosk.html", _touched),
    ),
)
