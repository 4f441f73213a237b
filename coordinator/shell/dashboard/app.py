"""The dashboard, put together."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from coordinator.shell.dashboard import deeds, entrance
from coordinator.shell.dashboard.door import Dressed, guarded, note, session_of, site_of
from coordinator.shell.dashboard.live import stream
from coordinator.shell.dashboard.rendering import MISSING, Rendering, show
from coordinator.shell.dashboard.site import PAGES, Page, Site
from coordinator.shell.dashboard.users import Session
from firmware_configs.errors import EdgeError

Endpoint = Callable[[Request], Awaitable[Response]]
STATIC = Path(__file__).parent / "static"


def build(site: Site, names: Collection[str]) -> ASGIApp:
    """The application.

    Args:
        names: hosts by which it may be asked for; a page elsewhere may let a name of its own point here.
    """
    rendering = Rendering(site)
    routes: list[BaseRoute] = [
        *entrance.ROUTES,
        *deeds.ROUTES,
        *(Route(page.path, _page(rendering, page)) for page in PAGES),
        *(Route(f"/live{page.path}", _live(rendering, page)) for page in PAGES),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _missing, EdgeError: _failed})  # type: ignore[dict-item]
    app.state.site = site
    return Dressed(TrustedHostMiddleware(app, allowed_hosts=list(names), www_redirect=False))


def _page(rendering: Rendering, page: Page) -> Endpoint:
    async def looked(request: Request, session: Session) -> Response:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        note(request, session, "looked", here)
        return await rendering.page(page, request, session)

    return guarded(page.action, looked)


def _live(rendering: Rendering, page: Page) -> Endpoint:
    async def followed(request: Request, session: Session) -> Response:
        site = site_of(request)
        events: AsyncIterator[bytes] = stream(
            site, rendering, page, request, session, request.cookies.get(site.cookie, "")
        )
        return StreamingResponse(events, media_type="text/event-stream")

    return guarded(page.action, followed)


async def _missing(request: Request, error: HTTPException) -> Response:
    """No such page, or not in this way."""
    session = await session_of(request)
    return show(request, "missing.html", session, status=error.status_code, code=error.status_code)


async def _failed(request: Request, error: EdgeError) -> Response:
    """Something cannot be done: why, and what to do."""
    session = await session_of(request)
    return show(request, "trouble.html", session, status=404 if isinstance(error, MISSING) else 503, error=error)
