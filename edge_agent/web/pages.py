"""How a page is made: a template, the visit that it is for, and nothing that a stranger's words could do in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge_agent.errors import VisitRefused
from edge_agent.roles import Action
from edge_agent.shell.access import admit
from edge_agent.web.site import Site
from edge_agent.web.told import capital, plain, sentence, size
from edge_agent.web.visits import Visit, is_own
from firmware_configs import shown
from firmware_configs.report import wording

COOKIE = "edgeward"
FIELDS_MAX = 64
OWN = {"same-origin", "none"}
"""What a browser says of a request (Sec-Fetch-Site) that one of our pages or the person made."""


def site_of(request: Request) -> Site:
    """What the pages stand on."""
    site: Site = request.app.state.site
    return site


def cookie_name(site: Site) -> str:
    """Under TLS one that no other host of the domain can set."""
    return f"__Host-{COOKIE}" if site.settings.web.cert else COOKIE


def visit_of(request: Request) -> Visit | None:
    """Who is here."""
    site = site_of(request)
    return site.visits.of(request.cookies.get(cookie_name(site), ""), site.clock())


async def fields_of(request: Request) -> dict[str, str]:
    """A form's fields, once it is certain that one of our own pages sent it.

    Raises:
        VisitRefused: another site's page sent it, or it is no form.
    """
    if request.headers.get("sec-fetch-site", "none") not in OWN:
        raise VisitRefused("another page sent this form", hint="open this device's own page, and try there")
    try:
        text = (await request.body()).decode()
        found = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"))
    except ValueError as error:
        raise VisitRefused("this is no form", hint="open this device's own page, and try there") from error
    return found


async def own_fields(request: Request, visit: Visit) -> dict[str, str]:
    """The same of a visitor's form, which must carry the visit's key.

    Raises:
        VisitRefused: it does not.
    """
    found = await fields_of(request)
    if not is_own(visit, found.get("form_key", "")):
        raise VisitRefused("this form is too old", hint="open the page again, and try there")
    return found


async def look(request: Request, visit: Visit, action: Action, what: str) -> None:
    """Enter that somebody looks, before they see anything.

    Raises:
        AccessRefused: their role does not allow it.
        LookNotEntered: then nothing is shown.
    """
    site = site_of(request)
    await apart(
        lambda: admit(
            site.state_dir, action, subject=visit.subject, what=what, person=visit.person, now_ms=site.clock()
        )
    )


def render(request: Request, template: str, visit: Visit | None, *, status: int = 200, **values: Any) -> Response:
    """A page."""
    site = site_of(request)
    said = site.visits.told(visit) if visit is not None else ""
    here = request.url.path
    html = (
        _environment()
        .get_template(template)
        .render(visit=visit, said=said, device=site.settings.device, here=here, zone=site.settings.timezone, **values)
    )
    return HTMLResponse(html, status_code=status)


def go(path: str) -> Response:
    """To another page, after a form."""
    return RedirectResponse(path, status_code=303)


async def apart(work: Callable[[], Any]) -> Any:
    """What waits for files, the broker or the agent, beside the server's loop."""
    return await run_in_threadpool(work)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("edge_agent.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    made.filters |= {
        "capital": capital,
        "egress": lambda kind: wording.KINDS[kind][0] if kind in wording.KINDS else kind,
        "plain": plain,
        "raw": _as_typed,
        "sentence": sentence,
        "size": size,
        "when": _when,
    }
    return made


@pass_context
def _when(context: Context, at_ms: float) -> str:
    return when(at_ms, context["zone"])


def _as_typed(value: float | str | bool) -> str:
    """A held value as `shell.rights.corrected` takes it back."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    """Words of strangers, without what turns or hides text."""
    if isinstance(value, str) and value != "\n" and not isinstance(value, Markup):
        return shown.line(value)
    return value


def when(at_ms: float, zone: str) -> str:
    """A time as the household's clock shows it.

    Args:
        at_ms: unix ms.
        zone: IANA name; empty: the system's.
    """
    there = ZoneInfo(zone) if zone else None
    at = datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(there)
    return f"{at.day} {at:%b %Y, %H:%M}"
