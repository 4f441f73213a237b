"""A home where somebody has lived for a while, with the device's page beside its agent: all of it real processes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from coordinator.shell.broker import free_port
from edge_agent.roles import Role
from edge_agent.shell import inspect
from edge_agent.shell.access import new_token
from edge_agent.shell.clock import wall_ms
from edge_agent.web.door import Door
from tests.benchmarks.load import process, wait_for
from tests.browser.screenshots import Shot, World
from tests.edge_agent.erasure_home import ANNA, BERT, DEVICE, Home, agent, home, profile

MORE = """
[contact]
zone_field = "zone"

[controller]
name = "The Lind household"
contact = "mail@lind.example"

[[segment]]
name = "evening"
when = "hour >= 18"

[[segment]]
name = "day"
when = "hour < 18"

[[theme]]
name = "air"

[[channel]]
name = "panel"
kind = "display"
topic = "home/{device}/panel"

[[placement]]
name = "advice"
trigger = { kind = "event", source = "room" }
purposes = ["comfort"]
expiry_s = 3600
candidate = [{ item = "open-a-window", score = "0.9" }, { item = "all-is-well", score = "0.1" }]
delivery = { channels = ["panel"], theme = "air" }

[[metric]]
name = "time-to-click"
placements = ["next-pick"]
measure = { kind = "time-to", outcomes = ["click"], window_s = 86400.0 }
upper = 86400.0
purposes = ["personalise"]
"""
ZONE = """
[[source.field]]
name = "zone"
type = "text"
category = "user.behavior"
purposes = ["personalise"]

[[source.field]]
name = "peer"
"""
PURPOSES = ("personalise", "improve-models", "recognise", "comfort")
PICKS = 6
STATE: dict[str, "Place"] = {}
"""Address → the home that is served there."""


class Place:
    """One home, and where its page is."""

    def __init__(self, one: Home, address: str) -> None:
        self.home, self.address = one, address

    def link(self, subject: str = ANNA) -> str:
        """A way in, as `edge-agent web link` makes it."""
        now_ms = wall_ms()
        made = Door(self.home.state).invite(subject, now_ms + 600_000, now_ms, pin=False)
        return f"{self.address}/enter/{made.token}"

    def enter(self, page: Page, subject: str = ANNA) -> None:
        """Come in."""
        page.goto(self.link(subject))
        page.get_by_role("button", name="Open my page").click()
        page.wait_for_url("**/me")

    def enter_as_staff(self, page: Page, role: Role = Role.OFFICER) -> None:
        """Come in as somebody with a role."""
        page.goto(f"{self.address}/staff")
        page.get_by_label("Your token").fill(new_token(self.home.state, "carol", role, wall_ms() + 600_000))
        page.get_by_role("button", name="Come in").click()


def _profile() -> str:
    """A home gateway's whose room knows who is in it, with a zone, segments, and somebody who answers for it."""
    text = profile().replace('\n[[source.field]]\nname = "peer"\n', ZONE, 1)
    return text.replace('name = "room"\n', 'name = "room"\nsubject = "user"\n', 1) + MORE


@contextmanager
def lived_in(folder: Path) -> Iterator[Place]:
    """Broker, agent and page; two people agreed, picked, and clicked."""
    with home(folder) as one:
        (one.folder / "profile.toml").write_text(_profile())
        port = free_port()
        with one.settings.open("a") as file:
            file.write(f'timezone = "Europe/Paris"\nweb = {{ listen = "127.0.0.1:{port}" }}\n')
        with agent(one), _page(one, port) as address:
            _live(one)
            yield Place(one, address)


def _live(one: Home) -> None:
    for subject in (ANNA, BERT):
        heard = one.counted("consents")
        word = {"purposes": dict.fromkeys(PURPOSES, True), "time_ms": int(time.time() * 1_000)}
        one.tell(f"edgeward/1/{DEVICE}/consent/{subject}", word, retain=True)
        wait_for(lambda heard=heard: one.counted("consents") > heard, "the consent")  # type: ignore[misc]
    air = {"id": "r1", "user": ANNA, "time": time.time(), "temperature": 21.5, "humidity": 31.0, "light": 420.0}
    one.tell("room", {**air, "co2": 640.0})
    zone = {"id": "z1", "user": ANNA, "time": time.time() - 60, "item": one.catalogue[0], "zone": "Europe/Lisbon"}
    one.tell("interaction", zone)
    last = {}
    for subject, other in ((ANNA, BERT), (BERT, ANNA)):
        one.picks(subject, other, PICKS)
        last[subject] = f"pick-{subject}-{one.number}"
    wait_for(lambda: one.counted("events") >= 2 + 2 * PICKS, "the events")
    # Pages read what is on the medium, which comes after what is counted.
    wait_for(lambda: all(_newest(one, subject, pick) for subject, pick in last.items()), "the decisions")
    newest = inspect.of_subject(one.state, ANNA, PICKS)
    for trail in newest:
        one.tell(f"edgeward/1/{DEVICE}/feedback", {"decision_id": trail.id, "outcome": "click"})
    wait_for(lambda: all(inspect.outcomes_of(one.state, trail.id) for trail in newest), "the feedback")


def _newest(one: Home, subject: str, pick: str) -> bool:
    return any(inspect.is_about(trail.event_id, pick) for trail in inspect.of_subject(one.state, subject, 1))


@contextmanager
def _page(one: Home, port: int) -> Iterator[str]:
    command = (sys.executable, "-m", "edge_agent.cli", "web", "--settings", str(one.settings))
    address, log = f"http://127.0.0.1:{port}", one.folder / "web.log"
    with process(*command, log=log):
        wait_for(lambda: address in log.read_text() if log.exists() else False, "the page", 20)
        yield address


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    with lived_in(folder) as place:
        STATE[place.address] = place
        try:
            yield place.address
        finally:
            del STATE[place.address]


def _enter(page: Page, address: str) -> None:
    STATE[address].enter(page)


def _enter_as_staff(page: Page, address: str) -> None:
    STATE[address].enter_as_staff(page)


WORLD = World(
    start=_started,
    enter=_enter,
    shots=(
        Shot("welcome", "/"),
        Shot("knows", "/me"),
        Shot("why", "/me/why"),
        Shot("choices", "/me/choices"),
        Shot("looked", "/me/looks"),
        Shot("data", "/me/data"),
        Shot("staff-door", "/staff"),
        Shot("refused", "/nowhere"),
    ),
)
STAFF = World(start=_started, enter=_enter_as_staff, shots=(Shot("officer", "/staff"),))
