"""A town: mosquitto as `up --broker mosquitto --websocket-port` sets it up, and devices as enrolment leaves them."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coordinator.fleet import access
from coordinator.shell import authority, mosquitto, pki
from coordinator.shell.broker import free_port
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import Endpoints
from coordinator.shell.store import Store
from edge_agent.shell.vitals import ask
from firmware_configs.loader import load as load_profile
from tests.coordinator.seat import AGENT, PROFILE, until


@dataclass
class Town:
    """A broker, and what is enrolled."""

    home: Path
    pages: int
    """Port of the listener for pages."""
    broker: "subprocess.Popen[bytes]"

    def settle(self) -> None:
        """As `up` does when a list has changed."""
        self.broker.send_signal(signal.SIGHUP)
        time.sleep(0.5)

    def device(self, name: str, folder: Path, profile: Path = PROFILE, more: str = "") -> Path:
        """A device as enrolment leaves it: its settings.

        Args:
            more: settings of its own, before the first table.
        """
        Store(self.home).enrol(name, len(Store(self.home).devices()) + 1, "key")
        FleetStore(self.home).give_profile(access.topology(load_profile(profile).profile), [name])
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        issued = authority.issue(self.home, request.public_bytes(serialization.Encoding.PEM), name, "device")
        form = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        pki.write_private(folder / "mqtt.key", private)
        (folder / "mqtt.pem").write_text(issued.pem)
        where = msgspec.json.decode((self.home / "endpoints.json").read_bytes(), type=Endpoints)
        settings = folder / "agent.toml"
        settings.write_text(
            f'device = "{name}"\nstate_dir = "state"\nprofile = "{profile}"\n{more}'
            f'coordinator = "{authority.coordinator_id(self.home)}"\n'
            f'[broker]\nurl = "{where.device_broker}"\nca = "{where.ca}"\ncert = "mqtt.pem"\nkey = "mqtt.key"\n'
        )
        mosquitto.write_access(self.home)
        self.settle()
        return settings


@contextmanager
def opened(folder: Path, names: Sequence[str] = pki.LOCAL) -> Iterator[Town]:
    """A town with nobody in it.

    Args:
        names: under which its broker is reached.
    """
    home = folder / "home"
    home.mkdir()
    ports = [free_port() for _ in range(3)]
    ca, server = pki.ensure_authority(home), pki.ensure_server(home, names)
    mosquitto.write(home, server, "127.0.0.1", ports[0], ports[1], ports[2])
    where = Endpoints(
        broker=f"mqtts://127.0.0.1:{ports[1]}",
        device_broker=f"mqtts://127.0.0.1:{ports[0]}",
        registry="",
        superlink="",
        ca=str(ca.certificate),
        root="",
        control="",
    )
    (home / "endpoints.json").write_bytes(msgspec.json.encode(where))
    with (home / "mosquitto.log").open("wb") as log:
        broker = subprocess.Popen(mosquitto.command(home), stdout=log, stderr=log)
    try:
        until(lambda: broker.poll() is not None or all(listens(port) for port in ports), 20)
        assert broker.poll() is None, (home / "mosquitto.log").read_text()
        yield Town(home, ports[2], broker)
    finally:
        broker.terminate()
        broker.wait(20)


def listens(port: int) -> bool:
    """Whether somebody answers there, on this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(settings: Path) -> "subprocess.Popen[bytes]":
    """An agent whose line is up."""
    state = settings.parent / "state"
    with (settings.parent / "log").open("wb") as log:
        agent = subprocess.Popen(
            [AGENT, "run", "--settings", str(settings)], stdout=log, stderr=log, env={**os.environ}
        )
    until(lambda: (v := ask(state)) is not None and v.line.state == "up")
    return agent
