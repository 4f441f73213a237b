"""The coordinator's connection to the broker, with its own certificate where the broker wants one."""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.errors import NotRunning

CONNECT_S = 10.0
ENCRYPTED = "mqtts"
PORTS = {"mqtt": 1883, ENCRYPTED: 8883}


def dial(broker: str, home: Path, prepare: Callable[[Client], None]) -> Client:
    """A connected client whose loop runs in a thread.

    Args:
        broker: `mqtt://host:port`, or `mqtts://host:port` with the authority and certificate in `home/keys`.
        prepare: sets the callbacks, before anything is sent.
    Raises:
        NotRunning: nobody answers there, or refuses us.
    """
    where = urlsplit(broker)
    host, port = where.hostname or "127.0.0.1", where.port or PORTS.get(where.scheme, 1883)
    client = Client(
        CallbackAPIVersion.VERSION2, f"edge-coordinator-{uuid4().hex[:8]}", protocol=MQTTProtocolVersion.MQTTv5
    )
    try:
        if where.scheme == ENCRYPTED:
            from coordinator.shell.authority import operator

            own = operator(home)
            client.tls_set(ca_certs=str(home / "keys" / "ca.pem"), certfile=str(own.certificate), keyfile=str(own.key))
        prepare(client)
        client.connect(host, port)
    except OSError as error:
        raise NotRunning(
            f"no broker at {host}:{port}: {error}", hint="start one: edge-coordinator up, or pass --broker"
        ) from error
    client.loop_start()
    deadline = time.monotonic() + CONNECT_S
    while not client.is_connected():
        if time.monotonic() > deadline:
            hang_up(client)
            raise NotRunning("the broker does not answer", hint="check its log")
        time.sleep(0.02)
    return client


def hang_up(client: Client) -> None:
    """Say goodbye, and end the thread."""
    client.disconnect()
    client.loop_stop()
