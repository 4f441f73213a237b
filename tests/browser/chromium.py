"""A real Chromium, and what every page of ours must hold in it: no serious fault of accessibility, none too wide."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")
Scheme = Literal["light", "dark"]
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)
SERIOUS = {"serious", "critical"}


@contextmanager
def chromium(*more: str, home: Path | None = None) -> Iterator[Browser]:
    """A browser for as long as it is needed; one for a whole module of tests is enough.

    Args:
        more: command-line switches of its own.
        home: whose home it runs in, with the certificates that are trusted there; None: the tests' own.
    """
    assert CHROMIUM is not None
    environment: dict[str, str | float | bool] = {**os.environ, **({"HOME": str(home)} if home is not None else {})}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *more], env=environment)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(
    browser: Browser, *, width: int = DESKTOP["width"], scheme: Scheme = "light", script: bool = True
) -> Iterator[BrowserContext]:
    """Somebody with cookies of their own, a window so wide, and a liking for light or dark.

    Args:
        script: False: somebody whose browser runs no JavaScript.
    """
    height = PHONE["height"] if width <= PHONE["width"] else DESKTOP["height"]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        java_script_enabled=script,
        ignore_https_errors=True,
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context
    finally:
        context.close()


def faults(page: Page) -> list[str]:
    """What axe finds that is serious or critical: rule, where, and why. Empty: nothing.

    axe's own script is put in by the debugger, which a content security policy does not keep out.
    """
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['impact']} {one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def sideways(page: Page) -> int:
    """By how many CSS pixels the page is wider than the window; 0: nobody has to scroll sideways."""
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return max(0, int(wider))
