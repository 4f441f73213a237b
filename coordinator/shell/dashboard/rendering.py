"""Pages as HTML: looked at in a thread, within a time, and once for all who look at the same."""

import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from coordinator import progress
from coordinator.dashboard import curves, parts
from coordinator.dashboard.roles import MEANING, may
from coordinator.errors import (
    HomeUnreadable,
    SelectionInvalid,
    UnknownDevice,
    UnknownExperiment,
    UnknownRollout,
    UnknownRun,
)
from coordinator.fleet.health import duration
from coordinator.shell.dashboard.asking import Ask, readable
from coordinator.shell.dashboard.site import PAGES, Page, Site
from coordinator.shell.dashboard.users import Session
from coordinator.shell.database import unreadable
from firmware_configs import shown
from firmware_configs.errors import EdgeError

FOLDER = Path(__file__).parent
LOOK_S = 10.0
"""How long a page may take; a database that is held answers no sooner."""
KEPT_MAX = 64
THEMES = ("auto", "light", "dark")
MISSING = (UnknownDevice, UnknownExperiment, UnknownRollout, UnknownRun)


class Looked(Struct, frozen=True, kw_only=True):
    """A page as somebody of a role sees it."""

    stamp: tuple[int, ...]
    context: dict[str, Any]
    sections: dict[str, parts.Section]
    digest: str
    status: int


def _finalize(value: object) -> object:
    """Words of strangers without what cannot be seen; a missing value as a dash."""
    if isinstance(value, Markup):
        return value
    return shown.line(value) if isinstance(value, str) else value


def said(value: object) -> str:
    """What a device said, as people write it: no quotes, no braces, yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(said(one) for one in value)
    return str(value)


def time_of(ms: int) -> Markup:
    """A moment: in UTC, and by the page's script how long ago."""
    if not ms:
        return Markup("never")
    at = datetime.fromtimestamp(ms / 1_000, UTC)
    return Markup('<time datetime="{}" data-ago>{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def query_with(query: dict[str, str], **changes: object) -> str:
    """The query of this page with some of it changed."""
    return urlencode({**query, **changes})


def environment() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    filters: dict[str, Callable[..., object]] = {
        "time": time_of,
        "size": progress.size,
        "duration": duration,
        "told": curves.told,
        "count": lambda value: f"{value:,}",
        "svg": lambda chart: Markup(curves.svg(chart)),  # noqa: S704 - curves escapes what is not its own
        "drawn": Markup,
        "legend": curves.legend,
        "rows": curves.rows,
        "said": said,
        "number": lambda value: curves.told(float(value)) if isinstance(value, int | float) else "–",
    }
    made.filters |= filters
    made.globals |= {"may": may, "MEANING": MEANING, "PAGES": PAGES, "THEMES": THEMES, "query_with": query_with}
    return made


_templates = environment()


class Rendering:
    """Looks at pages; what nothing has changed is not looked at again."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._kept: dict[tuple[str, str], Looked] = {}
        self._locks: dict[tuple[str, str], anyio.Lock] = {}

    async def look(self, page: Page, request: Request, session: Session) -> Looked:
        """The page as it is now."""
        query = "&".join(f"{name}={value}" for name, value in sorted(request.query_params.items()))
        key = (f"{page.path} {sorted(request.path_params.items())} {query}", session.user.role)
        async with self._locks.setdefault(key, anyio.Lock()):
            stamp = self._site.stamp(page)
            held = self._kept.get(key)
            if held is not None and held.stamp == stamp:
                return held
            looked = await self._look(page, request, session, stamp)
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
                self._locks = {key: self._locks[key]}
            self._kept[key] = looked
            return looked

    async def _look(self, page: Page, request: Request, session: Session, stamp: tuple[int, ...]) -> Looked:
        ask = Ask(
            home=self._site.home,
            params={name: str(value) for name, value in request.path_params.items()},
            query=dict(request.query_params),
            now_ms=self._site.clock_ms(),
            reckon=self._site.reckoner,
        )
        context, status = await _within_time(page, ask)
        context |= {"page": page, "ask": ask, "role": session.user.role}
        html = await anyio.to_thread.run_sync(
            lambda: _templates.get_template(_name(page, context)).render(**_bare(context))
        )
        found = parts.sections(html)
        return Looked(stamp=stamp, context=context, sections=found, digest=parts.digest(found), status=status)

    async def page(self, page: Page, request: Request, session: Session) -> Response:
        """The whole page, for this person."""
        looked = await self.look(page, request, session)
        more = {**looked.context, "seen": looked.digest}
        return show(request, _name(page, more), session, status=looked.status, **more)


async def _within_time(page: Page, ask: Ask) -> tuple[dict[str, Any], int]:
    """What the page shows, or why it cannot, and the status to say so with."""
    try:
        with anyio.fail_after(LOOK_S):
            return await anyio.to_thread.run_sync(_safely, page, ask, abandon_on_cancel=True), 200
    except TimeoutError:
        error: EdgeError = HomeUnreadable(
            f"looking took longer than {LOOK_S:g} s", hint="another process holds the database, or the machine is busy"
        )
    except EdgeError as found:
        error = found
    status = 404 if isinstance(error, MISSING) else 400 if isinstance(error, SelectionInvalid) else 503
    return {"error": error}, status


def _safely(page: Page, ask: Ask) -> dict[str, Any]:
    readable(ask.home)
    try:
        return page.look(ask)
    except sqlite3.Error as error:
        raise unreadable(ask.home, error) from error


def _name(page: Page, context: dict[str, Any]) -> str:
    return "trouble.html" if "error" in context else page.template


def _bare(context: dict[str, Any]) -> dict[str, Any]:
    """For looking at what is live, which is the same for everybody of a role."""
    return {**context, "session": None, "theme": "auto", "seen": "", "here": "", "said": "", "live": ""}


def show(request: Request, template: str, session: Session | None, *, status: int = 200, **context: Any) -> Response:
    """A template for one person."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    theme = request.cookies.get("theme", "auto")
    given = {
        "session": session,
        "role": session.user.role if session is not None else None,
        "theme": theme if theme in THEMES else "auto",
        "here": here,
        "said": "",
        "seen": "",
        "page": None,
        "live": f"/live{here}" if "seen" in context else "",
        **context,
    }
    return HTMLResponse(_templates.get_template(template).render(**given), status)
