"""What has changed on a page, told as it happens: server-sent events, with the parts that are new and nothing else."""

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import msgspec
from starlette.requests import Request

from coordinator.dashboard import parts
from coordinator.shell.dashboard.rendering import Rendering
from coordinator.shell.dashboard.site import Page, Site
from coordinator.shell.dashboard.users import Session

if TYPE_CHECKING:
    from coordinator.shell.dashboard.rendering import Looked

POLL_S = 0.1
"""How often one looks whether anything was written."""
REST = 3.0
"""After a look one rests so many times as long as it took: watching takes a quarter of a core at most."""
BEAT_S = 15.0
"""A connection that is silent for longer is cut by some proxies."""
CHECK_S = 30.0
"""How often one looks whether the session still stands."""


def event(name: str, data: object) -> bytes:
    """One event as it goes over the wire (HTML Living Standard, 9.2)."""
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


async def stream(
    site: Site, rendering: Rendering, page: Page, request: Request, session: Session, secret: str
) -> AsyncIterator[bytes]:
    """Events until the reader goes away or the session ends.

    `part` has `id` and `html`; `reload`: the page has another shape now; `over`: the session has ended.
    """
    seen = request.query_params.get("seen", "")
    looked = await rendering.look(page, request, session)
    if looked.digest != seen:
        for name, section in looked.sections.items():
            yield event("part", {"id": name, "html": section.html})
    yield event("here", {"sections": list(looked.sections)})
    said_s = checked_s = time.monotonic()
    while True:
        await anyio.sleep(POLL_S)
        now_s = time.monotonic()
        if now_s - checked_s > CHECK_S:
            checked_s = now_s
            if await anyio.to_thread.run_sync(site.users.session, secret) is None:
                yield event("over", {})
                return
        if site.stamp(page) != looked.stamp:
            before, looked = looked, await rendering.look(page, request, session)
            for one in news(before, looked):
                said_s = time.monotonic()
                yield one
            await anyio.sleep(REST * (time.monotonic() - now_s))
        elif now_s - said_s > BEAT_S:
            said_s = now_s
            yield b": here\n\n"


def news(before: "Looked", after: "Looked") -> list[bytes]:
    """The events from one look to the next."""
    if parts.reshaped(before.sections, after.sections):
        return [event("reload", {})]
    return [event("part", {"id": one.id, "html": one.html}) for one in parts.changed(before.sections, after.sections)]
