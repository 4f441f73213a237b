"""The ways out: the broker with everything it may refuse, and whether registry and SuperLink answer."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import BrokerError, SettingsError
from edge_agent.settings import Broker, Settings
from edge_agent.shell import client as clients
from edge_agent.shell import faults, properties
from edge_agent.shell.doctor.check import Check, fail, failed, ok, warn
from edge_agent.shell.version import candidates
from edge_agent.shell.vitals import Vitals

WAIT_S = 5.0
EXPIRES_SOON_DAYS = 30


def broker(settings: Settings, filters: list[str], live: Vitals | None) -> Iterator[Check]:
    """Connect as this device would, under another client id, and ask for the same topics.

    Nothing is published, nothing that is retained is asked for, and no shared subscription is joined, for that would
    take messages away from the agents that share it. Beside an agent that is connected by a certificate nothing is
    dialled: a broker may take the client id from the certificate, and would throw the agent out and forget its session.
    For the same reason a session that is found there is the agent's: it is left as it is, with all that waits in it.
    """
    asked = settings.broker
    if asked.cert and live is not None and live.line.state == "up":
        yield ok("broker", f"{asked.url}: the running agent has its line; not dialled, to leave it alone")
        return
    started = time.monotonic()
    visit = _Visit()
    try:
        code = visit.connect(settings)
    except BrokerError as error:
        yield failed("broker", error)
        return
    except SettingsError as error:
        yield failed("broker", error)
        return
    if code is None or code.is_failure:
        yield failed("broker", faults.silent(asked) if code is None else faults.refused(code, asked))
        return
    took = (time.monotonic() - started) * 1_000
    how = "TLS" if asked.tls else "not encrypted"
    yield ok("broker", f"{asked.url} lets us in after {took:.0f} ms ({how})")
    if not asked.tls and not _local(asked.host):
        yield warn(
            "encryption", f"{asked.url} is on the network and not encrypted", "use mqtts:// or wss:// and a certificate"
        )
    if visit.resumed:
        visit.close()
        yield ok("topics", "the broker holds this device's session and what waits in it; left alone, so not tried")
        return
    own = [name for name in filters if not name.startswith("$share/")]
    refused = visit.subscribe(own)
    visit.close()
    if refused is None:
        yield fail("topics", "the broker did not answer to a subscription", "look into the broker's log")
    elif refused:
        yield fail("topics", f"no right to read {', '.join(refused)}", "let this device read them in the access list")
    else:
        yield ok("topics", f"{len(own)} subscriptions granted{_shared(filters)}")
    if live is not None and live.line.state != "up":
        yield warn("agent", f"the running agent has no line: {live.line.what}", live.line.fix)


def _shared(filters: list[str]) -> str:
    left = sum(name.startswith("$share/") for name in filters)
    return f"; {left} shared ones not tried" if left else ""


def _local(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


class _Visit:
    """One short connection; where a certificate may be the client id, to a session that is kept if it was there.

    Attributes:
        resumed: whether it was there.
    """

    def __init__(self) -> None:
        self.resumed = False
        self._client: Client | None = None
        self._asked: Broker | None = None
        """Whom it must leave as it was: one that may take the client id from our certificate."""
        self._name = ""
        self._greeted: ReasonCode | None = None
        self._granted: list[ReasonCode] | None = None

    def connect(self, settings: Settings) -> ReasonCode | None:
        """The broker's answer, None when there is none.

        Raises:
            BrokerUnreachable, SettingsMalformed
        """
        answer = None
        for version in candidates(settings.broker.protocol):
            answer = self._knock(settings, version)
            if answer is not None and answer.value != faults.UNSUPPORTED_VERSION:
                break
        return answer

    def _knock(self, settings: Settings, version: MQTTProtocolVersion) -> ReasonCode | None:
        asked = settings.broker
        careful = bool(asked.cert)
        self._asked, self._name = asked if careful else None, f"edgeward-{settings.device}-doctor"
        client = clients.bare(asked, self._name, version, keep=careful)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        self._client, self._greeted = client, None
        try:
            if careful and version == clients.V5:
                # One message at most is on its way to us, which nobody acknowledges: it stays there.
                held = properties.of_connect(asked.session_expiry_s, 1, clients.PACKET_BYTES_MAX)
                client.connect(asked.host, asked.port, clean_start=False, properties=held)
            else:
                client.connect(asked.host, asked.port)
        except (OSError, ValueError) as error:
            raise faults.unreachable(error, asked) from error
        self._loop_until(lambda: self._greeted is not None)
        return self._greeted

    def subscribe(self, filters: list[str]) -> list[str] | None:
        """The filters that were refused; None when the broker does not answer."""
        if self._client is None or not filters:
            return []
        if self._client.protocol == clients.V5:
            options = SubscribeOptions(0, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe([(name, options) for name in filters])
        else:
            self._client.subscribe([(name, 0) for name in filters])
        self._loop_until(lambda: self._granted is not None)
        if self._granted is None:
            return None
        return [name for name, code in zip(filters, self._granted, strict=False) if code.is_failure]

    def close(self) -> None:
        """Leave; a session that was made by coming is taken away again."""
        if self._client is None:
            return
        words = None
        if not self.resumed and self._client.protocol == clients.V5:
            words = Properties(PacketTypes.DISCONNECT)
            words.SessionExpiryInterval = 0
        self._client.disconnect(properties=words)
        self._client.loop(0.1)
        if self._asked is not None and not self.resumed and self._client.protocol == clients.V311:
            # Under 3.1.1 only who comes without one ends a session.
            self._client = clients.bare(self._asked, self._name, clients.V311, keep=False)
            self._client.on_connect = self._on_connect
            self._greeted = None
            with suppress(OSError, ValueError):
                self._client.connect(self._asked.host, self._asked.port)
                self._loop_until(lambda: self._greeted is not None)
                self._client.disconnect()
                self._client.loop(0.1)

    def _loop_until(self, holds: Any) -> None:
        deadline = time.monotonic() + WAIT_S
        while self._client is not None and not holds() and time.monotonic() < deadline:
            if self._client.loop(0.1) != 0:
                return

    def _on_connect(self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, _told: Any) -> None:
        self._greeted, self.resumed = reason, bool(flags.session_present)

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _told: Any) -> None:
        self._granted = reasons


def certificates(settings: Settings) -> Iterator[Check]:
    """Whether the certificates that are named still hold for a while."""
    named = {
        "broker.ca": settings.broker.ca,
        "broker.cert": settings.broker.cert,
        "broker.visit_cert": settings.broker.visit_cert,
        "registry.ca": settings.registry.ca,
        "superlink.ca": settings.superlink.ca,
    }
    for name, file in named.items():
        if not file:
            continue
        from cryptography import x509

        try:
            ends = min(cert.not_valid_after_utc for cert in x509.load_pem_x509_certificates(Path(file).read_bytes()))
        except (OSError, ValueError) as error:
            yield fail("certificate", f"{name}: {file}: {error}", "give a PEM file with certificates")
            continue
        days = (ends - datetime.now(UTC)).total_seconds() / 86_400
        what = f"{name} is valid until {ends:%Y-%m-%d}"
        if days < 0:
            yield fail("certificate", what, "renew it, or set the clock if that is wrong")
        elif days < EXPIRES_SOON_DAYS:
            yield warn("certificate", what, "renew it")
        else:
            yield ok("certificate", what)


def ports(settings: Settings) -> Iterator[Check]:
    """Whether registry and SuperLink take connections, where the settings name them."""
    where: dict[str, tuple[str, int]] = {}
    if settings.registry.url:
        split = urlsplit(settings.registry.url)
        where["registry"] = (split.hostname or "", split.port or 443)
    if settings.superlink.address:
        host, _, port = settings.superlink.address.rpartition(":")
        where["superlink"] = (host.strip("[]"), int(port) if port.isdecimal() else 0)
    for name, (machine, number) in where.items():
        try:
            with socket.create_connection((machine, number), timeout=WAIT_S):
                yield ok(name, f"{machine}:{number} takes connections")
        except (OSError, OverflowError, ssl.SSLError) as error:
            yield warn(name, f"{machine}:{number} does not: {error}", _CLOSED)
    if settings.registry.url and not settings.registry.trusted_root and not _has_root(settings):
        yield warn("trust", "this device was given no trusted root", _ROOT)


_CLOSED = "check network and firewall; there are no updates or rounds meanwhile"
_ROOT = "set registry.trusted_root; without it no update is taken"


def _has_root(settings: Settings) -> bool:
    return (Path(settings.state_dir) / "trust" / "root.json").exists()
