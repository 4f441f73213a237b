"""A registry's web server that may turn hostile: real HTTPS, and a deed for each path that it wants to spoil."""

import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from coordinator.shell import pki

Deed = Callable[["Visit"], None]
"""What is done with a request instead of answering it."""


class Visit(BaseHTTPRequestHandler):
    """One request. Answers with files, ranges included, unless a deed is set for its path."""

    protocol_version = "HTTP/1.1"
    mirror: "Mirror"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.mirror.asked.append(path)
        deed = next((deed for part, deed in self.mirror.deeds.items() if re.search(part, path)), None)
        with contextlib.suppress(OSError):
            if deed is not None:
                self.close_connection = True
                deed(self)
                return
            self.serve(path)

    def serve(self, path: str) -> None:
        file = self.mirror.folder / path.lstrip("/")
        if not file.is_file() or ".." in path:
            self.send_error(404)
            return
        self.answer(file.read_bytes())

    def answer(self, raw: bytes, status: int = 200) -> None:
        """The whole, or the range that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found and self.mirror.ranges else 0
        if start >= len(raw) and start:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        self.send_header("Content-Length", str(len(raw) - start))
        self.end_headers()
        self.wfile.write(raw[start:])

    def log_message(self, *_: object) -> None:
        return


class Mirror:
    """The server.

    Attributes:
        folder: what it serves; a test changes it.
        deeds: pattern of a path → what is done there.
        asked: the paths of all requests.
        ranges: whether it knows ranges.
    """

    def __init__(self, home: Path) -> None:
        """Args:
        home: of whose authority its certificate is.
        """
        self.folder = home / "registry"
        self.deeds: dict[str, Deed] = {}
        self.asked: list[str] = []
        self.ranges = True
        pair = pki.ensure_server(home)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        kind = type("OwnVisit", (Visit,), {"mirror": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), kind, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        # The handshake belongs to the request's own thread: a client that breaks it off must not stop the others.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def reset(self, folder: Path) -> None:
        """Honest again, with another registry."""
        self.folder, self.deeds, self.ranges = folder, {}, True
        self.asked.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def mirror(home: Path) -> Iterator[Mirror]:
    """A server that ends with the block."""
    made = Mirror(home)
    try:
        yield made
    finally:
        made.close()


def endless(visit: Visit) -> None:
    """Bytes that do not end."""
    visit.send_response(200)
    visit.end_headers()
    while True:
        visit.wfile.write(b" " * 65_536)


def crawling(visit: Visit) -> None:
    """A byte now and then, for ever."""
    visit.send_response(200)
    visit.send_header("Content-Length", "100000")
    visit.end_headers()
    pause = threading.Event()
    while True:
        visit.wfile.write(b"x")
        visit.wfile.flush()
        pause.wait(0.1)


def cut_off(after: int) -> Deed:
    """So many bytes of what is asked for, and then the line breaks."""

    def deed(visit: Visit) -> None:
        raw = (visit.mirror.folder / unquote(urlsplit(visit.path).path).lstrip("/")).read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-", visit.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        visit.send_response(206 if start else 200)
        if start:
            visit.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        visit.send_header("Content-Length", str(len(raw) - start))
        visit.end_headers()
        visit.wfile.write(raw[start : start + after])
        visit.wfile.flush()

    return deed


def saying(raw: bytes, status: int = 200) -> Deed:
    """These bytes, whatever was asked for."""
    return lambda visit: visit.answer(raw, status)


def elsewhere(url: str) -> Deed:
    """Go there instead."""

    def deed(visit: Visit) -> None:
        visit.send_response(302)
        visit.send_header("Location", url)
        visit.send_header("Content-Length", "0")
        visit.end_headers()

    return deed
