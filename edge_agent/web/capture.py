"""What pages of a shop or an app read and send: the script, what the profile lets it capture, and beacons.

A beacon is for pages without a line to the broker; what is in it is published on the topics that MQTT clients use, so
the agent asks the same of it. Only pages of this device and of the origins in the settings are let in.
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from edge_agent.errors import PayloadMalformed, VisitRefused
from edge_agent.shell import visit
from edge_agent.shell.visit import Letter
from edge_agent.web.pages import apart, site_of
from edge_agent.web.site import Site
from firmware_configs import capture
from firmware_configs.errors import EdgeError
from firmware_configs.messages import JSON, Consent, Feedback, Topics

SCRIPT = Path(__file__).parent / "script" / "edgeward.min.js"
MESSAGES_MAX = 64
WAITING_MAX = 16
"""Beacons that wait for the broker; who comes then is asked to come again."""
OWN_FIELDS = ("id", "time", "subject")
"""What every captured event says besides the profile's fields."""
REFUSED, MALFORMED, BUSY, ELSEWHERE = 403, 400, 429, 503


class Said(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message of a page."""

    topic: str
    """Below `edgeward/1/{device}/`: a captured source's own, `feedback`, or `consent/{subject}`."""
    body: dict[str, Any]


class Beacon(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a page has gathered."""

    device: str
    messages: list[Said]


class Post:
    """The way from beacons to the broker: one at a time, and few that wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.waiting = 0

    def take(self, site: Site, letters: list[Letter]) -> None:
        """Publish them.

        Raises:
            BrokerError: not all of them were taken; the page sends them again, under the same ids.
        """
        with self._lock:
            if not letters:
                return
            visit.post(site.settings, letters, "beacon")


def letters_of(raw: bytes, site: Site, *, gpc: bool) -> list[Letter]:
    """What is to be published of a beacon.

    Args:
        raw: as it came.
        gpc: the browser sent Global Privacy Control.
    Raises:
        PayloadMalformed: it is no beacon of this device, or says something that pages do not say.
        CaptureUnknown: the profile lets pages capture nothing.
    """
    try:
        beacon = msgspec.json.decode(raw, type=Beacon)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadMalformed(f"no beacon: {type(error).__name__}", hint="send what edgeward.js sends") from None
    if beacon.device != site.settings.device or len(beacon.messages) > MESSAGES_MAX:
        raise PayloadMalformed(
            "a beacon for another device, or too much in one",
            hint=f"read /capture-policy again; at most {MESSAGES_MAX} messages",
        )
    profile = site.profile().profile
    policies = {
        policy.topic: policy
        for policy in (capture.policy(profile, beacon.device, source.name) for source in capture.sources(profile))
    }
    for said in beacon.messages:
        _own(said, site.settings.web.subjects)
    return [_letter(said, policies, beacon.device, gpc=gpc) for said in beacon.messages]


def _own(said: Said, subjects: tuple[str, ...]) -> None:
    """Anybody can say that they are a page: so nobody speaks here for people whose names others give.

    Raises:
        PayloadMalformed: it is about somebody whom pages may not speak for.
    """
    if said.topic == "feedback":
        return  # about a decision, whose id is its own proof
    about = said.topic.partition("/")[2] if said.topic.startswith("consent/") else said.body.get("subject")
    if not isinstance(about, str) or not about.startswith(subjects):
        raise PayloadMalformed(
            f"about a subject that does not begin with {' or '.join(subjects)}",
            hint="publish over MQTT, where the broker knows who speaks, or widen the settings' web.subjects",
        )


def _letter(said: Said, policies: dict[str, capture.CapturePolicy], device: str, *, gpc: bool) -> Letter:
    topic = Topics(device).of(said.topic)
    door, _, subject = said.topic.partition("/")
    if (policy := policies.get(said.topic)) is not None:
        kept = {name: value for name, value in said.body.items() if name in policy.fields or name in OWN_FIELDS}
        if gpc or said.body.get("gpc") is True:
            kept["gpc"] = True
        return Letter(topic=topic, payload=msgspec.json.encode(kept))
    try:
        if said.topic == "feedback":
            return Letter(topic=topic, payload=msgspec.json.encode(msgspec.convert(said.body, Feedback)))
        if door == "consent" and subject and not set(subject) & set("+#/\x00"):
            word = msgspec.convert(said.body, Consent)
            word = msgspec.structs.replace(word, gpc=word.gpc or gpc)
            return Letter(topic=topic, payload=msgspec.json.encode(word), retain=True)
    except msgspec.ValidationError as error:
        raise PayloadMalformed(f"no {door}: {error}", hint="see docs/clients.md") from None
    raise PayloadMalformed("a topic on which pages say nothing", hint="see docs/clients.md")


def _origin(request: Request) -> str:
    """The origin of the page that asks, once it is one that may.

    Raises:
        VisitRefused: it may not.
    """
    web = site_of(request).settings.web
    origin = request.headers.get("origin", "")
    # The guard has let in no name but our own, so a page of that name is ours.
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if origin not in {own, web.address, *web.origins}:
        raise VisitRefused(
            "this page may not capture for this device", hint="name its origin in the settings, web.origins"
        )
    return origin


async def beacon(request: Request) -> Response:
    """Take what a page has gathered: 204 once the broker has all of it."""
    site = site_of(request)
    post: Post = request.app.state.post
    try:
        allowed = {"Access-Control-Allow-Origin": _origin(request), "Vary": "Origin"}
    except VisitRefused as error:
        return PlainTextResponse(error.what, REFUSED)
    try:
        raw = await request.body()
        gpc = request.headers.get("sec-gpc") == "1"
        letters = await apart(lambda: letters_of(raw, site, gpc=gpc))
    except EdgeError as error:
        return PlainTextResponse(error.what, MALFORMED, allowed)
    if post.waiting >= WAITING_MAX:
        return PlainTextResponse("busy: send it again", BUSY, allowed)
    post.waiting += 1
    try:
        await apart(lambda: post.take(site, letters))
    except EdgeError as error:
        return PlainTextResponse(error.what, ELSEWHERE, allowed)
    finally:
        post.waiting -= 1
    return Response(status_code=204, headers=allowed)


async def policy(request: Request) -> Response:
    """What the profile lets pages capture; `?source=` names one of several."""
    site = site_of(request)
    headers = {"Vary": "Origin", "Cross-Origin-Resource-Policy": "cross-origin"}
    if "origin" in request.headers:
        try:
            headers["Access-Control-Allow-Origin"] = _origin(request)
        except VisitRefused as error:
            return PlainTextResponse(error.what, REFUSED)
    source = request.query_params.get("source", "")
    try:
        found = await apart(lambda: capture.policy(site.profile().profile, site.settings.device, source))
    except EdgeError as error:
        return PlainTextResponse(f"{error.what}\nfix: {error.hint}", 404, headers)
    return Response(msgspec.json.encode(found), media_type=JSON, headers=headers)


async def script(request: Request) -> Response:
    """`edgeward.js`, for pages of any origin: there is nothing personal in it."""
    raw, packed, tag = _script()
    headers = {"Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "max-age=3600", "ETag": tag}
    headers["Vary"] = "Accept-Encoding"
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        raw = packed
    return Response(raw, media_type="text/javascript", headers=headers)


@cache
def _script() -> tuple[bytes, bytes, str]:
    raw = SCRIPT.read_bytes()
    return raw, gzip.compress(raw, 9, mtime=0), f'"{hashlib.sha256(raw).hexdigest()[:16]}"'


def packed_script() -> bytes:
    """`edgeward.js` as it travels: gzip."""
    return _script()[1]


ROUTES: list[BaseRoute] = [
    Route("/edgeward.js", script),
    Route("/capture-policy", policy),
    Route("/beacon", beacon, methods=["POST"]),
]
