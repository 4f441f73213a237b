"""What holds for every answer and every request, whoever wrote the page: headers, names of this device, sizes."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_agent.errors import FormTooLarge
from edge_agent.settings import LOOPBACK
from edge_agent.web_settings import Web

BODY_BYTES_MAX = 65_536
"""Of a request; navigator.sendBeacon takes no more either."""
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Set where the page has not set its own."""


class Guard:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """Args:
        names: hosts that this device answers for, besides addresses.
        """
        self._app, self._names = app, frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if not self._is_ours(headers.get("host", "")):
            # A page elsewhere may let its own name point here, and read what it gets as its own.
            await _with_headers(PlainTextResponse("not a name of this device", 421), scope, receive, send)
            return
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            await _with_headers(PlainTextResponse("too large", 413), scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                raise FormTooLarge(f"more than {BODY_BYTES_MAX} bytes came", hint="send less at once")
            return message

        await _with_headers(self._app, scope, counted, send)

    def _is_ours(self, host: str) -> bool:
        """Whether it is a name of this device, or an address: nobody can let an address point elsewhere."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.lower() in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def names_of(web: Web) -> set[str]:
    """The hosts that people may type."""
    own = {web.host, urlsplit(web.url).hostname or ""} | LOOPBACK
    return {name.lower() for name in own if name}


async def _with_headers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    await app(scope, receive, dressed)
