"""The engine `ray`: virtual devices on the nodes of Flower's simulation engine, on as many machines as its Ray has.

`python -m edge_agent.shell.virtual_nodes NODES`: the same words over the same streams as `edge_agent.shell.virtual`. A
server app passes them on as Flower messages, a client app (`edge_agent.shell.virtual_client`) lives the devices of its
node; what they have stored travels in the node's own state, so that any process of any machine can take them up.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from edge_agent.shell.virtual_client import ANSWERS, FAILED, WORD, WORLD, client
from firmware_configs.virtual import Exercise, Exercised, Failed, Live, Lived, receive, send

QUERY = "query"
POLL_S = 0.01
CLUSTER = "EDGEWARD_RAY"
"""Address of a Ray cluster; without it, one of this machine's own is started."""

_encode = msgspec.msgpack.Encoder().encode
_words = msgspec.msgpack.Decoder(Live | Exercise)
_answers = msgspec.msgpack.Decoder(list[Lived | Exercised])


class Bridge:
    """Passes words on to the nodes, and their answers back."""

    def __init__(self, grid: Grid, nodes: int, world: bytes) -> None:
        self._grid, self._world = grid, world
        self._nodes: list[int] = []
        while len(self._nodes) < nodes:
            time.sleep(POLL_S)
            self._nodes = sorted(grid.get_node_ids())

    def ask(self, word: Live | Exercise) -> Iterator[Lived | Exercised]:
        """One word; each node is asked about its own devices.

        Raises:
            RuntimeError: a node failed; what it said is in the text.
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
            time.sleep(POLL_S)
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


def main() -> None:
    """Entry of the process."""
    from flwr.simulation import run_simulation

    nodes = int(sys.argv[1])
    stream_in, stream_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints on this process's output would cut the frames
    world = receive(stream_in)
    if world is None:
        sys.exit(2)
    server = ServerApp()

    @server.main()
    def serve(grid: Grid, _context: Context) -> None:
        bridge = Bridge(grid, nodes, world)
        while (packed := receive(stream_in)) is not None:
            try:
                for said in bridge.ask(_words.decode(packed)):
                    send(stream_out, said)
            except RuntimeError as error:
                send(stream_out, Failed(what=str(error), hint="see the words of Ray above"))
                return

    cluster = os.environ.get(CLUSTER)
    own: dict[str, Any] = {"address": cluster} if cluster else {"num_cpus": len(os.sched_getaffinity(0))}
    config: Any = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": own}
    run_simulation(server, client, nodes, backend_config=config)


if __name__ == "__main__":
    main()
