"""A listener on the line: everything that learners say to a SuperLink, read in the clear and passed on unchanged.

It ends TLS with the coordinator's own certificate, as a malicious coordinator can. What it keeps is the record that
`edge-audit ledger reconcile` compares with a device's ledger: a line for each reply, with the hash and size of the
reply's objects in the order in which they are pushed.
"""

import hashlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from coordinator.shell import pki
from edge_agent.shell.fleet_wire import MESSAGES, ids_of

HOP_BY_HOP = ("host", "connection")


@dataclass
class Heard:
    """What came up from the devices."""

    calls: dict[str, int] = field(default_factory=dict)
    """Call → how often."""
    size: dict[str, int] = field(default_factory=dict)
    """Call → bytes of bodies."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Object id → object: what the ledger has to have entered."""
    replies: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """(node, ids of the reply's objects in their order)."""

    def take(self, call: str, body: bytes) -> None:
        self.calls[call] = self.calls.get(call, 0) + 1
        self.size[call] = self.size.get(call, 0) + len(body)
        if call == "push-object":
            pushed: Any = MESSAGES["PushObjectRequest"].FromString(body)  # type: ignore[attr-defined]
            self.objects[pushed.object_id] = bytes(pushed.object_content)
        if call == "push-messages":
            said: Any = MESSAGES["PushMessagesRequest"].FromString(body)  # type: ignore[attr-defined]
            for message, tree in zip(said.messages_list, said.message_object_trees, strict=True):
                self.replies.append((message.metadata.src_node_id, tuple(dict.fromkeys(ids_of(tree)))))

    def payloads(self, node: int | None = None) -> list[bytes]:
        """The replies' objects end to end; of one node, or of all. A reply that was cut has fewer."""
        return [
            b"".join(self.objects.get(identity, b"") for identity in ids)
            for one, ids in self.replies
            if node is None or one == node
        ]

    def whole(self, node: int) -> list[bytes]:
        """The payloads of a node that came whole, each once: whoever lost its line says the same again."""
        come = [ids for one, ids in self.replies if one == node and all(identity in self.objects for identity in ids)]
        return [b"".join(self.objects[identity] for identity in ids) for ids in dict.fromkeys(come)]

    def record(self, path: Path, node: int | None = None, *, whole: bool = False) -> None:
        """Write what arrived as `edge-audit ledger reconcile --record` reads it.

        Args:
            whole: without what was cut on its way.
        """
        payloads = self.whole(node) if whole and node is not None else self.payloads(node)
        lines = [
            {"sha256": hashlib.sha256(one).hexdigest(), "bytes": len(one), "destination": "superlink"}
            for one in payloads
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@contextmanager
def listening(
    home: Path, superlink: str, ca: str, at: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[tuple[str, Heard]]:
    """A door before the coordinator's own. While that one is away, connections end without an answer.

    Args:
        at: where it listens; port 0: any.
    Yields:
        `host:port` for devices, and what was heard so far.
    """
    heard, lock = Heard(), threading.Lock()
    trust = ssl.create_default_context(cafile=ca)

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            body = self.rfile.read(size)
            if len(body) < size:
                self.close_connection = True
                return
            with lock:
                heard.take(self.path.rsplit("/", 1)[-1], body)
            onward = http.client.HTTPSConnection(superlink, timeout=60, context=trust)
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            try:
                onward.request("POST", self.path, body, headers)
                answer = onward.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            finally:
                onward.close()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", ""))
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_given: object) -> None:
            """Nothing on stderr."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, _request: object, _client: object) -> None:
            """A line that was cut is no news."""

    server = Server(at, Door)
    pair = pki.ensure_server(home)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(pair.certificate, pair.key)
    # The handshake is each connection's own affair: one that hangs holds up nobody.
    server.socket = own.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    worker = threading.Thread(target=server.serve_forever, daemon=True)
    worker.start()
    try:
        yield f"{at[0]}:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        server.server_close()
        worker.join()
