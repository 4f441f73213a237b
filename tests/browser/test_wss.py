"""docs/clients.md's page in a browser, by TLS alone: the fleet's own authority, broker and gateway, to a decision."""

import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Error, Page

from coordinator.shell import pki
from coordinator.shell.apps import admit
from coordinator.shell.broker import free_port
from demo.pages import catalogue
from demo.pages.house import PROFILE
from tests.browser.chromium import PATIENCE_MS, chromium, needs_chromium
from tests.browser.corner_shop import until
from tests.coordinator.seat import AGENT, MOSQUITTO, Peer, coordinator
from tests.coordinator.town import Town, listens, opened, run

CERTUTIL = shutil.which("certutil")
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)"),
    pytest.mark.skipif(CERTUTIL is None, reason="certutil is not installed (apt-get install libnss3-tools)"),
]
GATEWAY, BROKER_PORT, SHELF = "gateway.local", 8884, "shelf.local"
DEVICE = "shop-1"
SHOWN = re.search(
    r"```html\n(.*?)```", (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8"), re.DOTALL
)
ITEMS = '<!doctype html><meta charset="utf-8"><title>Shelf</title><button data-item="tea">Tea</button>'


@dataclass
class Shop:
    """A gateway with its page server at a fleet's broker, and a shelf with a page of its own."""

    town: Town
    gateway: int
    shelf: int
    """Ports of both servers."""

    @property
    def switch(self) -> str:
        """The browser's ways to them; there is no name server here."""
        ways = {f"{GATEWAY}:{BROKER_PORT}": self.town.pages, f"{GATEWAY}:443": self.gateway, f"{SHELF}:443": self.shelf}
        return f"--host-resolver-rules={', '.join(f'MAP {name} 127.0.0.1:{port}' for name, port in ways.items())}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with ExitStack() as ends:
        town = ends.enter_context(opened(folder, [*pki.LOCAL, GATEWAY]))
        own, web = pki.ensure_server(town.home, [GATEWAY, SHELF], "web"), free_port()
        settings = town.device(
            DEVICE,
            folder,
            PROFILE,
            f'bundles = ["{catalogue.BUNDLE}"]\nallow_unsigned = true\n'
            f'web = {{ listen = "127.0.0.1:{web}", url = "https://{GATEWAY}", origins = ["https://{SHELF}"], '
            f'cert = "{own.certificate}", key = "{own.key}" }}\n',
        )
        password = admit(town.home, "shelf", ["page"], folder, 1, device=DEVICE)["password"].read_text().strip()
        town.settle()
        for running in (run(settings), subprocess.Popen([AGENT, "web", "--settings", str(settings)])):
            ends.callback(running.wait, 30)
            ends.callback(running.terminate)
        until(lambda: listens(web), "the page server")
        assert SHOWN is not None
        page = ITEMS + SHOWN[1]
        of_its_own = {'"…"': f'"{password}"', '"/edgeward.js"': f'"https://{GATEWAY}/edgeward.js"'}
        for shown, own_word in (of_its_own | {'"/capture-policy"': f'"https://{GATEWAY}/capture-policy"'}).items():
            assert page.count(shown) == 1
            page = page.replace(shown, own_word)
        yield Shop(town, web, ends.enter_context(served(page, own)))


@contextmanager
def served(page: str, pair: pki.Pair | None) -> Iterator[int]:
    """A page, by TLS where there is a certificate, as a shop's server hands it out; the port.

    It is a server and no made-up answer: browsers keep pages of unknown addresses from those of the local network.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if pair is not None:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(pair.certificate, pair.key)
        server.socket = secure.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def visited(shop: Shop, home: Path) -> Iterator[tuple[Page, list[str]]]:
    """A page in a browser of this home, and what it cannot load."""
    with chromium(shop.switch, home=home) as browser, browser.new_context() as context:
        page, failed = context.new_page(), list[str]()
        page.set_default_timeout(PATIENCE_MS)
        page.on("requestfailed", lambda request: failed.append(f"{request.url} {request.failure}"))
        yield page, failed


def trusting(home: Path, authority: Path) -> Path:
    """A home whose browser trusts an authority, as docs/fleet.md says."""
    assert CERTUTIL is not None
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for words in (("-N", "--empty-password"), ("-A", "-t", "C,,", "-n", "edgeward", "-i", str(authority))):
        subprocess.run([CERTUTIL, "-d", f"sql:{store}", *words], check=True, capture_output=True)
    return home


def of(us: Peer, below: str) -> list[dict[str, object]]:
    """What was said on a topic of the device, in JSON."""
    found = [payload for topic, payload in us.heard if topic.startswith(f"edgeward/1/{DEVICE}/{below}")]
    return [msgspec.json.decode(payload) for payload in found if payload[:1] == b"{"]


def test_a_page_that_trusts_the_fleets_authority_gets_a_decision(shop: Shop, tmp_path: Path) -> None:
    with coordinator(shop.town.home) as us:
        us.listen(f"edgeward/1/{DEVICE}/#")
        us.heard.clear()
        with visited(shop, trusting(tmp_path, shop.town.home / "keys" / "ca.pem")) as (page, failed):
            page.goto(f"https://{SHELF}/")
            until(lambda: of(us, "feedback") or page.wait_for_timeout(20), "the page's word on its decision")
            assert failed == []
        assert of(us, "feedback")[0]["decision_id"] == of(us, "reply/")[0]["id"]
        assert of(us, "consent/visitor-17")[0]["purposes"] == {"recommend": True}
        assert {event["kind"] for event in of(us, "capture/page")} <= {"view", "click", "dwell", "scroll"}


def test_a_browser_that_was_not_given_the_authority_says_nothing_to_the_gateway(shop: Shop, tmp_path: Path) -> None:
    with coordinator(shop.town.home) as us:
        us.listen(f"edgeward/1/{DEVICE}/#")
        us.heard.clear()
        with served(ITEMS, None) as port, visited(shop, tmp_path) as (page, _failed):
            with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
                page.goto(f"https://{SHELF}/")
            # Nor does a page that needs no certificate, for it is of this machine.
            # In a tab of its own, lest the error page of the first come between.
            plain = page.context.new_page()
            plain.goto(f"http://127.0.0.1:{port}/", timeout=PATIENCE_MS)
            with plain.expect_console_message(
                lambda said: "ERR_CERT_AUTHORITY_INVALID" in said.text, timeout=PATIENCE_MS
            ):
                plain.evaluate("url => void new WebSocket(url, 'mqtt')", f"wss://{GATEWAY}:{BROKER_PORT}")
        assert of(us, "") == []
