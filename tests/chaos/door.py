"""The hub's door for learners: `python -m tests.chaos.door`; what comes in is passed on to the coordinator and noted.

TLS hides from the network what learners say, so it is read where it ends (`tests.redteam.wire`). Until SIGTERM; then
there is a record for each node in the folder that was named.
"""

import json
import signal
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.redteam.wire import listening

COUNTS = "counts.json"


class Begin(Struct, frozen=True, kw_only=True):
    """The one argument."""

    home: str
    """The coordinator's."""
    superlink: str
    """`host:port` to pass on to."""
    ca: str
    host: str
    port: int
    folder: str
    """Where the records go: `NODE.jsonl`, as `edge-audit ledger reconcile` reads it, and COUNTS."""


def main() -> None:
    """Listen until SIGTERM."""
    begin = msgspec.json.decode(sys.argv[1], type=Begin)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with listening(Path(begin.home), begin.superlink, begin.ca, (begin.host, begin.port)) as (_, heard):
        signal.sigwait({signal.SIGTERM})
    folder = Path(begin.folder)
    folder.mkdir()
    nodes = sorted({node for node, _ in heard.replies})
    for node in nodes:
        heard.record(folder / f"{node}.jsonl", node, whole=True)
    objects = heard.objects
    come = {one for _, ids in heard.replies if objects.keys() >= set(ids) for one in ids}
    counts = {
        "updates": sum(len(one) for node in nodes for one in heard.whole(node)),
        "cut": sum(len(content) for one, content in objects.items() if one not in come),
        "around": sum(heard.size.values()) - sum(map(len, objects.values())),
    }
    (folder / COUNTS).write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
