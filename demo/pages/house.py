"""The shop's broker, agent and page server: real processes on free ports of this machine."""

import getpass
import json
import re
import shutil
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from demo.pages import catalogue
from demo.stack import DemoFailed, Stack, wait_until
from firmware_configs import capture
from firmware_configs.loader import load
from firmware_configs.messages import ROOT

FOLDER = Path(__file__).parent
PROFILE = FOLDER / "profile.toml"
SCRIPT = FOLDER.parent.parent / "edge_agent" / "web" / "script" / "edgeward.min.js"
DEVICE = "shop-1"
START_S = 30.0
HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d+)?")
"""A name or address, and perhaps a port."""

BROKER = """\
per_listener_settings true
persistence true
persistence_location {folder}/
user {user}
set_tcp_nodelay true
listener {port} 127.0.0.1
allow_anonymous true
listener {pages} {host}
protocol websockets
allow_anonymous true
acl_file {folder}/pages.acl
"""
# A page says what it captures and asks; it hears the answers to its own questions, and nothing of anybody else.
ACCESS = f"""\
topic write {ROOT}/+/capture/+
topic write {ROOT}/+/consent/+
topic write {ROOT}/+/feedback
topic write {ROOT}/+/request/+
pattern read {ROOT}/+/reply/%c
"""


class House:
    """One shop. `start` it, and `stop` it again whatever happened."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        """Prepare.

        Args:
            folder: where it may write.
            host: address that pages come from and speak to.
            port: of the page server; 0: a free one.
        """
        self.folder, self.host = folder, host
        self.stack = Stack(folder)
        self.broker, self.pages, self.web = free_port(), free_port(), free_port()
        handler = partial(_Pages, house=self, directory=str(FOLDER))
        self._server = ThreadingHTTPServer((host, port), handler)
        self._serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://{host}:{self._server.server_address[1]}"

    @property
    def settings(self) -> Path:
        return self.folder / "agent.toml"

    def start(self) -> None:
        """Start all of it.

        Raises:
            DemoFailed: mosquitto is not installed, or something does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._serving.start()
        self.start_broker()
        self.settings.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{self.folder / "state"}"\nprofile = "{PROFILE}"\n'
            f'bundles = ["{catalogue.BUNDLE}"]\nallow_unsigned = true\n'
            f'broker = {{ url = "mqtt://127.0.0.1:{self.broker}" }}\n'
            f'web = {{ listen = "127.0.0.1:{self.web}", origins = ["{self.url}"] }}\n'
        )
        self.stack.start("agent", ["edge-agent", "run", "--settings", str(self.settings)])
        # The shop's visitors meet it as beacons only; people of the shop, as the device's own page.
        self.stack.start("web", ["edge-agent", "web", "--settings", str(self.settings)])

    def start_broker(self) -> None:
        """Start the broker, again on the same ports after a `stop_broker`."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin") or shutil.which("mosquitto")
        if program is None:
            raise DemoFailed("mosquitto is not installed", hint="install it (Debian: apt install mosquitto)")
        config = self.folder / "mosquitto.conf"
        (self.folder / "pages.acl").write_text(ACCESS)
        config.write_text(self._broker_config())
        self.stack.start("mosquitto", [program, "-c", str(config)])
        wait_until(
            "mosquitto",
            lambda: listens("127.0.0.1", self.broker) and listens(self.host, self.pages),
            seconds=START_S,
            hint=f"read {self.stack.logs}/mosquitto.log",
        )

    def _broker_config(self) -> str:
        return BROKER.format(
            user=getpass.getuser(), port=self.broker, pages=self.pages, host=self.host, folder=self.folder
        )

    def stop_broker(self) -> None:
        """End the broker; it keeps what waits for the agent."""
        running = self.stack.running.pop("mosquitto")
        running.terminate()
        running.wait()

    def stop(self) -> list[str]:
        """Stop all of it; returns what had to be killed."""
        if self._serving.is_alive():  # else nobody would ever answer
            self._server.shutdown()
        self._server.server_close()
        return self.stack.stop()


class _Pages(SimpleHTTPRequestHandler):
    """The pages, and the three documents that they read."""

    def __init__(self, *args: Any, house: House, **kwargs: Any) -> None:
        self._house = house
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """A page, or a document."""
        match self.path.split("?")[0]:
            case "/":
                self.path = "/index.html"
                super().do_GET()
            case "/edgeward.js":
                self._send("text/javascript; charset=utf-8", SCRIPT.read_bytes())
            case "/capture-policy":
                policy = capture.policy(load(PROFILE).profile, DEVICE)
                self._send("application/json", msgspec.json.encode(policy))
            case "/items.json":
                self._send("application/json", json.dumps(catalogue.ITEMS).encode())
            case "/broker.json":
                self._send("application/json", json.dumps({"port": self._house.pages}).encode())
            case path if path.endswith((".html", ".css", ".js")):
                super().do_GET()
            case _:
                self.send_error(404)

    def end_headers(self) -> None:
        """What every answer carries: pages run nobody's script but the shop's."""
        # The page dials the host that it came from, whichever name a phone knows it by.
        named = HOST.fullmatch(self.headers.get("Host", ""))
        host = named[1] if named else "127.0.0.1"
        ways = f"ws://{host}:{self._house.pages} http://127.0.0.1:{self._house.web}"
        self.send_header("Content-Security-Policy", f"default-src 'self'; connect-src 'self' {ways}")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def listens(host: str, port: int) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
