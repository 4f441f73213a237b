"""mosquitto with mutual TLS: its configuration, access lists and list of revocations, written from what is enrolled.

Two listeners: one for devices and apps, whose certificate is their name and client id, so that nobody takes another's
session; one on loopback for the coordinator, which no device's certificate opens. mosquitto reads the lists again on
SIGHUP; `edge-coordinator up --broker mosquitto` runs it and sends that.
"""

import base64
import fcntl
import getpass
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import BrokerUnfit
from coordinator.fleet import access
from coordinator.fleet.access import Rule, Topology
from coordinator.shell import authority, pki
from coordinator.shell.fleet_store import FleetStore
from firmware_configs.enrolment import visitor

LIST = "devices.acl"
READ_BYTES, READ_S = 9_480_000, 8.9
"""A list of 10,000 devices, and how long mosquitto took to read it (docs/scale.md)."""
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


WEBSOCKETS = """
listener {port} {host}
protocol websockets
{server}
allow_anonymous false
password_file {folder}/pages.passwd
acl_file {folder}/pages.acl
"""
ITERATIONS = 1_000
"""Of PBKDF2; passwords are made by us, of 192 bits, so that guessing is hopeless after one."""


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


def write(home: Path, server: pki.Pair, host: str, port: int, own_port: int, pages_port: int = 0) -> None:
    """Write everything that it needs.

    Args:
        host: address to listen on for devices.
        own_port: of the coordinator's listener.
        pages_port: of the WebSocket listener; 0: there is none.
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
    if pages_port:
        own = f"certfile {server.certificate}\nkeyfile {server.key}"
        config += WEBSOCKETS.format(port=pages_port, host=host, server=own, folder=place)
    (place / "mosquitto.conf").write_text(config)
    write_access(home)


def write_access(home: Path) -> None:
    """Write the access lists anew, where mosquitto is used."""
    place = folder(home)
    if (place / "mosquitto.conf").exists():
        with _alone(place):
            _write_access(home, place)


def add_access(home: Path, device: str) -> None:
    """Let a device in that was enrolled just now: its lines go to the end of the list, whatever else is in it."""
    place = folder(home)
    if not (place / "mosquitto.conf").exists():
        return
    users = _users(device, FleetStore(home).topology_of(device))
    with _alone(place):
        if not _is_whole(place / LIST):
            _write_access(home, place)
            return
        with (place / LIST).open("ab", buffering=0) as listed:
            listed.write("".join(access.of_user(user, rules) for user, rules in users.items()).encode())


def _write_access(home: Path, place: Path) -> None:
    pages = {name: app for name, app in FleetStore(home).apps().items() if app.password}
    _put(place / "pages.passwd", "".join(f"{name}:{app.password}\n" for name, app in pages.items()))
    _put(place / "pages.acl", access.pages({name: app.device for name, app in pages.items()}))
    _put(place / "operators.acl", access.operators())
    # Last: mosquitto is told when this one has changed, see `stamp`.
    _put(place / LIST, of_devices(home))


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One writer at a time: who wrote the whole from what was enrolled before must not undo what came after."""
    with (place / "access.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_whole(path: Path) -> bool:
    """Whether a list is there, and was not torn where its last writer was killed."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return False


def hashed(password: str) -> str:
    """A password as mosquitto 2 keeps it: PBKDF2 with SHA-512, `$7$ITERATIONS$SALT$HASH` (its src/password_mosq.c)."""
    salt = os.urandom(12)
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, 64)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


def of_devices(home: Path) -> str:
    """The access list of devices, their visits, and apps."""
    store = FleetStore(home)
    profiles = store.topologies()
    users: dict[str, list[Rule]] = {}
    for device, revoked, profile in store.members():
        if not revoked:
            users |= _users(device, profiles.get(profile))
    apps = {name: access.of_app(app.roles, profiles.values(), app.device) for name, app in store.apps().items()}
    return access.mosquitto({**users, **apps})


def _users(device: str, profile: Topology | None) -> dict[str, list[Rule]]:
    """A device and its visits."""
    return {
        device: access.of_device(device, profile),
        visitor(device): access.of_app(access.VISITS, (), device),
    }


def stamp(home: Path) -> tuple[float, ...]:
    """Changes when mosquitto should read its lists again."""
    files = [folder(home) / LIST, authority.revocations(home), home / "keys" / "server.pem"]
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def pause_s(home: Path) -> float:
    """For how long mosquitto is left alone after it has read its lists, so that it serves nine tenths of the time.

    While it reads it serves nobody, and it looks for each line's user from the beginning: that is quadratic.
    """
    path = folder(home) / LIST
    size = path.stat().st_size if path.exists() else 0
    return 9.0 * READ_S * (size / READ_BYTES) ** 2


def _put(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)
