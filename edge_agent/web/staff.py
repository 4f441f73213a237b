"""The page of those who have a role: what the device collects, what left it, who looked. Read only; names nobody."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edge_agent.roles import Action, Role, may
from edge_agent.shell import inspect, vitals
from edge_agent.shell.access import admit, check
from edge_agent.shell.eraser import receipts
from edge_agent.web.pages import apart, render, site_of, visit_of
from edge_agent.web.site import Site
from edge_agent.web.told import purposes_in_words
from edge_agent.web.visits import Visit
from firmware_configs import looks

LOOKS_TOLD = 50


async def staff(request: Request) -> Response:
    """What one's role allows to see; without one, the way in."""
    visit = visit_of(request)
    if visit is None or visit.subject or not visit.person.roles:
        return render(request, "staff_door.html", None)
    site = site_of(request)
    return render(request, "staff.html", visit, **await apart(lambda: _read(site, visit)))


def _read(site: Site, visit: Visit) -> dict[str, Any]:
    """Every part that the role allows; the look is entered before it is made."""
    role = check(site.state_dir, "status", visit.person)
    seen: list[Action] = [part for part in ("looks", "ledger") if may(role, part)]
    if seen:
        what = f"page staff: {', '.join(seen)}"
        admit(site.state_dir, seen[0], what=what, person=visit.person, now_ms=site.clock())
    loaded = site.profile()
    found: dict[str, Any] = {
        "role": role,
        "profile": loaded.profile,
        "profile_hash": loaded.hash,
        "purposes": purposes_in_words(loaded.profile),
        "vitals": vitals.ask(site.state_dir),
        "ledger": None,
        "looks": None,
        "receipts": None,
    }
    if "ledger" in seen:
        found["ledger"] = inspect.ledger_summary(site.state_dir)
    if "looks" in seen:
        found["looks"] = looks.read(site.state_dir)
        found["newest"] = found["looks"].looks[::-1][:LOOKS_TOLD]
    if role is Role.OFFICER:
        found["receipts"] = receipts(site.state_dir)
    return found


ROUTES: list[BaseRoute] = [Route("/staff", staff)]
