"""A coordinator with mosquitto as people start it, and clients of its broker with certificates."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.shell.authority import operator
from coordinator.shell.broker import free_port
from coordinator.shell.home import endpoints_of
from coordinator.shell.invitations import Invitations
from edge_agent.settings import Settings
from edge_agent.shell.enrolment import Enrolled, enrol

SCRIPT = Path(sys.executable).parent / "edge-coordinator"
AGENT = Path(sys.executable).parent / "edge-agent"
PROFILE = Path(__file__).parents[2] / "firmware_configs" / "profiles" / "home-gateway.toml"
PATIENCE_S = 60.0
RETAINED_S = 0.2
"""What a broker retains follows its answer to a subscription at once."""
QUIET_S = 1.0
"""What is not there after so long does not come."""
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Seat:
    """A coordinator with mosquitto, as people start it."""

    home: Path
    url: str
    devices: dict[str, tuple[Path, str]] = field(default_factory=dict)

    def token(self, **more: Any) -> str:
        lasts_s = more.pop("lasts_s", 600.0)
        return str(Invitations(self.home).make(1, lasts_s, **more)[0])

    def enrol(self, name: str, folder: Path, token: str = "", url: str = "", *, fresh: bool = False) -> Enrolled:
        folder.mkdir(parents=True, exist_ok=True)
        done = enrol(
            url or self.url,
            token or self.token(),
            folder / "agent.toml",
            device=name,
            state_dir=folder / "state",
            profile=PROFILE,
            fresh=fresh,
        )
        self.settle()
        return done

    def settle(self) -> None:
        """Until mosquitto has read its lists again: `up` looks every 0.2 s."""
        time.sleep(1.5)


@contextmanager
def started(folder: Path) -> Iterator[Seat]:
    """`edge-coordinator up` with mosquitto."""
    home, ready = folder / "home", folder / "ready"
    command = [SCRIPT, "up", "--home", str(home), "--broker", "mosquitto"]
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [*command, "--ready-file", str(ready), "--websocket-port", str(free_port())],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: ready.exists() or up.poll() is not None)
        assert up.poll() is None, (folder / "up.log").read_text()
        yield Seat(home, endpoints_of(home).registry)
    finally:
        up.terminate()
        up.wait(30)


def until(holds: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


class Peer:
    """A client of the broker with a certificate, and all that it was told."""

    def __init__(self, url: str, ca: str, cert: str, key: str, name: str = "") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.refused: list[str] = []
        self.came = self.gone = False
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
        self.client.on_message = self._message
        self.client.on_connect = self._connect
        self.client.on_disconnect = self._disconnect
        self._where = urlsplit(url)

    def __enter__(self) -> Self:
        assert self._where.hostname
        assert self._where.port
        self.client.connect(self._where.hostname, self._where.port)
        self.client.loop_start()
        until(lambda: self.came or self.gone, 20)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _connect(self, _c: Client, _u: object, _f: object, code: Any, _p: object) -> None:
        self.came = not code.is_failure
        self.gone = code.is_failure

    def _disconnect(self, *_given: object) -> None:
        self.gone = True

    def _message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)

    def listen(self, *topics: str) -> None:
        """Subscribe; the broker has answered, and what it retains has come."""
        answered = threading.Event()
        self.client.on_subscribe = lambda *_: answered.set()
        self.client.subscribe([(topic, 1) for topic in topics])
        assert answered.wait(20)
        time.sleep(RETAINED_S)


def peer(settings: Settings, name: str = "") -> Peer:
    broker = settings.broker
    return Peer(broker.url, broker.ca, broker.cert, broker.key, name or settings.device)


def coordinator(home: Path) -> Peer:
    own = operator(home)
    return Peer(endpoints_of(home).broker, str(home / "keys" / "ca.pem"), str(own.certificate), str(own.key))
