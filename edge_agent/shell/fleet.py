"""The one door to Flower's fleet connection, with this device's node key over TLS.

It is Flower's internal interface: pinned to a minor version in setup.cfg, and a contract test against a real
SuperLink tells when it changes. The app that the server offers is never fetched; only its hash is compared.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import NodeRefused, RoundRefused, SuperLinkUnreachable

POLL_S = 0.2
RETRIES = 5
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Ask:
    """One message of the server."""

    kind: str
    arrays: Arrays
    plan: dict[str, Any]
    message: Any
    bytes: int


class Fleet:
    """An open connection: take a message, send a reply."""

    def __init__(self, callbacks: tuple[Any, ...], app_hash: str, still_open: Callable[[], bool]) -> None:
        self._node, self._receive, self._send, self._get_run, _, self._pull, self._push, self._confirm = callbacks
        self._app_hash = app_hash
        self._still_open = still_open
        self._checked: set[int] = set()

    def next(self) -> Ask | None:
        """The server's next message; None when the round has closed without one.

        Raises:
            RoundRefused: the run offers another app than the one that was announced.
        """
        while self._still_open():
            taken = self._receive()
            if taken is not None:
                return self._read(*taken)
            time.sleep(POLL_S)
        return None

    def _read(self, message: Any, tree: Any) -> Ask:
        from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
        from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

        run = message.metadata.run_id
        if run not in self._checked:
            offered = self._get_run(run).fab_hash
            if offered != self._app_hash:
                raise RoundRefused(
                    f"the SuperLink runs app {offered[:12]}…, the offer announced {self._app_hash[:12]}…",
                    hint="start the round with `edge-coordinator train` of the installed version",
                )
            self._checked.add(run)
        contents = {node.object_id: self._pull(run, node.object_id) for node in iterate_object_tree(tree)}
        self._confirm(run, tree.object_id)
        full: Any = inflate_object_from_contents(tree.object_id, contents)
        # The stored object does not know the identity that the server gave the message on its way.
        full.metadata.__dict__.update(message.metadata.__dict__)
        content = full.content
        return Ask(
            kind=message.metadata.message_type,
            arrays={name: array.numpy() for record in content.array_records.values() for name, array in record.items()},
            plan={name: value for record in content.config_records.values() for name, value in record.items()},
            message=full,
            bytes=sum(len(raw) for raw in contents.values()),
        )

    def prepare(self, ask: Ask, arrays: Arrays, facts: dict[str, Any]) -> "Reply":
        """The reply as the bytes that would leave; nothing is sent yet."""
        from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

        record = RecordDict(
            {
                "delta": ArrayRecord({name: Array(np.asarray(value)) for name, value in arrays.items()}),
                "facts": ConfigRecord(facts),
            }
        )
        return Reply(Message(record, reply_to=ask.message))

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
def connect(superlink: str, ca: str, node_key: Path, app_hash: str, still_open: Callable[[], bool]) -> Iterator[Fleet]:
    """Open the fleet connection.

    Args:
        superlink: `host:port`.
        ca: certificate path; empty for no TLS (development only).
        node_key: private key of this node, OpenSSH or PEM.
    Raises:
        SuperLinkUnreachable: nobody answers there, or its certificate does not chain to `ca`.
        NodeRefused: the node's key is not enrolled, or was revoked.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
    from flwr.supernode.fleet_http_connection import http_request_response

    raw = node_key.read_bytes()
    key = (load_ssh_private_key if b"OPENSSH" in raw else load_pem_private_key)(raw, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NodeRefused(f"{node_key} holds no EC key", hint="make one with `edge-agent keys new`")
    entered = False
    try:
        with http_request_response(
            superlink, not ca, ca or None, (key, key.public_key()), max_retries=RETRIES, max_wait_time=20.0
        ) as callbacks:
            entered = True
            yield Fleet(callbacks, app_hash, still_open)
    except SystemExit:
        # Flower ends the process when it cannot connect; its own words went to stderr.
        if entered:
            raise
        raise _unreachable(superlink) from None
    except KeyboardInterrupt:
        # Flower interrupts the process when a heartbeat is answered with 401.
        raise NodeRefused("the SuperLink no longer accepts this node", hint="enrol the device again") from None


def _unreachable(superlink: str) -> SuperLinkUnreachable | NodeRefused:
    said = str(getattr(sys.exc_info()[1], "__context__", "") or "")
    if "401" in said or "nauthori" in said or "not found" in said.lower():
        return NodeRefused(
            f"the SuperLink at {superlink} does not know this node's key",
            hint="run `edge-coordinator nodes enrol` with this device's node.pub",
        )
    return SuperLinkUnreachable(
        f"no SuperLink at {superlink}: {said[:200] or 'no answer'}",
        hint="check superlink.address and superlink.ca, and that `edge-coordinator up` runs",
    )
