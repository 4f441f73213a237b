"""Floor F2: a bare paho subscriber that acknowledges each QoS 1 message and does nothing; it answers the last one."""

import argparse

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

IN, LAST, OUT = "bench/floor/in", "bench/floor/last", "bench/floor/out"


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    client = Client(CallbackAPIVersion.VERSION2, "floor", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)

    def on_message(own: Client, _data: object, message: MQTTMessage) -> None:
        own.ack(message.mid, message.qos)

    def on_last(own: Client, _data: object, message: MQTTMessage) -> None:
        own.ack(message.mid, message.qos)
        own.publish(OUT, b"done", qos=1)

    client.on_message = on_message
    client.message_callback_add(LAST, on_last)
    client.on_connect = lambda own, *_: own.subscribe([(IN, 1), (LAST, 1)])
    client.connect("127.0.0.1", given.port)
    client.loop_forever()


if __name__ == "__main__":
    main()
