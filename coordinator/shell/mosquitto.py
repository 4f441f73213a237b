"""mosquitto with mutual TLS: its configuration, access lists and list of revocations, written from what is enrolled.

Two listeners: one for devices and apps, whose certificate is their name and client id, so that nobody takes another's
session; one on loopback for the coordinator, which no device's certificate opens. mosquitto reads the lists again on
SIGHUP; `edge-coordinator up --broker mosquitto` runs it and sends that.
"""

import getpass
import shutil
from pathlib import Path

from coordinator.errors import BrokerUnfit
from coordinator.fleet import access
from coordinator.shell import authority, pki
from coordinator.shell.fleet_store import FleetStore

PACKET_BYTES_MAX = 1_500_000
QUEUED_MAX = 100_000

CONFIG = """\
# Written by edge-coordinator. Devices and apps come in at the first listener, the coordinator at the second.
per_listener_settings true
user {user}
pid_file {folder}/mosquitto.pid
persistence true
persistence_location {folder}/
max_packet_size {packet}
max_queued_messages {queued}
set_tcp_nodelay true
connection_messages true
log_type error
log_type warning
log_type notice
log_dest stderr
log_dest topic

listener {port} {host}
{server}
cafile {devices}
crlfile {revoked}
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file {folder}/devices.acl

listener {own_port} 127.0.0.1
{server}
cafile {operators}
require_certificate true
use_identity_as_username true
acl_file {folder}/operators.acl
"""


def command(home: Path) -> list[str]:
    """How mosquitto is started.

    Raises:
        BrokerUnfit: it is not installed.
    """
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerUnfit("mosquitto is not installed", hint="install it (Debian: apt install mosquitto)")
    return [found, "-c", str(folder(home) / "mosquitto.conf")]


def folder(home: Path) -> Path:
    """Where its files are."""
    return home / "broker"


def write(home: Path, server: pki.Pair, host: str, port: int, own_port: int) -> None:
    """Write everything that it needs.

    Args:
        host: address to listen on for devices.
        own_port: of the coordinator's listener.
    """
    place = folder(home)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority.operator(home)
    config = CONFIG.format(
        user=getpass.getuser(),
        folder=place,
        packet=PACKET_BYTES_MAX,
        queued=QUEUED_MAX,
        port=port,
        host=host,
        own_port=own_port,
        server=f"certfile {server.certificate}\nkeyfile {server.key}",
        devices=authority.ensure(home, "devices").certificate,
        operators=authority.ensure(home, "operators").certificate,
        revoked=authority.publish(home),
    )
    (place / "mosquitto.conf").write_text(config)
    write_access(home)


def write_access(home: Path) -> None:
    """Write the access lists anew, where mosquitto is used."""
    place = folder(home)
    if (place / "mosquitto.conf").exists():
        _put(place / "devices.acl", of_devices(home))
        _put(place / "operators.acl", access.operators())


def of_devices(home: Path) -> str:
    """The access list of devices and apps."""
    store = FleetStore(home)
    profiles = store.topologies()
    users = {
        view.name: access.of_device(view.name, profiles.get(view.profile_given))
        for view in store.views()
        if not view.revoked
    }
    apps = {name: access.of_app(roles, profiles.values()) for name, roles in store.apps().items()}
    return access.mosquitto({**users, **apps})


def stamp(home: Path) -> tuple[float, ...]:
    """Changes when mosquitto should read its lists again."""
    files = [folder(home) / "devices.acl", authority.revocations(home), home / "keys" / "server.pem"]
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def _put(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)
