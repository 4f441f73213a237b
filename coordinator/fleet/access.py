"""Who may read and write which topics: rules from enrolment and profile, and mosquitto's words for them.

A device writes under its own prefix only, and reads only what is meant for it, its profile's sources, and what the
profile's actuators are told. An app reads and writes by its role. The coordinator alone writes `desired`.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from firmware_configs.messages import ROOT, Topics
from firmware_configs.profile import Profile
from firmware_configs.topics import SHARE

Access = Literal["read", "write"]
READS = ("desired", "feedback", "consent/+", "request/+")
WRITES = ("status", "reported", "rejected", "alert", "metric", "decision/+", "experiment/+", "late/+", "reply/#")
HOME_ASSISTANT = "homeassistant/device/edgeward-{device}/config"
"""Where a device announces itself to Home Assistant, if its settings wish it; under any other prefix it may not."""
COORDINATOR = "coordinator"
OF_OPERATORS = (
    ("write", f"{ROOT}/+/desired"),
    ("read", f"{ROOT}/#"),
    ("read", "$SYS/broker/log/#"),
)
ROLES: dict[str, tuple[tuple[Access, str], ...]] = {
    "viewer": (("read", f"{ROOT}/+/status"), ("read", f"{ROOT}/+/reported"), ("read", f"{ROOT}/+/alert")),
    "app": (
        ("read", f"{ROOT}/+/decision/+"),
        ("read", f"{ROOT}/+/reply/#"),
        ("write", f"{ROOT}/+/feedback"),
        ("write", f"{ROOT}/+/request/+"),
    ),
    "consent": (("write", f"{ROOT}/+/consent/+"),),
    "page": (
        ("read", f"{ROOT}/+/reply/+"),
        ("write", f"{ROOT}/+/capture/+"),
        ("write", f"{ROOT}/+/consent/+"),
        ("write", f"{ROOT}/+/feedback"),
        ("write", f"{ROOT}/+/request/+"),
    ),
}
"""What an app may do; `sensor` writes what the profiles' sources read."""
SENSOR = "sensor"
PAGE = "page"
VISITS = ("consent", PAGE)
"""The roles of a device's commands and page, on the topics of this device alone."""


class App(Struct, frozen=True, kw_only=True):
    """Somebody at the broker that is no device."""

    roles: tuple[str, ...]
    device: str = ""
    """Whose topics alone it may use; empty: any device's."""
    password: str = ""
    """Of the WebSocket listener, as mosquitto hashes it; empty: it comes by its certificate alone."""


class Rule(Struct, frozen=True):
    """One line of an access list."""

    access: Access
    topic: str
    """A filter of MQTT."""


class Topology(Struct, frozen=True, kw_only=True):
    """The topics of a profile beside our own, with `{device}` where the device's name goes."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def topology(profile: Profile) -> Topology:
    """What a profile's sources read and its actuators write."""
    return Topology(
        name=profile.name,
        reads=tuple(dict.fromkeys(_unshared(source.topic) for source in profile.source)),
        writes=tuple(dict.fromkeys(actuator.topic for actuator in profile.actuator)),
    )


def of_device(device: str, profile: Topology | None) -> list[Rule]:
    """A device's rules; without a profile only those of every device."""
    topics = Topics(device)
    rules = [Rule("read", topics.of(part)) for part in READS] + [Rule("write", topics.of(part)) for part in WRITES]
    rules.append(Rule("write", HOME_ASSISTANT.format(device=device.replace(".", "_"))))
    if profile is not None:
        rules += [Rule("read", topic.replace("{device}", device)) for topic in profile.reads]
        rules += [Rule("write", topic.replace("{device}", device)) for topic in profile.writes]
    return [rule for rule in dict.fromkeys(rules) if not _takes_over(rule, device)]


def _takes_over(rule: Rule, device: str) -> bool:
    """Whether a profile's topic reaches into what is ours: other devices' topics, or what this one may not write."""
    if not reaches_us(rule.topic):
        return False
    levels = rule.topic.split("/")
    if levels[:3] != [*ROOT.split("/"), device]:
        return True
    return rule.access == "write" and "/".join(levels[3:]) not in WRITES


def reaches_us(topic: str) -> bool:
    """Whether a filter can match a topic under our root."""
    levels = topic.split("/")
    for n, own in enumerate(ROOT.split("/")):
        if levels[n] == "#":
            return True
        if levels[n] not in {"+", own} or n + 1 >= len(levels):
            return False
    return True


def of_app(roles: Iterable[str], profiles: Iterable[Topology], device: str = "") -> list[Rule]:
    """An app's rules.

    Args:
        device: whose topics it may use; empty: any device's.
    """
    rules = []
    for role in roles:
        if role == SENSOR:
            topics = [topic.replace("{device}", device or "+") for profile in profiles for topic in profile.reads]
            rules += [Rule("write", topic) for topic in topics if not reaches_us(topic)]
        else:
            own = f"{ROOT}/{device or '+'}/"
            rules += [Rule(access, topic.replace(f"{ROOT}/+/", own)) for access, topic in ROLES[role]]
    return list(dict.fromkeys(rules))


def pages(apps: Mapping[str, str]) -> str:
    """The access list of the WebSocket listener: what pages say, and answers to their own client id alone.

    Args:
        apps: app with the role `page` → its device; empty: any.
    """
    rules = {
        name: [rule for rule in of_app([PAGE], (), device) if rule.access == "write"] for name, device in apps.items()
    }
    return f"{mosquitto(rules)}\npattern read {ROOT}/+/reply/%c\n"


def mosquitto(users: Mapping[str, Iterable[Rule]]) -> str:
    """An access list for mosquitto; who is not in it may do nothing."""
    head = "# Written by edge-coordinator from profiles and enrolment; changes are lost.\n"
    return head + "".join(of_user(user, rules) for user, rules in users.items())


def of_user(user: str, rules: Iterable[Rule]) -> str:
    """One user's part of such a list; it may be put at the end of one."""
    return "\n".join(["", f"user {user}", *(f"topic {rule.access} {rule.topic}" for rule in rules)]) + "\n"


def operators() -> str:
    """The access list of the coordinator's own listener."""
    return mosquitto({COORDINATOR: [Rule(access, topic) for access, topic in OF_OPERATORS]})  # type: ignore[arg-type]


def _unshared(topic: str) -> str:
    """The filter of a shared subscription."""
    return topic.split("/", 2)[2] if topic.startswith(f"{SHARE}/") else topic
