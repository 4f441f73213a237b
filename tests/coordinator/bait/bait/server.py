"""Asks each node for what the job says, once, and writes down what came back."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from models import flat
from models.bundle import open_bundle

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    path = Path(str(context.run_config["job"]))
    job = json.loads(path.read_text())
    bundle = open_bundle(Path(job["bundle"]))
    shared = bundle.spec.of_share("shared")
    deadline = time.monotonic() + 25
    while len(list(grid.get_node_ids())) < len(job["ask"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    messages = []
    for node, change in job["ask"].items():
        plan = {**job["plan"], "names": [p.name for p in shared], **change}
        vector = np.append(flat.join(shared, {p.name: bundle.weights()[p.name] for p in shared}), np.float32(0))
        if "names" not in change:
            vector = vector[:-1]
        record = RecordDict({"shared": ArrayRecord({"shared": Array(vector)}), "plan": ConfigRecord(plan)})
        messages.append(Message(content=record, dst_node_id=int(node), message_type="train"))
    asked = dict(zip(grid.push_messages(messages), job["ask"], strict=True))
    heard: dict[str, str] = {}
    while not set(job["until"]) <= set(heard) and time.monotonic() < deadline:
        time.sleep(0.05)
        for reply in grid.pull_messages([message for message, node in asked.items() if node not in heard]):
            told = str(reply.error.reason) if reply.has_error() else "update"
            heard[asked[reply.metadata.reply_to_message_id]] = told
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(heard))
    draft.replace(path.with_suffix(".heard"))
