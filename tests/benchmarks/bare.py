"""Floor F3: what the agent's libraries cost by themselves. Says `ready`, then waits for its input to end.

With a file as argument, an onnxruntime session on that graph is part of it. Nothing else is imported.
"""

import os
import sys

# Neither side lets onnxruntime report home; the agent switches it off in models/session.py.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import sqlite3

import msgpack
import msgspec
import numpy
import onnxruntime
import paho.mqtt.client

KEPT = (sqlite3, msgpack, msgspec, numpy, paho.mqtt.client)


def main() -> None:
    """Open a session where a graph is given, and say so."""
    if len(sys.argv) > 1:
        with open(sys.argv[1], "rb") as file:  # noqa: PTH123 - not even pathlib
            graph = file.read()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
