"""Why the broker cannot be used, in words that say the fix."""

import socket
import ssl

from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import BrokerRefused, BrokerUnreachable
from edge_agent.settings import Broker

BAD_CREDENTIALS = {134, 135}
"""MQTT 5 reason codes: bad user name or password, not authorized."""
TAKEN_OVER = 142


def unreachable(error: BaseException, broker: Broker) -> BrokerUnreachable:
    """The named form of what dialling raised."""
    url = broker.url
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerUnreachable(
            f"{url}: its certificate is not trusted: {error.verify_message}",
            hint="set broker.ca to the certificate that signed it, and use the host name that it names",
        )
    if isinstance(error, ssl.SSLError):
        return BrokerUnreachable(
            f"{url}: TLS failed: {error.reason or error}", hint="does this port speak TLS? else write mqtt://"
        )
    if isinstance(error, socket.gaierror):
        return BrokerUnreachable(
            f"{url}: the name {broker.host} does not resolve", hint="correct broker.url, or check DNS"
        )
    if isinstance(error, ConnectionRefusedError):
        return BrokerUnreachable(
            f"{url}: nothing listens there", hint="start the broker, or correct host and port in broker.url"
        )
    if isinstance(error, TimeoutError):
        return BrokerUnreachable(f"{url}: no answer", hint="check network and firewall, or correct broker.url")
    return BrokerUnreachable(f"{url}: {error}", hint="check network and broker.url")


def refused(reason: ReasonCode, broker: Broker) -> BrokerRefused:
    """The named form of a CONNACK or DISCONNECT that says no."""
    if reason.value in BAD_CREDENTIALS:
        who = f"user `{broker.user}`" if broker.user else "a client without user name"
        return BrokerRefused(
            f"{broker.url} does not let {who} in: {reason}",
            hint="correct broker.user and broker.password_file, or the broker's access list",
        )
    if reason.value == TAKEN_OVER:
        return BrokerRefused(
            f"{broker.url}: another client with this device's id took the session over",
            hint="two agents have the same `device` in their settings: give each its own",
        )
    return BrokerRefused(f"{broker.url} refuses us: {reason}", hint="look into the broker's log")


def lost(code: object, broker: Broker) -> BrokerUnreachable:
    """The named form of a line that broke."""
    return BrokerUnreachable(f"{broker.url}: the line broke: {code}", hint="it is dialled again by itself")


def silent(broker: Broker) -> BrokerUnreachable:
    """Something takes connections and says nothing."""
    return BrokerUnreachable(
        f"{broker.url} takes connections but does not greet", hint="does an MQTT 5 broker listen on this port?"
    )
