"""Real receivers on this machine: an SMTP relay and an HTTPS gateway that can be told to misbehave."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from coordinator.shell.broker import free_port
from coordinator.shell.pki import Pair, ensure_authority, ensure_server

HOST = "127.0.0.1"


def tls(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context, and the authority (PEM path) that its certificate chains to."""
    pair: Pair = ensure_server(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context, str(ensure_authority(folder).certificate)


class Relay:
    """What an SMTP relay took, and how it behaves."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.sessions = 0
        self.recipient = "250 OK"
        self.data = "250 taken"
        self.slow_s = 0.0
        self.hangs_up = False
        """After it has taken the text, before it says so."""

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's own
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if self.data.startswith("250"):
            self.taken.append(message_from_bytes(envelope.original_content or b"", policy=default))
        if self.hangs_up and server.transport is not None:
            server.transport.close()
        return self.data

    @property
    def shown(self) -> dict[str, EmailMessage]:
        """What a receiver shows that knows a message again by its Message-ID."""
        return {str(message["Message-ID"]): message for message in self.taken}


@contextmanager
def relay(
    context: ssl.SSLContext | None = None, *, login: tuple[str, str] | None = None
) -> Iterator[tuple[Relay, int]]:
    """A running relay and its port; with a context it demands STARTTLS."""
    books = Relay()

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login.decode(), data.password.decode()) == login)

    more: dict[str, Any] = {"authenticator": check, "auth_required": True} if login else {}
    controller = Controller(
        books, hostname=HOST, port=free_port(), tls_context=context, require_starttls=context is not None, **more
    )
    controller.start()
    try:
        yield books, controller.port
    finally:
        controller.stop()


class Gateway:
    """What an HTTPS gateway took, and how it behaves."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.slow_s = 0.0
        self.hangs_up = False

    @property
    def shown(self) -> dict[str, dict[str, Any]]:
        """What people see: one message an Idempotency-Key."""
        return {headers["Idempotency-Key"]: body for headers, body in self.asked}


@contextmanager
def gateway(context: ssl.SSLContext | None) -> Iterator[tuple[Gateway, int]]:
    """A running gateway and its port."""
    books = Gateway()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            books.asked.append((dict(self.headers), json.loads(body)))
            time.sleep(books.slow_s)
            if books.hangs_up:
                self.connection.close()
                return
            self.send_response(books.status)
            for name, value in books.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Quiet((HOST, 0), Door)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    running.start()
    try:
        yield books, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        running.join()
