"""The one door to Flower's fleet connection, with this device's node key over TLS.

It is Flower's internal interface: pinned to a minor version in setup.cfg, and a contract test against a real
SuperLink tells when it changes. The app that the server offers is never fetched; only its hash is compared.

Flower ends or interrupts the process where we want an error: `connect` turns each of these into a named one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import NodeRefused, RoundRefused, SuperLinkUnreachable
from models import arrays
from models.errors import ModelError

POLL_S = 0.2
OBJECT_POLL_S = 0.05
"""The server announces a message before it has uploaded all of its parts."""
ALIVE_S = 1.0
"""How often a waiting learner asks whether the run still goes on."""
RETRIES = 4
RETRY_S = 8.0
OBJECTS_MAX = 10_000
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Ask:
    """One message of the server."""

    arrays: Arrays
    plan: dict[str, Any]
    message: Any
    bytes: int


class Fleet:
    """An open connection: take a message, send a reply."""

    def __init__(self, callbacks: tuple[Any, ...], run: int, app_hash: str, still_open: Callable[[], bool]) -> None:
        self._node, self._receive, self._send, self._get_run, _, self._pull, self._push, self._confirm = callbacks
        self._run = run
        self._app_hash = app_hash
        self._still_open = still_open
        self._began = self._checked = False

    def next(self) -> Ask | None:
        """The server's next message; None when the round has closed, or the run has ended, without one.

        Raises:
            RoundRefused: another run or another app than announced, or a message that cannot be read.
        """
        asked = 0.0
        while self._still_open():
            taken = self._receive()
            if taken is not None:
                return self._read(*taken)
            if time.monotonic() - asked > ALIVE_S:
                asked = time.monotonic()
                if not self._alive():
                    return None
            time.sleep(POLL_S)
        return None

    def stay(self, seconds: float) -> None:
        """Stay online for a while, or until the run is over, so that the server picks up what was sent."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._still_open() and self._alive():
            time.sleep(ALIVE_S)

    def _alive(self) -> bool:
        """Whether the run goes on or has yet to begin; the SuperLink tells of a run only while it goes on."""
        from flwr.supercore.run import RunNotRunningException

        try:
            self._get_run(self._run)
        except RunNotRunningException:
            return not self._began
        self._began = True
        return True

    def _read(self, message: Any, tree: Any) -> Ask:
        from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
        from google.protobuf.message import DecodeError

        self._check(message.metadata.run_id)
        contents = self._contents(tree)
        self._confirm(self._run, tree.object_id)
        try:
            full: Any = inflate_object_from_contents(tree.object_id, contents)
            content = full.content
            sent = {n: _array(n, held) for record in content.array_records.values() for n, held in record.items()}
            plan = {name: value for record in content.config_records.values() for name, value in record.items()}
        except (ModelError, DecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RoundRefused(
                f"the round's message cannot be read: {error}", hint="is the server of the same version?"
            ) from error
        # The stored object does not know the identity that the server gave the message on its way.
        full.metadata.__dict__.update(message.metadata.__dict__)
        return Ask(arrays=sent, plan=plan, message=full, bytes=sum(len(raw) for raw in contents.values()))

    def _check(self, run: int) -> None:
        if self._checked and run == self._run:
            return
        if run != self._run:
            raise RoundRefused(
                f"the SuperLink asks for run {run}, the offer was run {self._run}",
                hint="nothing to do; it was not ours",
            )
        offered = self._get_run(run).fab_hash
        if offered != self._app_hash:
            raise RoundRefused(
                f"the SuperLink runs app {offered[:12]}…, the offer announced {self._app_hash[:12]}…",
                hint="start the round with `edge-coordinator train` of the installed version",
            )
        self._began = self._checked = True

    def _contents(self, tree: Any) -> dict[str, bytes]:
        from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

        contents: dict[str, bytes] = {}
        left = MESSAGE_BYTES_MAX
        for node in iterate_object_tree(tree):
            contents[node.object_id] = self._object(node.object_id)
            left -= len(contents[node.object_id])
            if left < 0 or len(contents) > OBJECTS_MAX:
                raise RoundRefused(
                    f"the round's message is above {MESSAGE_BYTES_MAX} bytes or {OBJECTS_MAX} parts",
                    hint="train a smaller bundle on devices of this class",
                )
        return contents

    def _object(self, object_id: str) -> bytes:
        from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectUnavailableError

        while True:
            try:
                return bytes(self._pull(self._run, object_id))
            except ObjectUnavailableError:
                if not self._still_open():
                    raise RoundRefused("the round closed in the middle of its message", hint="nothing to do") from None
                time.sleep(OBJECT_POLL_S)
            except ObjectPullError as error:
                raise RoundRefused(f"the round's message is incomplete: {error}", hint="nothing to do") from error

    def prepare(self, ask: Ask, delta: NDArray[np.generic], facts: dict[str, Any]) -> "Reply":
        """The reply as the bytes that would leave; nothing is sent yet."""
        from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

        record = RecordDict({"delta": ArrayRecord({"delta": Array(delta)}), "facts": ConfigRecord(facts)})
        return Reply(Message(record, reply_to=ask.message))

    def prepare_part(self, ask: Ask, part: bytes) -> "Reply":
        """The reply to a stage of a secret sum as the bytes that would leave; nothing is sent yet."""
        from flwr.app import ConfigRecord, Message, RecordDict

        return Reply(Message(RecordDict({"secret": ConfigRecord({"secret": part})}), reply_to=ask.message))

    def refuse(self, ask: Ask, code: str, reason: str) -> "Reply":
        """A reply that says why there is none; reason and code only."""
        from flwr.app import Error, Message

        return Reply(Message(Error(code=0, reason=f"{code} {reason}"), reply_to=ask.message))

    def send(self, reply: "Reply", seconds: float) -> None:
        """Send a prepared reply.

        Args:
            seconds: time spent on it, told to the server.
        """
        wanted, session = self._send(reply.message, reply.tree, seconds)
        for object_id, raw in reply.contents.items():
            if object_id in wanted:
                self._push(reply.run, session, object_id, raw)


class Reply:
    """A reply with every byte of it at hand, so that the ledger can enter it first."""

    def __init__(self, message: Any) -> None:
        from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

        message.metadata.__dict__["_message_id"] = message.object_id
        self.message = message
        self.run = message.metadata.run_id
        self.tree = get_object_tree(message)
        self.contents = {key: value.deflate() for key, value in get_all_nested_objects(message).items()}

    @property
    def payload(self) -> bytes:
        """All objects, in the order in which they are pushed."""
        return b"".join(self.contents.values())


@contextmanager
def connect(
    superlink: str, ca: str, node_key: Path, run: str, app_hash: str, still_open: Callable[[], bool]
) -> Iterator[Fleet]:
    """Open the fleet connection.

    Args:
        superlink: `host:port`.
        ca: certificate path; empty for no TLS (development only).
        node_key: private key of this node, OpenSSH or PEM.
        run: the run that was offered; another one's messages are refused.
        app_hash: sha256 (hex) of the app that was announced.
        still_open: whether the round has not closed yet.
    Raises:
        SuperLinkUnreachable: nobody answers there, or its certificate does not chain to `ca`.
        NodeRefused: the node's key is not enrolled, or was revoked.
        RoundRefused: the run ended while it was being answered.
    """
    from flwr.supercore.run import RunNotRunningException
    from flwr.supernode.fleet_http_connection import http_request_response

    key = _key(node_key)
    if not run.isdecimal():
        raise RoundRefused(f"`{run[:40]}` is no run", hint="start rounds with `edge-coordinator train`")
    # Flower's context manager swallows what is raised in its body, so nothing of ours is raised there.
    link = http_request_response(
        superlink, not ca, ca or None, (key, key.public_key()), max_retries=RETRIES, max_wait_time=RETRY_S
    )
    try:
        callbacks = link.__enter__()
        try:
            yield Fleet(callbacks, int(run), app_hash, still_open)
        finally:
            link.__exit__(None, None, None)
    except SystemExit as end:
        # Flower ends the process when it cannot connect; why, is the exception that it handled.
        raise _unreachable(superlink, end.__context__) from None
    except KeyboardInterrupt:
        # Flower interrupts the process when it is answered with 401.
        raise _refused(superlink) from None
    except RunNotRunningException:
        raise RoundRefused(f"run {run} ended before this device had answered", hint="nothing to do") from None
    except httpx.HTTPError as error:
        raise _unreachable(superlink, error) from error


def _array(name: str, held: Any) -> NDArray[np.generic]:
    return arrays.read(bytes(held.data), name[:40])


def _key(node_key: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    hint = "make one with `edge-agent keys new`"
    try:
        raw = node_key.read_bytes()
        key = (load_ssh_private_key if b"OPENSSH" in raw else load_pem_private_key)(raw, None)
    except (OSError, ValueError) as error:
        raise NodeRefused(f"{node_key} cannot be read as a private key: {error}", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NodeRefused(f"{node_key} holds no EC key", hint=hint)
    return key


def _refused(superlink: str) -> NodeRefused:
    return NodeRefused(
        f"the SuperLink at {superlink} does not accept this node's key",
        hint="run `edge-coordinator nodes enrol` with this device's node.pub; it may have been revoked",
    )


def _unreachable(superlink: str, cause: BaseException | None) -> SuperLinkUnreachable | NodeRefused:
    if isinstance(cause, httpx.HTTPStatusError):
        if cause.response.status_code < 500:
            return _refused(superlink)
        said = f"it answered {cause.response.status_code}"
    else:
        said = str(cause or "no answer")
    return SuperLinkUnreachable(
        f"no SuperLink at {superlink}: {said[:200]}",
        hint="check superlink.address and superlink.ca, and that `edge-coordinator up` runs",
    )
