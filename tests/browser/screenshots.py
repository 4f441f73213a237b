"""`make screenshots`: pictures of every page, at the width of a phone and of a desktop, light and dark.

Whoever has pages adds a line to WORLDS. A world is what must run while its pictures are taken.
"""

import importlib
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from playwright.sync_api import Browser, Page

from tests.browser.chromium import CHROMIUM, DESKTOP, PHONE, Scheme, chromium, sideways, visitor

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "screenshots"
WIDTHS = {"phone": PHONE["width"], "desktop": DESKTOP["width"]}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WORLDS = {
    "dashboard": "tests.coordinator.dashboard.shots:WORLD",
    "dashboard-empty": "tests.coordinator.dashboard.shots:EMPTY",
    "device": "tests.browser.device_home:WORLD",
    "device-staff": "tests.browser.device_home:STAFF",
    "documents": "tests.browser.documents:WORLD",
    "shop": "tests.browser.corner_shop:WORLD",
    "site": "tests.browser.site_pages:WORLD",
}
"""Name → module and name of its `World`; it is imported when its pictures are taken."""


def as_it_is(_page: Page) -> None:
    """Nothing is done to the page before its picture is taken."""


@dataclass(frozen=True)
class Shot:
    """One picture."""

    name: str
    url: str
    """Below the address of the world, such as `/fleet`."""
    setup: Callable[[Page], None] = as_it_is
    """What a person does on the page before its picture is taken."""


@dataclass(frozen=True)
class World:
    """Pages that are served together."""

    start: Callable[[Path], AbstractContextManager[str]]
    """Empty folder → the address, for as long as it is served."""
    shots: tuple[Shot, ...]
    enter: Callable[[Page, str], None] | None = None
    """What a visitor does first, once, such as to sign in; the address is the second argument."""


def world(name: str) -> World:
    """A world of this registry."""
    module, _, attribute = WORLDS[name].partition(":")
    return cast("World", getattr(importlib.import_module(module), attribute))


def take(browser: Browser, name: str, found: World, out: Path) -> list[str]:
    """Take every picture of a world; returns what is wider than the window."""
    wide = []
    with tempfile.TemporaryDirectory() as folder, found.start(Path(folder)) as address:
        for named, width in WIDTHS.items():
            for scheme in SCHEMES:
                with visitor(browser, width=width, scheme=scheme) as person:
                    page = person.new_page()
                    if found.enter is not None:
                        found.enter(page, address)
                    for shot in found.shots:
                        page.goto(address + shot.url)
                        shot.setup(page)
                        path = out / f"{name}-{shot.name}-{named}-{scheme}.png"
                        page.screenshot(path=path, full_page=True)
                        if sideways(page):
                            wide.append(f"{path.name}: {sideways(page)} px wider than the window")
    return wide


def main(names: list[str]) -> int:
    """Take the pictures of these worlds; of none: of all. Exit code 1 when a page has to be scrolled sideways."""
    unknown = [name for name in names if name not in WORLDS]
    if unknown or CHROMIUM is None:
        print(f"unknown: {unknown}; known: {list(WORLDS)}" if unknown else "Chromium is missing: apt-get install it")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    wide = []
    with chromium() as browser:
        for name in names or WORLDS:
            wide += take(browser, name, world(name), OUT)
    print(f"{len(list(OUT.glob('*.png')))} pictures in {OUT.relative_to(ROOT)}")
    print("\n".join(wide) or "none has to be scrolled sideways")
    return int(bool(wide))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
