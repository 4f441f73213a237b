"""All pages of `edge-agent web`, put together."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from edge_agent.errors import AccessRefused, FormTooLarge, IntakeError, PageUnknown, SubjectUnknown, VisitError
from edge_agent.web import capture, entrance, person, staff
from edge_agent.web.guard import Guard, names_of
from edge_agent.web.pages import render, visit_of
from edge_agent.web.site import Site
from firmware_configs.errors import EdgeError, UsageError

STATIC = Path(__file__).parent / "static"


def build(site: Site) -> ASGIApp:
    """The application of one device."""
    app = Starlette(
        routes=[
            *entrance.ROUTES,
            *person.ROUTES,
            *staff.ROUTES,
            *capture.ROUTES,
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={EdgeError: _refused, HTTPException: _missing, Exception: _broken},  # type: ignore[dict-item]
    )
    app.state.site, app.state.post = site, capture.Post()
    return Guard(app, names_of(site.settings.web))


async def _refused(request: Request, error: EdgeError) -> Response:
    """Something was refused: why, and what to do."""
    return render(request, "refused.html", visit_of(request), status=_status(error), error=error)


def _status(error: EdgeError) -> int:
    match error:
        case PageUnknown() | SubjectUnknown():
            return 404
        case FormTooLarge():
            return 413
        case AccessRefused() | VisitError():
            return 403
        case IntakeError() | UsageError():
            return 400
        case _:
            return 503


async def _missing(request: Request, error: HTTPException) -> Response:
    """No such page, or not in this way."""
    del error
    return await _refused(request, PageUnknown("there is no such page here", hint="go to the first page"))


async def _broken(request: Request, error: Exception) -> Response:
    """A fault of ours: the log has it, the visitor is told no more than that."""
    del request, error
    return PlainTextResponse("Something broke here. The device's log says what.", status_code=500)
