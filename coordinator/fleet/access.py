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
}
"""What an app may do; `sensor` writes what the profiles' sources read."""
SENSOR = "sensor"


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


def of_app(roles: Iterable[str], profiles: Iterable[Topology]) -> list[Rule]:
    """An app's rules."""
    rules = []
    for role in roles:
        if role == SENSOR:
            topics = [topic.replace("{device}", "+") for profile in profiles for topic in profile.reads]
            rules += [Rule("write", topic) for topic in topics if not reaches_us(topic)]
        else:
            rules += [Rule(access, topic) for access, topic in ROLES[role]]
    return list(dict.fromkeys(rules))


def mosquitto(users: Mapping[str, Iterable[Rule]]) -> str:
    """An access list for mosquitto; who is not in it may do nothing."""
    lines = ["# Written by edge-coordinator from profiles and enrolment; changes are lost."]
    for user, rules in users.items():
        lines += ["", f"user {user}", *(f"topic {rule.access} {rule.topic}" for rule in rules)]
    return "\n".join(lines) + "\n"


def operators() -> str:
    """The access list of the coordinator's own listener."""
    return mosquitto({COORDINATOR: [Rule(access, topic) for access, topic in OF_OPERATORS]})  # type: ignore[arg-type]


def _unshared(topic: str) -> str:
    """The filter of a shared subscription."""
    return topic.split("/", 2)[2] if topic.startswith(f"{SHARE}/") else topic
