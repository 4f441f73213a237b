"""Signing in and out, and how bright the pages are."""

import time

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from coordinator.shell.dashboard.door import address_of, form, guarded, is_from_here, local, note, site_of
from coordinator.shell.dashboard.rendering import THEMES, show
from coordinator.shell.dashboard.users import LASTS_MS, Session

YEAR_S = 31_536_000
NAME_MAX = 63


async def first(_request: Request) -> Response:
    """The first page is the fleet."""
    return RedirectResponse("/fleet", 303)


async def login(request: Request) -> Response:
    """The form, or whoever sends it signed in. Which of name and password is wrong is not told."""
    site = site_of(request)
    if request.method == "GET":
        nobody = not await anyio.to_thread.run_sync(site.users.all)
        return show(
            request, "login.html", None, next=local(request.query_params.get("next", "/")), nobody=nobody, why=""
        )
    given = await form(request)
    name, onward = given.get("name", "")[:NAME_MAX], local(given.get("next", "/"))
    address, now_s = address_of(request), time.monotonic()
    if not is_from_here(request):
        return _again(request, onward, "The form came from elsewhere. Try again.", 403)
    if not site.attempts.allowed(address, now_s):
        site.trail.note(name, "", "failed to sign in", "/login", why="too many attempts", address=address)
        return _again(request, onward, "Too many attempts. Wait ten minutes.", 429)
    # Counted before it is looked at, so that many at once are no way around; whoever gets in is not held to it.
    site.attempts.failed(address, now_s)
    user = await anyio.to_thread.run_sync(site.users.known, name, given.get("password", ""))
    if user is None:
        site.trail.note(name, "", "failed to sign in", "/login", address=address)
        return _again(request, onward, "No user has this name and this password.", 401)
    site.attempts.forgive(address)
    secret = await anyio.to_thread.run_sync(site.users.enter, user)
    site.trail.note(user.name, user.role, "signed in", "/login", address=address)
    answer = RedirectResponse(onward, 303)
    answer.set_cookie(
        site.cookie, secret, max_age=LASTS_MS // 1_000, httponly=True, samesite="strict", secure=site.secure, path="/"
    )
    return answer


def _again(request: Request, onward: str, why: str, status: int) -> Response:
    return show(request, "login.html", None, status=status, next=onward, nobody=False, why=why)


async def logout(request: Request, session: Session) -> Response:
    """End the session."""
    site = site_of(request)
    await anyio.to_thread.run_sync(site.users.leave, request.cookies.get(site.cookie, ""))
    note(request, session, "signed out", "/logout")
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(site.cookie, path="/", secure=site.secure, httponly=True, samesite="strict")
    return answer


async def theme(request: Request) -> Response:
    """Light, dark, or as the browser likes it."""
    given = await form(request)
    chosen = given.get("theme", "auto")
    answer = RedirectResponse(local(given.get("next", "/")), 303)
    if is_from_here(request) and chosen in THEMES:
        answer.set_cookie("theme", chosen, max_age=YEAR_S, httponly=True, samesite="strict", path="/")
    return answer


ROUTES = (
    Route("/", first),
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", guarded(None, logout), methods=["POST"]),
    Route("/theme", theme, methods=["POST"]),
)
