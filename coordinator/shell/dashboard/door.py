"""Who is there, whether they may, and what came in a form. Every handler of the dashboard goes through here."""

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote, urlsplit

import anyio
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.dashboard.roles import Action, may
from coordinator.shell.dashboard.rendering import show
from coordinator.shell.dashboard.site import Site
from coordinator.shell.dashboard.users import Session

BODY_BYTES_MAX = 262_144
FIELDS_MAX = 20
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Set where the answer has not set its own."""
Handler = Callable[[Request, Session], Awaitable[Response]]


class Dressed:
    """ASGI middleware: the headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, dressed)


def site_of(request: Request) -> Site:
    """The dashboard that the request is for."""
    found: Site = request.app.state.site
    return found


async def session_of(request: Request) -> Session | None:
    """Whose request it is; None: nobody has signed in."""
    site = site_of(request)
    secret = request.cookies.get(site.cookie, "")
    return await anyio.to_thread.run_sync(site.users.session, secret) if secret else None


def guarded(action: Action | None, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler, for those who have signed in and may; a form must bring the session's own word along.

    Args:
        action: None: whoever has signed in may.
    """

    async def asked(request: Request) -> Response:
        session = await session_of(request)
        if session is None:
            here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)
        if action is not None and not may(session.user.role, action):
            return await refused(request, session, f"the role {session.user.role} may not do this: {action}")
        if request.method == "POST":
            given = (await form(request)).get("csrf", "")
            if not is_from_here(request) or not hmac.compare_digest(given, session.csrf):
                return await refused(request, session, "the form was not one of this session")
        return await handler(request, session)

    return asked


async def refused(request: Request, session: Session, why: str) -> Response:
    """No, and it is noted."""
    note(request, session, "was refused", request.url.path, why)
    return show(request, "refused.html", session, status=403, why=why)


def note(request: Request, session: Session, did: str, what: str, why: str = "") -> None:
    """Write into the log what somebody does."""
    site_of(request).trail.note(session.user.name, session.user.role, did, what, why=why, address=address_of(request))


def address_of(request: Request) -> str:
    """From where; behind a proxy that is its address."""
    return request.client.host if request.client is not None else ""


def is_from_here(request: Request) -> bool:
    """Whether a browser says that a page of ours sent the form; what is no browser says nothing, and has no cookie."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def form(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name.

    Raises:
        HTTPException: 413, it is too large.
    """
    held: dict[str, str] | None = getattr(request.state, "form", None)
    if held is not None:
        return held
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413)
    try:
        fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise HTTPException(413) from None
    request.state.form = {name: values[0] for name, values in fields.items()}
    found: dict[str, str] = request.state.form
    return found


def local(path: str) -> str:
    """A path of ours to go on to; what would lead elsewhere leads to the first page."""
    where = urlsplit(path)
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and not where.netloc and not where.scheme
    return path if fine and path.isprintable() and "\\" not in path else "/"
