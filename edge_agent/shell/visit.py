"""One short visit to the broker, by a command or a page: messages, acknowledged. The agent's own line goes on."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.errors import BrokerRefused
from edge_agent.settings import Broker, Settings
from edge_agent.shell import client as clients
from edge_agent.shell import faults
from edge_agent.shell.version import candidates
from firmware_configs.messages import JSON

WAIT_S = 5.0


class Letter(Struct, frozen=True, kw_only=True):
    """One message, JSON."""

    topic: str
    payload: bytes
    retain: bool = False


def publish(settings: Settings, topic: str, payload: bytes) -> None:
    """Publish JSON, retained; an empty payload clears what the topic retains.

    Raises:
        BrokerUnreachable, BrokerRefused, SettingsMalformed: it is not published.
    """
    post(settings, [Letter(topic=topic, payload=payload, retain=True)], "command")


def post(
    settings: Settings,
    letters: Sequence[Letter],
    name: str,
    *,
    pause: Callable[[], None] = lambda: time.sleep(_aside()),
) -> None:
    """Publish all of them in order, under a client id of its own.

    A visit that is thrown out by another one, as at a broker where all of a device's have one name, comes again: then a
    message may arrive twice.

    Args:
        name: end of the client id; two at once of one name throw each other out.
        pause: what is done before coming again.
    Raises:
        BrokerUnreachable, BrokerRefused, SettingsMalformed: it is not published.
    """
    broker = _identity(settings)
    deadline = time.monotonic() + WAIT_S
    told = _post(settings, broker, letters, name)
    while told is None and time.monotonic() < deadline:
        pause()
        told = _post(settings, broker, letters, name)
    if told is None or len(told) < len(letters) or any(getattr(reason, "is_failure", False) for reason in told):
        named = ", ".join(dict.fromkeys(letter.topic for letter in letters))
        raise BrokerRefused(
            f"{broker.url} did not take a message for {named}",
            hint="let this device publish there in the broker's access list, or let the app do it",
        )


def _aside() -> float:
    """Seconds to stand aside, not the same for two who met."""
    return random.uniform(0.01, 0.2)  # noqa: S311 - no secret


def _post(settings: Settings, broker: Broker, letters: Sequence[Letter], name: str) -> list[object] | None:
    """Publish all of them, once.

    Returns:
        What the broker says of each, as far as it came in time; None: the line was cut before.
    """
    told: list[object] = []
    client: Client | None = None
    for version in candidates(broker.protocol):
        greeted: list[object] = []
        client = clients.bare(broker, f"edgeward-{settings.device}-{name}", version, keep=False)
        client.on_connect = lambda _c, _d, _f, reason, _p, greeted=greeted: greeted.append(reason)
        client.on_publish = lambda _c, _d, _mid, reason, _p: told.append(reason)
        try:
            client.connect(broker.host, broker.port)
        except (OSError, ValueError) as error:
            raise faults.unreachable(error, broker) from error
        _until(client, greeted)
        if not greeted:
            raise faults.silent(broker)
        code = greeted[0]
        if not code.is_failure:  # type: ignore[attr-defined]
            break
        if code.value != faults.UNSUPPORTED_VERSION:  # type: ignore[attr-defined]
            raise faults.refused(code, broker)  # type: ignore[arg-type]
    words = None
    if client is None:  # no version was tried
        raise faults.silent(broker)
    if client.protocol == clients.V5:
        words = Properties(PacketTypes.PUBLISH)
        words.ContentType = JSON
    for letter in letters:
        client.publish(letter.topic, letter.payload, qos=1, retain=letter.retain, properties=words)
    stands = _until(client, told, len(letters))
    client.disconnect()
    client.loop(0.1)
    return told if stands else None


def _identity(settings: Settings) -> Broker:
    """As whom a visit comes: by its own certificate, where it has one.

    Raises:
        BrokerRefused: it has none, and the agent's is the agent's alone.
    """
    broker, device = settings.broker, settings.device
    if broker.visit_cert:
        return msgspec.structs.replace(broker, cert=broker.visit_cert, key=broker.visit_key)
    if broker.cert and settings.coordinator and _name_in(Path(broker.cert)) == device:
        # There the certificate is the client id: we would throw the agent out, and its session would be forgotten.
        raise BrokerRefused(
            f"{broker.url} is a fleet's, and this device's certificate there is the agent's alone",
            hint="let the coordinator give its commands and page one of their own: edge-agent keys renew --force",
        )
    return broker


def _name_in(certificate: Path) -> str:
    """Whose certificate it is, by its common name; empty: it has none, or cannot be read."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    except (OSError, ValueError):
        return ""
    return next((str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def _until(client: Client, heard: list[object], count: int = 1) -> bool:
    """Wait until so many were heard, but not for ever; False: the line was cut before."""
    deadline = time.monotonic() + WAIT_S
    while len(heard) < count and time.monotonic() < deadline:
        if client.loop(0.1) != 0:
            return len(heard) >= count
    return True
