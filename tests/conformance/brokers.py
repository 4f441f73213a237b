"""The brokers of the conformance suite, each a real process on free ports of this machine with all that it carries."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.shell import pki
from coordinator.shell.broker import free_port
from tests.benchmarks.load import _listens, wait_for
from tests.conformance import certificates

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
NAMES = ("mosquitto", "iotcore", "amqtt")
USER, PASSWORD = "home-1", "correct horse"
PACKET_BYTES_MAX = 1_500_000
"""The largest packet that the brokers take, where that can be set."""


class Place(Struct, kw_only=True):
    """One running broker.

    Attributes:
        ports: listener → port: `plain`, `tls` (client certificate wanted), `ws`, `wss`, `locked` (password and, at
            mosquitto, an access list), and where versions have listeners of their own `plain-3.1.1` and so on.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    ports: dict[str, int]
    authority: pki.Pair
    server: pki.Pair
    client: pki.Pair
    process: "subprocess.Popen[bytes] | None" = None

    def port(self, listener: str, version: str) -> int:
        """Where a listener is found that speaks `version` (`5` or `3.1.1`)."""
        return self.ports.get(f"{listener}-{version}") or self.ports[listener]

    def start(self) -> None:
        """Start it, again on the same ports after a `stop`."""
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.PIPE)
        running = self.process
        wait_for(
            lambda: running.poll() is not None or all(_listens(port) for port in self.ports.values()),
            f"{self.name} (see {self.folder / 'broker.log'})",
        )
        assert running.poll() is None, (self.folder / "broker.log").read_text()

    def stop(self) -> None:
        """End it at once, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def broker(name: str, folder: Path) -> Iterator[Place]:
    """A running broker."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, server = pki.ensure_authority(folder), pki.ensure_server(folder)
    place = Place(
        name=name,
        folder=folder,
        command=(),
        ports={},
        authority=authority,
        server=server,
        client=certificates.client(folder, authority),
    )
    _MAKE[name](place)
    place.start()
    try:
        yield place
    finally:
        place.stop()


def _mosquitto(place: Place) -> None:
    for listener in ("plain", "tls", "ws", "wss", "locked"):
        place.ports[listener] = free_port()
    passwords, access = place.folder / "passwords", place.folder / "access"
    passwords.touch()
    subprocess.run([MOSQUITTO_PASSWD, "-b", str(passwords), USER, PASSWORD], check=True)
    access.write_text(
        f"user {USER}\ntopic readwrite edgeward/1/{USER}/#\ntopic read conf/{USER}/one\n"
        f"topic deny edgeward/1/{USER}/status\n"
    )
    tls = f"certfile {place.server.certificate}\nkeyfile {place.server.key}\n"
    wanted = f"cafile {place.authority.certificate}\nrequire_certificate true\n"
    opened = "allow_anonymous true\n"
    at = {name: f"listener {port} 127.0.0.1\n" for name, port in place.ports.items()}
    config = place.folder / "mosquitto.conf"
    config.write_text(
        "user root\nper_listener_settings true\nmax_queued_messages 100000\nset_tcp_nodelay true\n"
        f"max_packet_size {PACKET_BYTES_MAX}\n"
        + at["plain"]
        + opened
        + at["tls"]
        + tls
        + wanted
        + opened
        + at["ws"]
        + f"protocol websockets\n{opened}"
        + at["wss"]
        + f"protocol websockets\n{tls}{opened}"
        + at["locked"]
        + f"allow_anonymous false\npassword_file {passwords}\nacl_file {access}\n"
    )
    place.command = (MOSQUITTO, "-c", str(config))


_RUMQTT_LISTENER = """
[{version}.{name}]
name = "{version}{name}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[{version}.{name}.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 256
dynamic_filters = true
"""


def _iotcore(place: Place) -> None:
    parts = []
    listeners = {
        "plain": "v5",
        "plain-3.1.1": "v4",
        "locked": "v5",
        "locked-3.1.1": "v4",
        "tls": "v5",
        "tls-3.1.1": "v4",
        "ws-3.1.1": "ws",
        "wss-3.1.1": "ws",
    }
    for listener, version in listeners.items():
        place.ports[listener] = free_port()
        name = listener.replace("-3.1.1", "").replace(".", "")
        text = _RUMQTT_LISTENER.format(version=version, name=name, port=place.ports[listener], payload=PACKET_BYTES_MAX)
        if name == "locked":
            text += f'auth = {{ {USER} = "{PASSWORD}" }}\n'
        if name in {"tls", "wss"}:
            text += (
                f'[{version}.{name}.tls]\ncertpath = "{place.server.certificate}"\nkeypath = "{place.server.key}"\n'
                f'capath = "{place.authority.certificate}"\n'
            )
        parts.append(text)
    config = place.folder / "rumqttd.toml"
    config.write_text(
        "id = 0\n[router]\nid = 0\nmax_connections = 1000\nmax_outgoing_packet_count = 256\n"
        "max_segment_size = 16777216\nmax_segment_count = 8\n" + "".join(parts)
    )
    serve = (
        "import sys, json; sys.path[:] = [p for p in sys.path if p not in ('', '.')]; "
        "from iotcore._serve import main; main()"
    )
    options = msgspec.json.encode({"config_path": str(config), "listen": "127.0.0.1", "port": 0}).decode()
    place.command = (sys.executable, "-c", serve, options)


def _amqtt(place: Place) -> None:
    tls = {
        "ssl": True,
        "cafile": str(place.authority.certificate),
        "certfile": str(place.server.certificate),
        "keyfile": str(place.server.key),
    }
    listeners: dict[str, dict[str, object]] = {}
    for listener, kind, more in (
        ("plain", "tcp", {}),
        ("tls", "tcp", tls),
        ("ws", "ws", {}),
        ("wss", "ws", tls),
    ):
        place.ports[listener] = free_port()
        name = "default" if listener == "plain" else listener
        listeners[name] = {"type": kind, "bind": f"127.0.0.1:{place.ports[listener]}", **more}
    place.ports["locked"] = place.ports["plain"]
    config = place.folder / "amqtt.json"
    config.write_bytes(
        msgspec.json.encode(
            {
                "listeners": listeners,
                "plugins": {"tests.conformance.amqtt_broker.Door": {}},
            }
        )
    )
    place.command = (sys.executable, "-m", "tests.conformance.amqtt_broker", str(config))


_MAKE = {"mosquitto": _mosquitto, "iotcore": _iotcore, "amqtt": _amqtt}
