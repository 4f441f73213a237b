"""The pages of one person: what is known, why, choices, a copy, and an end to it."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edge_agent.errors import ErasureFailed, SubjectUnknown, VisitRefused
from edge_agent.explaining import in_words
from edge_agent.roles import Action
from edge_agent.shell import inspect, rights, word
from edge_agent.shell.access import mark_of
from edge_agent.shell.subject import about, segments
from edge_agent.web import told
from edge_agent.web.pages import apart, go, look, own_fields, render, site_of, visit_of
from edge_agent.web.site import Site
from edge_agent.web.visits import Visit
from firmware_configs import looks

REASONS_TOLD = 10
"""The newest decisions; the copy has them all."""
LOOKS_TOLD = 50
Page = Callable[[Request, Visit], Awaitable[Response]]


def _theirs(page: Page, action: Action, what: str) -> Callable[[Request], Awaitable[Response]]:
    """A page for the person themselves, whose look is entered first; everybody else is shown the way in."""

    async def shown(request: Request) -> Response:
        visit = visit_of(request)
        if visit is None or not visit.subject:
            return go("/erased" if visit is not None and visit.paper else "/")
        await look(request, visit, action, f"page {what}")
        return await page(request, visit)

    return shown


def _known(site: Site, subject: str) -> dict[str, Any]:
    """All of a person, or nothing."""
    try:
        return about(site.state_dir, subject)
    except SubjectUnknown:
        return {}


async def me(request: Request, visit: Visit) -> Response:
    """What this device knows about me."""
    site = site_of(request)

    def read() -> tuple[dict[str, Any], list[str]]:
        profile = site.profile().profile
        return _known(site, visit.subject), told.groups(profile, segments(site.state_dir, visit.subject))

    found, groups = await apart(read)
    profile = found.get("profile", {})
    return render(
        request,
        "me.html",
        visit,
        found=found,
        facts=told.facts(profile.get("counted", {}), profile.get("texts", {})),
        groups=groups,
        learned=told.learned(found) if found else [],
        left=told.left(found) if found else [],
        linked=sorted({name for one in found.get("linked", ()) for name in one["with"]}),
    )


async def why(request: Request, visit: Visit) -> Response:
    """Why I saw this."""
    site = site_of(request)

    def read() -> list[tuple[told.Reason, list[str]]]:
        trails = inspect.of_subject(site.state_dir, visit.subject, REASONS_TOLD)
        found = []
        for trail in trails:
            outcomes = inspect.outcomes_of(site.state_dir, trail.id)
            found.append((told.reason(trail, outcomes), in_words(trail, outcomes)))
        held = inspect.withheld_at(site.state_dir)
        found += [
            (told.nothing(name, one), [])
            for name, ones in held.items()
            for one in ones
            if one.subject == visit.subject and not one.decision
        ]
        return sorted(found, key=lambda one: -one[0].at_ms)[:REASONS_TOLD]

    return render(request, "why.html", visit, reasons=await apart(read))


async def choices(request: Request, visit: Visit) -> Response:
    """What I agree to."""
    site = site_of(request)

    def read() -> list[told.Use]:
        profile = site.profile().profile
        return told.choices(profile, word.stored(site.settings, profile)[0], visit.subject)

    return render(request, "choices.html", visit, uses=await apart(read))


async def choose(request: Request, visit: Visit) -> Response:
    """Say yes or no to one purpose."""
    site, given = site_of(request), await own_fields(request, visit)
    purpose, yes = given.get("purpose", ""), given.get("say") == "yes"

    def say() -> word.Said:
        return word.say(site.settings, site.profile().profile, visit.subject, purpose, yes=yes)

    said = await apart(say)
    effect = "It holds from now on." if said.took_ms else "It holds as soon as the device hears it."
    words = f"{told.titled(purpose)}: you said {'yes' if yes else 'no'}. {effect}"
    site.visits.tell(visit, words, msgspec.json.format(msgspec.json.encode(said.receipt)))
    return go("/me/choices")


async def data(request: Request, visit: Visit) -> Response:
    """A copy, a correction, an end."""
    site = site_of(request)
    return render(request, "data.html", visit, found=await apart(lambda: _known(site, visit.subject)))


async def export(request: Request, visit: Visit) -> Response:
    """The copy, as `edge-agent subject export` writes it."""
    site = site_of(request)
    found = await apart(lambda: about(site.state_dir, visit.subject))
    return _file(msgspec.json.format(msgspec.json.encode(found)), "my-data.json")


async def rectify(request: Request, visit: Visit) -> Response:
    """Put a held field right."""
    site, given = site_of(request), await own_fields(request, visit)
    field, text = given.get("field", ""), given.get("value", "")

    def put_right() -> bool:
        value = rights.corrected(site.state_dir, visit.subject, field, text)
        return rights.fulfil(site.settings, (visit.subject,), {field: value})[0]

    done = await apart(put_right)
    what = (
        f"{told.titled(field)} was put right." if done else f"{told.titled(field)} will be put right at the next start."
    )
    site.visits.tell(visit, what)
    return go("/me/data")


async def erase(request: Request, visit: Visit) -> Response:
    """Erase all of it; afterwards nobody is named here any more, not even by the visit."""
    site, given = site_of(request), await own_fields(request, visit)
    if given.get("sure") != "yes":
        raise VisitRefused("nothing was erased", hint="tick the box that says that you are sure, then try again")

    def end() -> tuple[str, bytes]:
        kept = rights.clear(site.settings, (visit.subject,))
        done, copy = rights.fulfil(site.settings, (visit.subject,), {})
        if not done or copy is None:
            raise ErasureFailed("it is not erased yet", hint="the device does it at its next start; look again later")
        return kept, msgspec.json.format(msgspec.json.encode(copy))

    kept, paper = await apart(end)
    site.visits.tell(visit, kept, paper)
    site.visits.forget(visit)
    return go("/erased")


async def erased(request: Request) -> Response:
    """What was erased, and the receipt to take along."""
    visit = visit_of(request)
    if visit is None or not visit.paper or visit.subject:
        return go("/")
    return render(request, "erased.html", visit, copy=msgspec.json.decode(visit.paper))


async def paper(request: Request) -> Response:
    """The newest receipt of this visit."""
    visit = visit_of(request)
    return _file(visit.paper, "receipt.json") if visit is not None and visit.paper else go("/")


async def looked(request: Request, visit: Visit) -> Response:
    """Who looked at me."""
    site = site_of(request)

    def read() -> list[told.Looked]:
        mine = looks.about(looks.read(site.state_dir).looks, mark_of(site.state_dir, visit.subject))
        return told.looked(mine[::-1])[:LOOKS_TOLD]

    return render(request, "looked.html", visit, looks=await apart(read))


def _file(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content + b"\n", media_type="application/json", headers=headers)


ROUTES: list[BaseRoute] = [
    Route("/me", _theirs(me, "subject", "what it knows")),
    Route("/me/why", _theirs(why, "explain", "why I saw this")),
    Route("/me/choices", _theirs(choices, "subject", "my choices")),
    Route("/me/choices", _theirs(choose, "rights", "my choices: a word"), methods=["POST"]),
    Route("/me/looks", _theirs(looked, "looks", "who looked")),
    Route("/me/data", _theirs(data, "subject", "take or erase")),
    Route("/me/data.json", _theirs(export, "subject", "take a copy")),
    Route("/me/rectify", _theirs(rectify, "rights", "put right"), methods=["POST"]),
    Route("/me/erase", _theirs(erase, "rights", "erase"), methods=["POST"]),
    Route("/erased", erased),
    Route("/receipt.json", paper),
]
