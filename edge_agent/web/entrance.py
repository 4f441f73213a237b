"""The way in and out: what anybody may read, a link or a number that is used once, and leaving."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edge_agent.errors import LinkInvalid
from edge_agent.roles import Person, themselves
from edge_agent.shell.access import by_token
from edge_agent.web.pages import apart, cookie_name, fields_of, go, own_fields, render, site_of, visit_of
from edge_agent.web.told import purposes_in_words
from edge_agent.web.visits import Visit


async def welcome(request: Request) -> Response:
    """What this device does, for anybody; and where to come in."""
    profile = (await apart(site_of(request).profile)).profile
    return render(request, "welcome.html", visit_of(request), profile=profile, purposes=purposes_in_words(profile))


async def knock(request: Request) -> Response:
    """Where a link leads: a form, so that what only looks at links (a messenger, say) does not use it up."""
    return render(request, "knock.html", None, token=request.path_params["token"])


async def enter(request: Request) -> Response:
    """Come in by the link's form, or by a PIN."""
    site = site_of(request)
    given = await fields_of(request)
    now_ms = site.clock()
    if "token" in given:
        invitation = await apart(lambda: site.door.enter_by_link(given["token"], now_ms))
    else:
        pin = "".join(given.get("pin", "").split())
        invitation = await apart(lambda: site.door.enter_by_pin(pin, now_ms))
    return _let_in(request, themselves(invitation.subject), "/me")


async def enter_by_token(request: Request) -> Response:
    """Come in as one of those whom `edge-agent access token` gave a role."""
    site = site_of(request)
    given = await fields_of(request)
    person = await apart(lambda: by_token(site.state_dir, given.get("token", "").strip(), site.clock()))
    if person is None:
        raise LinkInvalid("this token is not right, or has ended", hint="ask for a new one: `edge-agent access token`")
    return _let_in(request, person, "/staff")


def _let_in(request: Request, person: Person, home: str) -> Response:
    site = site_of(request)
    visit = site.visits.begin(person, site.clock())
    answer = go(home)
    secure = bool(site.settings.web.cert) or site.settings.web.url.startswith("https:")
    answer.set_cookie(cookie_name(site), visit.cookie, path="/", httponly=True, samesite="strict", secure=secure)
    return answer


async def leave(request: Request) -> Response:
    """The visit ends."""
    visit: Visit | None = visit_of(request)
    if visit is not None:
        await own_fields(request, visit)
        site_of(request).visits.end(visit)
    answer = go("/")
    answer.delete_cookie(cookie_name(site_of(request)), path="/")
    return answer


ROUTES: list[BaseRoute] = [
    Route("/", welcome),
    Route("/enter/{token}", knock),
    Route("/enter", enter, methods=["POST"]),
    Route("/staff/enter", enter_by_token, methods=["POST"]),
    Route("/leave", leave, methods=["POST"]),
]
