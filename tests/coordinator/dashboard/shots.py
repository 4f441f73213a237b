"""Pictures of every page of the dashboard, for `make screenshots`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from coordinator.shell.fleet_store import FleetStore
from tests.browser.screenshots import Shot, World
from tests.coordinator.dashboard.world import PRIVATE_RUN, ROLLOUT, RUN, fill, people, served, sign_in


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """A filled home, and the dashboard upon it."""
    home = folder / "home"
    fill(home, int(time.time() * 1_000))
    with served(home) as address:
        yield address


@contextmanager
def founded(folder: Path) -> Iterator[str]:
    """A home that was made just now, and the dashboard upon it: nothing is there but users."""
    home = folder / "home"
    FleetStore(home)
    people(home)
    with served(home) as address:
        yield address


def reckoned(page: Page) -> None:
    """ε is there."""
    expect(page.get_by_text("reckoning")).to_have_count(0, timeout=60_000)


def as_officer(page: Page) -> None:
    """The officer sees what nobody else does."""
    if page.get_by_role("heading", name="Not allowed").count():
        _again_as(page, "otto")


def as_engineer(page: Page) -> None:
    """Who may release sums."""
    _again_as(page, "emil")


def _again_as(page: Page, name: str) -> None:
    wanted = page.url
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, wanted.split("/", 3)[0] + "//" + wanted.split("/")[2], name)
    page.goto(wanted)


def signed_out(page: Page) -> None:
    """The form to sign in, with what it says to a wrong password."""
    wanted = page.url
    page.goto(wanted.replace("/fleet?sign-in", "/login"))
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill("not this one at all")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()


WORLD = World(
    start=started,
    enter=sign_in,
    shots=(
        Shot("fleet", "/fleet"),
        Shot("fleet-none", "/fleet?q=nobody"),
        Shot("device", "/fleet/device-5"),
        Shot("rounds", "/rounds", reckoned),
        Shot("run", f"/rounds/{RUN}"),
        Shot("run-private", f"/rounds/{PRIVATE_RUN}", reckoned),
        Shot("rollouts", "/rollouts"),
        Shot("rollout", f"/rollouts/{ROLLOUT}"),
        Shot("stop", f"/rollouts/{ROLLOUT}/rollback"),
        Shot("experiments", "/experiments"),
        Shot("experiment", "/experiments/order"),
        Shot("business", "/business"),
        Shot("drift", "/drift"),
        Shot("budgets", "/budgets", reckoned),
        Shot("audit", "/audit?looks=yes"),
        Shot("trouble", "/fleet?where=nonsense"),
        Shot("missing", "/nowhere"),
        Shot("refused", "/privacy"),
        Shot("privacy", "/privacy?again", lambda page: (as_officer(page), reckoned(page))[0]),
        Shot("release", "/experiments/order/release", as_engineer),
        Shot("sign-in", "/fleet?sign-in", signed_out),
    ),
)
EMPTY = World(
    start=founded,
    enter=sign_in,
    shots=(
        Shot("fleet", "/fleet"),
        Shot("rounds", "/rounds"),
        Shot("rollouts", "/rollouts"),
        Shot("experiments", "/experiments"),
        Shot("drift", "/drift"),
        Shot("budgets", "/budgets"),
        Shot("audit", "/audit"),
        Shot("privacy", "/privacy?again", as_officer),
    ),
)
"""The first day."""
