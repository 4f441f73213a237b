"""A client in Python with paho-mqtt: a person's word, an event, a decision, and what became of it.

python examples/python/client.py --broker 127.0.0.1:1883 --device shop-1 --subject ann --touch teapot
"""

import argparse
import json
import queue
import secrets
import time

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 5.0


class Gateway:
    """One device, as an app sees it."""

    def __init__(self, host: str, port: int, device: str) -> None:
        self._prefix = f"edgeward/1/{device}"
        self._answers: queue.Queue[dict[str, object]] = queue.Queue()
        name = f"app-{secrets.token_hex(4)}"
        self._reply = f"{self._prefix}/reply/{name}"
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._hear
        self._client.on_connect = lambda client, *_: client.subscribe(self._reply, qos=0)
        self._client.connect(host, port)
        self._client.loop_start()

    def consent(self, subject: str, **purposes: bool) -> None:
        """A person's newest word; the broker keeps it."""
        self._say(f"consent/{subject}", {"purposes": purposes, "time_ms": _now_ms()}, retain=True)

    def event(self, source: str, subject: str, **fields: object) -> None:
        """Something happened. The id makes it count once, however often it is sent."""
        self._say(source, {"id": secrets.token_hex(12), "time": _now_ms(), "subject": subject, **fields})

    def decide(self, placement: str, subject: str, items: list[str]) -> dict[str, object]:
        """Ask, and wait for the answer: queue.Empty where the device may not decide, or is not there."""
        correlation = secrets.token_hex(8)
        word = {"subject": subject, "items": items, "reply_to": self._reply, "correlation": correlation}
        self._say(f"request/{placement}", word)
        while (answer := self._answers.get(timeout=WAIT_S)).get("correlation") != correlation:
            pass  # the late answer to an earlier question
        return answer

    def feedback(self, decision: dict[str, object], outcome: str) -> None:
        """What became of a decision."""
        self._say("feedback", {"decision_id": decision["id"], "outcome": outcome, "time_ms": _now_ms()})

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _say(self, below: str, body: dict[str, object], *, retain: bool = False) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "application/json"
        topic = f"{self._prefix}/{below}"
        told = self._client.publish(topic, json.dumps(body), qos=1, retain=retain, properties=properties)
        told.wait_for_publish(WAIT_S)

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._answers.put(json.loads(message.payload))


def _now_ms() -> int:
    return int(time.time() * 1_000)


def main() -> None:
    """Touch something, and print what is shown next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="127.0.0.1:1883")
    parser.add_argument("--device", default="shop-1")
    parser.add_argument("--subject", default="ann")
    parser.add_argument("--touch", default="teapot")
    given = parser.parse_args()
    host, _, port = given.broker.rpartition(":")
    gateway = Gateway(host, int(port), given.device)
    gateway.consent(given.subject, recommend=True)
    gateway.event("capture/page", given.subject, kind="click", item=given.touch)
    decision = gateway.decide("shelf", given.subject, ["green-tea", "honey", "grinder", "bread"])
    gateway.feedback(decision, "click")
    gateway.close()
    print(json.dumps({"id": decision["id"], "items": decision["items"]}))


if __name__ == "__main__":
    main()
