"""The one HTTPS port that devices see: the registry's files, and Flower's fleet calls; and `/metrics`, for few.

The SuperLink serves everything on one port: the calls of nodes, which it authenticates, and the calls that start
runs, which execute code and which it does not authenticate. So it listens on loopback, and only the calls of nodes
are passed on. `python -m coordinator.shell.door` is the child.
"""

import argparse
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from coordinator.shell import artefacts, enrolling, exposition

if TYPE_CHECKING:
    from coordinator.shell.replies import Replies

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Flower cuts arrays into pieces of 5 MiB; each is a call of its own."""
CALL_S = 60.0
KEY_HEADER = "flwr-public-key"
"""What a node shows as its own key, base64 of PEM; the SuperLink checks it."""
HOP_BY_HOP = frozenset({"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"})


class FleetDoor:
    """Passes `/v1/fleet/CALL` on to the SuperLink, byte for byte. Nodes' signatures are the SuperLink's to check."""

    def __init__(self, superlink: str, ca: Path, replies: "Replies | None" = None) -> None:
        """Nothing is sent yet.

        Args:
            superlink: `host:port`.
            replies: told each call that the SuperLink took; None: nobody is.
        """
        self._replies = replies
        self._client = httpx.AsyncClient(
            base_url=f"https://{superlink}",
            verify=ssl.create_default_context(cafile=str(ca)),
            timeout=CALL_S,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def pass_on(self, request: Request) -> Response:
        """One call there and back; 413 for a body above the limit, 503 when the SuperLink is gone."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return PlainTextResponse(f"at most {BODY_BYTES_MAX} bytes a call", status_code=413)
        try:
            answer = await self._client.post(
                f"/v1/fleet/{request.path_params['call']}",
                content=bytes(body),
                headers=_passed(request.headers.items()),
            )
        except httpx.TransportError:
            return PlainTextResponse("the SuperLink is not there", status_code=503)
        if self._replies is not None and answer.status_code == HTTPStatus.OK:
            call, key = request.path_params["call"], request.headers.get(KEY_HEADER, "")
            self._replies.heard(call, key, bytes(body), answer.content)
        return Response(answer.content, answer.status_code, dict(_passed(answer.headers.items())))


def _passed(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


def application(folder: Path, door: FleetDoor) -> Starlette:
    """Registry and fleet calls; every other path is not found."""

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        yield
        await door.close()

    routes: list[BaseRoute] = [
        Route("/health", lambda _request: PlainTextResponse("ok")),
        Route("/v1/fleet/{call}", door.pass_on, methods=["POST"]),
        *artefacts.routes(folder),
        *enrolling.routes(folder.parent),
        *exposition.routes(folder.parent),
    ]
    return Starlette(routes=routes, lifespan=life)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the registry")
    parser.add_argument("--superlink", required=True, help="host:port on loopback")
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--replies", type=Path, help="folder for a record of what learners say")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    replies = None
    if given.replies is not None:
        # Only a door that records loads what that needs.
        from coordinator.shell.replies import Replies

        replies = Replies(given.folder.parent, given.replies, lambda: int(time.time() * 1_000))
    uvicorn.run(
        application(given.folder, FleetDoor(given.superlink, given.ca, replies)),
        host=given.host,
        port=given.port,
        ssl_certfile=given.certificate,
        ssl_keyfile=given.key,
        log_level="warning",
        limit_concurrency=512,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
