"""The engine `ray`: virtual devices on the nodes of Flower's simulation engine, on as many machines as its Ray has.

`python -m edge_agent.shell.virtual_nodes NODES [ADDRESS]`: the same words over the same streams as
`edge_agent.shell.virtual`. A server app passes them on as Flower messages, a client app
(`edge_agent.shell.virtual_client`) lives the devices of its node. What they have stored travels in the node's own
state, profile and bundles in Ray's object store, so that any process of any machine can take them up.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from edge_agent.shell.virtual_client import ANSWERS, FAILED, WORD, WORLD, client
from edge_agent.shell.virtual_files import Carrier
from firmware_configs.errors import EdgeError
from firmware_configs.virtual import Exercise, Exercised, Failed, Live, Lived, World, receive, send

QUERY = "query"
POLL_S, CONNECT_S = 0.01, 10.0
WORKERS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}
"""Environment of Ray's processes, on other machines too."""

_encode = msgspec.msgpack.Encoder().encode
_words = msgspec.msgpack.Decoder(Live | Exercise)
_answers = msgspec.msgpack.Decoder(list[Lived | Exercised])


class Bridge:
    """Passes words on to the nodes, and their answers back."""

    def __init__(self, grid: Grid, nodes: int, world: bytes, over: threading.Event) -> None:
        """Wait for the nodes.

        Args:
            over: is set once the engine has ended, so that nothing waits for it.
        Raises:
            RuntimeError: it has.
        """
        self._grid, self._world, self._over = grid, world, over
        self._nodes: list[int] = []
        while len(self._nodes) < nodes:
            self._pause()
            self._nodes = sorted(grid.get_node_ids())

    def _pause(self) -> None:
        if self._over.wait(POLL_S):
            raise RuntimeError("Flower's simulation engine has ended")

    def ask(self, word: Live | Exercise) -> Iterator[Lived | Exercised]:
        """One word; each node is asked about its own devices.

        Raises:
            RuntimeError: a node or the engine failed; what it said is in the text.
        """
        parts: dict[int, list[int]] = {}
        for place, device in enumerate(word.devices):
            parts.setdefault(device % len(self._nodes), []).append(place)
        messages = [
            Message(
                RecordDict({WORD: ConfigRecord({WORD: _encode(word.of(places)), WORLD: self._world})}),
                dst_node_id=self._nodes[number],
                message_type=QUERY,
            )
            for number, places in parts.items()
        ]
        waiting = set(self._grid.push_messages(messages))
        made: list[Exercised] = []
        kept = 0
        while waiting:
            self._pause()
            for reply in self._grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                if reply.has_error():
                    raise RuntimeError(f"a node failed: {reply.error.reason}")
                found = reply.content.config_records[ANSWERS]
                if FAILED in found:
                    failed = msgspec.msgpack.decode(bytes(found[FAILED]), type=Failed)  # type: ignore[arg-type]
                    raise RuntimeError(f"{failed.what}; fix: {failed.hint}")
                for said in _answers.decode(bytes(found[ANSWERS])):  # type: ignore[arg-type]
                    if isinstance(said, Exercised):
                        made.append(said)
                    else:
                        kept += said.kept_bytes
                        yield msgspec.structs.replace(said, done=False, kept_bytes=0)
        yield Lived(devices=0, done=True, kept_bytes=kept)
        if isinstance(word, Exercise):
            replies = tuple(reply for one in made for reply in one.replies)
            yield Exercised(replies=replies, train_s=sum(one.train_s for one in made))


def _connect(address: str) -> None:
    """Join a Ray cluster, or start one of this machine's own.

    Raises:
        ConnectionError, OSError, RuntimeError, ValueError: there is none that can be joined.
    """
    import ray

    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        # Ray itself would go on trying for many minutes.
        socket.create_connection((host, int(port)), CONNECT_S).close()
    # Without the word `local`, Ray would join any cluster that it finds on this machine.
    alone = {"address": "local", "num_cpus": len(os.sched_getaffinity(0))}
    own: dict[str, Any] = {"address": address} if address else alone
    ray.init(include_dashboard=False, runtime_env={"env_vars": WORKERS}, **own)


def _serve(world: bytes, nodes: int, stream_in: BinaryIO, stream_out: BinaryIO) -> None:
    """Pass words on until there are no more; Ray is there.

    Raises:
        EdgeError: profile or bundles cannot be read.
    """
    import ray
    from flwr.simulation import run_simulation

    carrier = Carrier(msgspec.msgpack.decode(world, type=World), ray.put)
    over, server = threading.Event(), ServerApp()

    @server.main()
    def serve(grid: Grid, _context: Context) -> None:
        try:
            bridge = Bridge(grid, nodes, world, over)
            while (packed := receive(stream_in)) is not None:
                carrier.keep_up()
                for said in bridge.ask(_words.decode(packed)):
                    send(stream_out, said)
        except EdgeError as error:
            send(stream_out, Failed(what=error.what, hint=error.hint))
        except RuntimeError as error:
            send(stream_out, Failed(what=str(error), hint="see the words of Ray above"))

    config: Any = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    try:
        run_simulation(server, client(carrier.refs), nodes, backend_config=config)
    finally:
        over.set()


def main() -> None:
    """Entry of the process."""
    nodes, address = int(sys.argv[1]), "".join(sys.argv[2:])
    stream_in, stream_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints on this process's output would cut the frames
    world = receive(stream_in)
    if world is None:
        sys.exit(2)
    try:
        _connect(address)
    except (OSError, RuntimeError, ValueError) as error:
        hint = "start it on this machine as well: ray start --address HEAD:6379" if address else "see Ray's words above"
        send(stream_out, Failed(what=f"no Ray at {address or 'this machine'}: {error}", hint=hint))
        return
    try:
        _serve(world, nodes, stream_in, stream_out)
    except EdgeError as error:
        send(stream_out, Failed(what=error.what, hint=error.hint))


if __name__ == "__main__":
    main()
