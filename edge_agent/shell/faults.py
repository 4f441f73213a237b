"""Why the broker cannot be used, in words that say the fix."""

import socket
import ssl
from typing import Final

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import BrokerRefused, BrokerUnreachable
from edge_agent.settings import Broker

BAD_CREDENTIALS: Final = {134, 135}
"""MQTT 5 reason codes: bad user name or password, not authorized."""
UNSUPPORTED_VERSION: Final = 132
REASON_CHARACTERS_MAX = 200

LET_US_PUBLISH: Final = "let this device publish there in the broker's access list"
LET_US_READ: Final = "let this device read its topics in the broker's access list, or correct the profile's `topic`"
WAIT: Final = "it is dialled again by itself"

# MQTT 5, section 2.4: reason code → what it means for us, and what helps.
_MEANINGS: Final[dict[int, tuple[str, str]]] = {
    130: ("it says that we broke the protocol", "look into the broker's log, and report it with that"),
    132: ("it does not speak this version of MQTT", 'set broker.protocol to "3.1.1", or to "auto"'),
    133: ("it does not take this device's client id", "choose a shorter `device` with letters and digits only"),
    136: ("it is not available", f"look into the broker's log; {WAIT}"),
    137: ("it is busy", f"give the broker more room; {WAIT}"),
    138: ("this device is banned", "lift the ban in the broker"),
    139: ("it is shutting down", WAIT),
    141: ("it heard nothing from us for too long", f"check the network, or raise broker.keepalive_s; {WAIT}"),
    142: (
        "another client with this device's id took the session over",
        "two agents have the same `device` in their settings: give each its own",
    ),
    143: ("it does not take one of our topic filters", "correct the profile's `topic`"),
    144: ("it does not take one of our topics", "correct the profile's topics, or the request's reply topic"),
    147: ("it says that we sent more at once than it takes", "look into the broker's log, and report it with that"),
    148: ("it does not know a topic alias of ours", "look into the broker's log, and report it with that"),
    149: ("a message is larger than it takes", "raise the broker's limit on packets"),
    150: ("we send too fast for it", f"raise the broker's limit on the message rate; {WAIT}"),
    151: ("our quota is used up", "raise this device's quota in the broker"),
    152: ("its administrator closed the connection", f"ask the broker's administrator; {WAIT}"),
    154: ("it keeps no retained messages", "allow retained messages in the broker"),
    155: ("it does not carry QoS 1", "use a broker that carries QoS 1"),
    158: ("it has no shared subscriptions", "use another broker, or no $share topic in the profile"),
    159: ("we connect too often for it", f"raise the broker's limit on connections; {WAIT}"),
    160: ("we were connected for as long as it allows", WAIT),
    162: ("it has no wildcards", "use another broker, or no wildcards in the profile"),
}
_ELSEWHERE: Final = {156, 157}
"""Use another server, server moved."""


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
            f"{url}: TLS failed: {error.reason or error}",
            hint="does this port speak TLS? else write mqtt:// or ws://; does it want broker.cert and broker.key?",
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
    if broker.websockets:
        return BrokerUnreachable(
            f"{url}: no WebSocket for MQTT there: {error}", hint="correct port and path in broker.url"
        )
    return BrokerUnreachable(f"{url}: {error}", hint="check network and broker.url")


def refused(reason: ReasonCode, broker: Broker, told: Properties | None = None) -> BrokerRefused:
    """The named form of a CONNACK or DISCONNECT that says no."""
    said = vars(told) if told is not None else {}
    words = str(said.get("ReasonString", ""))[:REASON_CHARACTERS_MAX]
    tail = f" (`{words}`)" if words else ""
    if reason.value in BAD_CREDENTIALS:
        who = f"user `{broker.user}`" if broker.user else "a client without user name"
        return BrokerRefused(
            f"{broker.url} does not let {who} in: {reason}{tail}",
            hint="correct broker.user and broker.password_file, or the broker's access list",
        )
    if reason.value in _ELSEWHERE:
        where = str(said.get("ServerReference", ""))[:REASON_CHARACTERS_MAX] or "another server"
        return BrokerRefused(f"{broker.url} sends us to {where}{tail}", hint="set broker.url to it")
    what, hint = _MEANINGS.get(reason.value, (f"it refuses us: {reason}", "look into the broker's log"))
    return BrokerRefused(f"{broker.url}: {what}{tail}", hint=hint)


def steps_down(broker: Broker) -> BrokerRefused:
    """The broker does not speak MQTT 5, and that is all right."""
    return BrokerRefused(
        f"{broker.url} does not speak MQTT 5: going on with 3.1.1",
        hint='set broker.protocol to "3.1.1" to save the question; docs/brokers.md says what that costs',
    )


def lost(reason: object, broker: Broker, detail: str = "") -> BrokerUnreachable:
    """The named form of a line that broke."""
    what = detail or ("closed at the other end or reset" if str(reason) == "Unspecified error" else str(reason))
    return BrokerUnreachable(f"{broker.url}: the line broke: {what}", hint=WAIT)


def ungreeted(broker: Broker, detail: str) -> BrokerUnreachable:
    """The broker hung up instead of greeting."""
    what = f"{broker.url} hung up before it greeted us" + (f": {detail}" if detail else "")
    if broker.tls and not broker.cert:
        hint = "it may want a client certificate: set broker.cert and broker.key"
    elif broker.tls:
        hint = "does it trust broker.cert?"
    else:
        hint = "does it want TLS (mqtts://), or another broker.protocol?"
    if broker.user:
        hint += " are broker.user and broker.password_file right?"
    return BrokerUnreachable(what, hint=f"{hint} see the broker's log")


def silent(broker: Broker) -> BrokerUnreachable:
    """Something takes connections and says nothing."""
    return BrokerUnreachable(
        f"{broker.url} takes connections but does not greet", hint="does an MQTT broker listen on this port?"
    )


def no_dial(broker: Broker) -> BrokerUnreachable:
    """Dialling takes longer than its parts may: a name that is looked up for ever, a server that drips."""
    return BrokerUnreachable(
        f"{broker.url}: dialling does not come to an end", hint="check DNS, and whether a broker listens on this port"
    )


def no_mqtt(detail: object, broker: Broker) -> BrokerUnreachable:
    """What came is no MQTT."""
    return BrokerUnreachable(
        f"{broker.url} sent what is no MQTT: {detail}", hint="does an MQTT broker listen on this port?"
    )


def unsubscribed(topic_filter: str, why: object) -> BrokerRefused:
    """One subscription that there is not."""
    return BrokerRefused(f"no subscription to {topic_filter}: {why}", hint=LET_US_READ)


def undelivered(topic: str, why: object, hint: str = LET_US_PUBLISH) -> BrokerRefused:
    """One message that nobody gets."""
    return BrokerRefused(f"a message to {topic} was thrown away: {why}", hint=hint)


def unretained(topic: str) -> BrokerRefused:
    """A retained message that is not retained."""
    return BrokerRefused(
        f"the broker keeps no retained messages: {topic} is sent once", hint="allow retained messages in the broker"
    )


def forgetful(kept_s: int, broker: Broker) -> BrokerRefused:
    """Our session is kept for less long than we asked."""
    return BrokerRefused(
        f"{broker.url} keeps our messages for {kept_s} s while we are away, not {broker.session_expiry_s}",
        hint="raise the broker's limit on session expiry, or lower broker.session_expiry_s",
    )


def downgraded(topic_filter: str, granted: int, asked: int) -> BrokerRefused:
    """A subscription with less than was asked for."""
    return BrokerRefused(
        f"subscription to {topic_filter}: QoS {granted}, not {asked}; events may be lost on the way",
        hint="use a broker that carries QoS 1, or write qos = 0 in the profile",
    )


def unsubscribable(broker: Broker) -> BrokerUnreachable:
    """The line broke between our SUBSCRIBE and its answer."""
    return BrokerUnreachable(f"{broker.url} hung up on our subscriptions", hint=LET_US_READ)


def unsteady(broker: Broker) -> BrokerUnreachable:
    """The broker lets us in and hangs up soon after, again and again, and does not say why."""
    return BrokerUnreachable(
        f"{broker.url} lets us in and hangs up soon after, again and again",
        hint="does another agent have this `device` in its settings? give each its own; else see the broker's log",
    )
