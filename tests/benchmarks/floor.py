"""Floor F1: a bare paho client. Takes a QoS 1 message, decodes JSON, runs the model, publishes QoS 1, acknowledges."""

import argparse
import socket
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from models.bundle import open_bundle

IN, OUT = "bench/floor/in", "bench/floor/out"
FIELDS = ("temperature", "humidity", "light", "co2")


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.read("predict.onnx"), options, providers=["CPUExecutionProvider"])
    weights = bundle.weights()
    name = bundle.spec.inputs[0].name
    client = Client(CallbackAPIVersion.VERSION2, "floor", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    client.max_inflight_messages = 65_535

    def on_message(own: Client, _data: object, message: MQTTMessage) -> None:
        event = msgspec.json.decode(message.payload)
        row = np.array([[event[field] for field in FIELDS]], dtype=np.float32)
        (score,) = session.run(["score"], {**weights, name: row})
        answer = {"id": event["id"], "score": float(score[0])}
        own.publish(OUT, msgspec.json.encode(answer), qos=1)
        own.ack(message.mid, message.qos)

    client.on_message = on_message
    client.on_connect = lambda own, *_: own.subscribe(IN, qos=1)
    client.connect("127.0.0.1", given.port)
    client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        client.loop(1.0)
        # Both sides ask for it: else the broker's Nagle and the kernel's delayed ACK are all that is measured.
        client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


if __name__ == "__main__":
    main()
