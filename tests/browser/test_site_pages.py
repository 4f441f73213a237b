"""The site of the documents in a real browser: what a reader looks for is found, and nothing comes from elsewhere."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chromium import PHONE, chromium, needs_chromium, sideways, visitor
from tests.docs.site import build

pytestmark = needs_chromium


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site, served; its search needs that."""
    handler = partial(_Quiet, directory=str(build(tmp_path_factory.mktemp("site"))))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_a_reader_finds_a_page_by_a_word_and_nothing_comes_from_elsewhere(browser: Browser, address: str) -> None:
    with visitor(browser) as reader:
        page = reader.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/index.html")
        page.keyboard.press("/")
        page.keyboard.type("AGT601")
        expect(page.locator(".md-search-result__item").first).to_be_visible()
        page.locator(".md-search-result__item a").first.click()
        expect(page.locator("article")).to_contain_text("AGT601")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("path", ["index.html", "tutorials/fleet.html", "comparison.html", "reference/profile.html"])
def test_no_page_has_to_be_scrolled_sideways_on_a_phone(path: str, browser: Browser, address: str) -> None:
    with visitor(browser, width=PHONE["width"]) as reader:
        page = reader.new_page()
        page.goto(f"{address}/{path}")
        assert sideways(page) == 0
