"""The door's calls for devices that want in, or want another certificate: `/v1/enrol`, `/v1/renew`.

`/v1/authority` and `/v1/devices.crl` are public. A device compares the first with its token's hash before it trusts.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from coordinator.errors import EnrolmentRefused, NotRunning, ProofInvalid, RequestMalformed, TooManyAttempts
from coordinator.fleet.attempts import Attempts
from coordinator.shell import authority, pki
from coordinator.shell.enrol import enrol_key, public_key
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import Endpoints, endpoints_of
from coordinator.shell.invitations import Invitations
from coordinator.shell.store import Store
from firmware_configs.enrolment import (
    EnrolAnswer,
    EnrolRequest,
    Refusal,
    RenewAnswer,
    RenewRequest,
    signed,
    visitor,
)
from firmware_configs.errors import EdgeError

BODY_BYTES_MAX = 65_536
AT_ONCE = 2
"""Enrolments at the same time: each is a process of Flower's."""
WAITING_MAX = 64
Asked = TypeVar("Asked", bound=Struct)


class Enrolling:
    """Lets devices in."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._attempts = Attempts()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def enrol(self, request: Request) -> Response:
        """One device with its token."""
        return await self._answer(request, EnrolRequest, lambda asked: enrolled(self._home, asked))

    async def renew(self, request: Request) -> Response:
        """Another certificate for a device."""
        return await self._answer(request, RenewRequest, lambda asked: renewed(self._home, asked))

    async def _answer(self, request: Request, kind: type[Asked], do: Callable[[Asked], Struct]) -> Response:
        address = request.client.host if request.client is not None else ""
        try:
            if not self._attempts.allowed(address, time.monotonic()):
                raise TooManyAttempts("too many attempts that failed", hint="wait ten minutes")
            if self._waiting >= WAITING_MAX:
                raise TooManyAttempts("too many devices at once", hint="try again in a minute")
            asked = await _read(request, kind)
            self._waiting += 1
            try:
                async with self._turns:
                    answer = await run_in_threadpool(do, asked)
            finally:
                self._waiting -= 1
        except EdgeError as error:
            if isinstance(error, EnrolmentRefused) and not isinstance(error, TooManyAttempts):
                self._attempts.failed(address, time.monotonic())
            return _refused(error)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def authority(self, _request: Request) -> Response:
        """The certificate that our servers chain to."""
        return Response(pki.ensure_authority(self._home).certificate.read_bytes(), media_type="application/x-pem-file")

    async def revoked(self, _request: Request) -> Response:
        """The list of devices' certificates that are good no more."""
        place = authority.revocations(self._home)
        content = (place if place.exists() else authority.publish(self._home)).read_bytes()
        return Response(content, media_type="application/x-pem-file")


def routes(home: Path) -> list[BaseRoute]:
    """The calls, to be mounted by the door."""
    door = Enrolling(home)
    return [
        Route("/v1/enrol", door.enrol, methods=["POST"]),
        Route("/v1/renew", door.renew, methods=["POST"]),
        Route("/v1/authority", door.authority),
        Route("/v1/devices.crl", door.revoked),
    ]


def enrolled(home: Path, asked: EnrolRequest) -> EnrolAnswer:
    """Let a device in, once for each token.

    Raises:
        EnrolmentRefused: it is not let in, and its token is not used up; the class says why.
        DeviceTaken: its name is another's, or cannot be one.
        NotRunning, FlowerFailed: not now.
    """
    key = public_key(asked.node_key.encode(), "the request's node_key")
    authority.proven(key, asked.proof, signed("enrol", asked.device, asked.request, asked.visit))
    endpoints = endpoints_of(home)
    tokens = Invitations(home)
    groups = tokens.claim(asked.secret, asked.device, key)
    try:
        # The requests are looked at before anything is done; a certificate that nobody fetches does no harm.
        wanted = _wants_certificate(endpoints)
        issued = authority.issue(home, asked.request, asked.device, "device") if wanted else None
        visit = _visit(home, asked) if wanted else ""
        device = enrol_key(home, asked.device, key)
    except EdgeError:
        tokens.release(asked.secret)
        raise
    store = FleetStore(home)
    for group in groups:
        store.join(group, [device.name])
    return EnrolAnswer(
        device=device.name,
        node=str(device.node),
        coordinator=authority.coordinator_id(home),
        broker=endpoints.device_broker or endpoints.broker,
        registry=endpoints.registry,
        superlink=endpoints.superlink,
        authority=Path(endpoints.ca).read_text(),
        root=Path(endpoints.root).read_text(),
        certificate=issued.pem if issued is not None else "",
        ends_ms=issued.ends_ms if issued is not None else 0,
        visit=visit,
    )


def renewed(home: Path, asked: RenewRequest) -> RenewAnswer:
    """Another certificate.

    Raises:
        ProofInvalid: it is no device of ours, was revoked, or does not hold its key.
    """
    known = Store(home).find(asked.device)
    if known is None or known.revoked:
        raise ProofInvalid(
            f"no device `{asked.device}` is enrolled, or it was revoked", hint="enrol it: edge-agent enrol URL TOKEN"
        )
    authority.proven(known.public_key, asked.proof, signed("renew", asked.device, asked.request, asked.visit))
    issued = authority.issue(home, asked.request, asked.device, "device")
    return RenewAnswer(certificate=issued.pem, ends_ms=issued.ends_ms, visit=_visit(home, asked))


def _visit(home: Path, asked: EnrolRequest | RenewRequest) -> str:
    """A certificate for the device's commands and page; empty: none was asked for."""
    return authority.issue(home, asked.visit, visitor(asked.device), "visit").pem if asked.visit else ""


def _wants_certificate(endpoints: Endpoints) -> bool:
    return (endpoints.device_broker or endpoints.broker).startswith("mqtts:")


async def _read(request: Request, kind: type[Asked]) -> Asked:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise RequestMalformed(f"more than {BODY_BYTES_MAX} bytes", hint="send what edge-agent sends")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestMalformed(f"not a {kind.__name__}: {error}", hint="is the agent of another version?") from error


def _refused(error: EdgeError) -> Response:
    status = error.status if isinstance(error, EnrolmentRefused) else 503 if isinstance(error, NotRunning) else 409
    body = msgspec.json.encode(Refusal(code=error.code, what=error.what, fix=error.hint))
    return Response(body, status, media_type="application/json")
