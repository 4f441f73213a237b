"""HTTPS to a SuperLink's fleet API: one call, signed with the node's key, tried again where the line failed.

flwr's own client does this with httpx, pydantic and grpc in memory, ends the process when it cannot connect and
interrupts it when it is refused. Here each of these is an error with a name.
"""

import http.client
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from edge_agent.errors import NodeRefused, RoundRefused, SuperLinkUnreachable
from edge_agent.shell.fleet_wire import MESSAGES, SPOKEN

CALL_S = 30.0
RETRIES = 4
RETRY_S = 8.0
"""How long a call is tried again where the line fails."""
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""Flower cuts arrays into pieces of 5 MiB; each is a call of its own."""
PASSING = frozenset({502, 503, 504})
KIND = "application/protobuf"
CALLS = {
    "ActivateNode": "activate-node",
    "DeactivateNode": "deactivate-node",
    "SendNodeHeartbeat": "send-node-heartbeat",
    "PullMessages": "pull-messages",
    "PushMessages": "push-messages",
    "PullObject": "pull-object",
    "PushObject": "push-object",
    "ConfirmMessageReceived": "confirm-message-received",
    "GetRun": "get-run",
}
"""Call → its path below /v1/fleet; the messages are NAMERequest and NAMEResponse."""


class RunOver(RoundRefused):
    """The run is not (or not yet, or no longer) going on."""


class NodeKey:
    """This device's private key, and the headers that prove it."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            NodeRefused: no such file, or no EC key in it.
        """
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        hint = "make one with `edge-agent keys new`"
        try:
            raw = path.read_bytes()
            load = serialization.load_ssh_private_key if b"OPENSSH" in raw else serialization.load_pem_private_key
            key: Any = load(raw, None)
        except (OSError, ValueError) as error:
            raise NodeRefused(f"{path} cannot be read as a private key: {error}", hint=hint) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NodeRefused(f"{path} holds no EC key", hint=hint)
        self.public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key, self._how = key, ec.ECDSA(hashes.SHA256())

    def headers(self) -> dict[str, str]:
        """Proof of the key for one call, now."""
        stamp = datetime.now(UTC).isoformat()
        return {
            "flwr-public-key": b64encode(self.public).decode(),
            "flwr-timestamp": stamp,
            "flwr-signature": b64encode(self._key.sign(stamp.encode(), self._how)).decode(),
        }


class FleetLine:
    """Calls to one SuperLink over a connection that is kept, and made again when it broke."""

    def __init__(self, superlink: str, ca: str, key: NodeKey) -> None:
        """Nothing is sent yet.

        Args:
            superlink: `host:port`.
            ca: certificate path; empty for no TLS (development only).
        Raises:
            SuperLinkUnreachable: no such certificate, or no possible address.
        """
        self.superlink, self.key = superlink, key
        try:
            where = urlsplit(f"//{superlink}")
            host, port = where.hostname or "", where.port or 443
            trust = ssl.create_default_context(cafile=ca) if ca else None
        except (OSError, ValueError) as error:
            raise self._unreachable(f"{error}") from error
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, timeout=CALL_S, context=trust)
            if trust is not None
            else http.client.HTTPConnection(host, port, timeout=CALL_S)
        )

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    def call(self, name: str, wait: Callable[[float], None] = time.sleep, **fields: Any) -> Any:
        """One call; the answer's message.

        Args:
            name: of CALLS.
            fields: of its request.
        Raises:
            SuperLinkUnreachable: nobody answers, not over TLS as we trust it, or with what is no answer.
            NodeRefused: the key is not enrolled here any more, or the clock is wrong.
            RunOver: the run does not go on.
        """
        body = MESSAGES[f"{name}Request"](**fields).SerializeToString(deterministic=True)
        status, answer = self._post(f"/v1/fleet/{CALLS[name]}", body, wait)
        if status == 200:
            try:
                return MESSAGES[f"{name}Response"].FromString(answer)  # type: ignore[attr-defined]
            except DecodeError as error:
                raise self._unreachable(f"its answer to {name} cannot be read: {error}") from error
        if status == 403:
            raise RunOver("the run ended before this device had answered", hint="nothing to do")
        # Who is not known cannot be activated; later, a key that was revoked proves nothing.
        if status == 401 or (name == "ActivateNode" and status < 500):
            raise NodeRefused(
                f"the SuperLink at {self.superlink} does not accept this node's key",
                hint="run `edge-coordinator nodes enrol` with this device's node.pub; it may have been revoked; "
                "or this device's clock is wrong",
            )
        raise self._unreachable(f"it answered {name} with {status}")

    def _post(self, path: str, body: bytes, wait: Callable[[float], None]) -> tuple[int, bytes]:
        began, pause = time.monotonic(), 0.0
        for left in range(RETRIES, -1, -1):
            try:
                status, answer = self._once(path, body)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                hopeless = isinstance(error, ssl.SSLError) or time.monotonic() - began > RETRY_S
                if hopeless or not left:
                    raise self._unreachable(str(error) or type(error).__name__) from error
            else:
                if status not in PASSING or not left or time.monotonic() - began > RETRY_S:
                    return status, answer
            # A connection that was kept may just have been too old: the first new one is made at once.
            if pause:
                wait(pause)
            pause = pause * 2 or 0.25
        raise AssertionError("the last try returns or raises")

    def _once(self, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {
            "Content-Type": KIND,
            "Accept": KIND,
            "flwr-package-name": "flwr",
            "flwr-package-version": SPOKEN,
            "flwr-component-name": "SuperNode",
            **self.key.headers(),
        }
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX + 1)
        if len(answer) > ANSWER_BYTES_MAX:
            self._connection.close()
            raise self._unreachable(f"it answers with more than {ANSWER_BYTES_MAX} bytes")
        return response.status, answer

    def _unreachable(self, said: str) -> SuperLinkUnreachable:
        return SuperLinkUnreachable(
            f"no SuperLink at {self.superlink}: {said[:200]}",
            hint="check superlink.address and superlink.ca, and that `edge-coordinator up` runs",
        )

    def quietly(self, name: str, **fields: Any) -> None:
        """A call whose outcome changes nothing here."""
        with suppress(SuperLinkUnreachable, NodeRefused, RoundRefused):
            self.call(name, **fields)
