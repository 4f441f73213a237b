"""DM4xx: what is switched, and how people are reached."""

from collections.abc import Iterator

from firmware_configs.profile import Channel, Delivery, EpsilonGreedy
from firmware_configs.rules import words
from firmware_configs.rules.rule import AuditRule, Case, Where

FAST_PER_MINUTE = 30
WAKES = frozenset({"push", "email", "mobile", "voice"})
"""Kinds of channels that reach people who are not looking."""
OPEN = frozenset({"light", "display", "voice"})
"""Kinds of channels that everybody in the room sees or hears."""
EPSILON_MAX = 0.2


def _dangerous(case: Case) -> Iterator[Where]:
    risky = words.DANGEROUS | words.DANGEROUS_MORE
    for n, actuator in enumerate(case.profile.actuator):
        told = words.of(actuator.name) | words.of(actuator.topic)
        if told & risky and not actuator.limit:
            what = f"`{actuator.name}` may be switched at any time, whatever the readings are"
            yield f"actuator[{n}]", what, 'add [[actuator.limit]] never = "…" for what must not happen'


def _no_limit(case: Case) -> Iterator[Where]:
    risky = words.DANGEROUS | words.DANGEROUS_MORE
    for n, actuator in enumerate(case.profile.actuator):
        told = words.of(actuator.name) | words.of(actuator.topic)
        if not told & risky and not actuator.limit:
            what = f"`{actuator.name}` has no [[actuator.limit]]"
            yield f"actuator[{n}]", what, "say what must never happen, even if it seems harmless"


def _flickers(case: Case) -> Iterator[Where]:
    for n, actuator in enumerate(case.profile.actuator):
        if actuator.per_minute_max > FAST_PER_MINUTE and not actuator.lasts_s:
            what = f"`{actuator.name}` may switch {actuator.per_minute_max} times a minute"
            yield f"actuator[{n}].per_minute_max", what, f"at most {FAST_PER_MINUTE}, or lasts_s for each item"


def _reaching(case: Case) -> Iterator[tuple[str, Delivery, tuple[Channel, ...]]]:
    channels = {channel.name: channel for channel in case.profile.channel}
    for n, place in enumerate(case.profile.placement):
        if place.delivery is not None:
            own = tuple(channels[name] for name in place.delivery.channels if name in channels)
            yield f"placement[{n}].delivery", place.delivery, own


def _wakes(case: Case) -> Iterator[Where]:
    for n, channel in enumerate(case.profile.channel):
        quiet = channel.quiet_hours or case.profile.contact.quiet_hours or channel.do_not_disturb
        if channel.kind in WAKES and not quiet:
            what = f"`{channel.name}` ({channel.kind}) may speak at any hour of the night"
            yield f"channel[{n}].quiet_hours", what, "quiet_hours = { start = 22, end = 7 }"


def _uncapped(case: Case) -> Iterator[Where]:
    if case.profile.contact.cap:
        return
    for n, channel in enumerate(case.profile.channel):
        if channel.kind in WAKES and not channel.cap:
            what = f"nothing says how often `{channel.name}` ({channel.kind}) may speak to one person"
            yield f"channel[{n}].cap", what, "cap = [{ count = 3, per_s = 86400.0 }], or a [contact] cap"


def _overheard(case: Case) -> Iterator[Where]:
    for n, channel in enumerate(case.profile.channel):
        if channel.kind in OPEN and channel.audience == "private":
            what = f"`{channel.name}` is a {channel.kind}, and called private: everybody there sees or hears it"
            yield f"channel[{n}].audience", what, 'audience = "shared": then no private choice goes there'


def _retained(case: Case) -> Iterator[Where]:
    for n, channel in enumerate(case.profile.channel):
        if channel.retain and channel.audience == "private":
            what = f"the broker keeps what `{channel.name}` says to a person, for whoever asks next"
            yield f"channel[{n}].retain", what, 'retain = false, or audience = "shared"'


def _read_by_all(case: Case) -> Iterator[Where]:
    for n, channel in enumerate(case.profile.channel):
        if channel.topic and "{device}" not in channel.topic:
            what = f"`{channel.topic}` is the same for every device: whoever may read one, reads all"
            yield f"channel[{n}].topic", what, "put `{device}` into the topic"
    for n, actuator in enumerate(case.profile.actuator):
        if "{device}" not in actuator.topic:
            what = f"`{actuator.topic}` is the same for every device: one home switches another's"
            yield f"actuator[{n}].topic", what, "put `{device}` into the topic"


def _plays_with_things(case: Case) -> Iterator[Where]:
    for n, place in enumerate(case.profile.placement):
        policy = place.policy
        if (
            place.actuator
            and isinstance(policy, EpsilonGreedy)
            and policy.epsilon > EPSILON_MAX
            and not place.exploration
        ):
            what = f"`{place.name}` switches `{place.actuator}` by chance in {policy.epsilon:.0%} of its decisions"
            yield (
                f"placement[{n}].policy",
                what,
                f"epsilon = {EPSILON_MAX:g} or less, or an [placement.exploration] bound",
            )


def _urgent(case: Case) -> Iterator[Where]:
    for where, delivery, own in _reaching(case):
        if (
            delivery.importance == "critical"
            and case.profile.contact.critical_passes
            and len(own) == len(delivery.channels)
        ):
            listed = " and ".join(case.profile.contact.critical_passes)
            if not case.profile.contact.critical:
                what = f"it may pass {listed} as often as it likes"
                yield f"{where}.importance", what, "[contact] critical = [{ count = 2, per_s = 86400.0 }]"


RULES = (
    AuditRule(
        code="DM401",
        level="error",
        title="A dangerous thing without a limit",
        why="A model that is wrong must not be able to open a door or heat an oven. Limits are looked at last.",
        check=_dangerous,
        law="Regulation (EU) 2023/1230, Annex III",
    ),
    AuditRule(
        code="DM402",
        level="note",
        title="Switched without a limit",
        why="What seems harmless is not always: say once what must never happen.",
        check=_no_limit,
    ),
    AuditRule(
        code="DM403",
        level="note",
        title="May flicker",
        why="Light that flickers harms people; motors that start too often burn.",
        check=_flickers,
    ),
    AuditRule(
        code="DM404",
        level="warning",
        title="May wake people",
        why="A message at three in the morning is an intrusion, whatever it says.",
        check=_wakes,
    ),
    AuditRule(
        code="DM405",
        level="warning",
        title="As many messages as it likes",
        why="Without a cap, a model that is paid by attention takes all of it.",
        check=_uncapped,
    ),
    AuditRule(
        code="DM406",
        level="warning",
        title="Private words where all can hear",
        why="What a light shows or a speaker says, everybody in the room learns.",
        check=_overheard,
        law="GDPR Art. 5 (1) f",
    ),
    AuditRule(
        code="DM407",
        level="warning",
        title="The broker keeps private words",
        why="A retained message is handed to whoever subscribes later.",
        check=_retained,
        law="GDPR Art. 5 (1) f, 32",
    ),
    AuditRule(
        code="DM408",
        level="error",
        title="Readable by all",
        why="A topic without the device in it cannot be kept from other devices by the broker's rules.",
        check=_read_by_all,
        law="GDPR Art. 32",
    ),
    AuditRule(
        code="DM409",
        level="warning",
        title="Things switched by chance",
        why="A device that tries things out with real switches does it to the people around it.",
        check=_plays_with_things,
    ),
    AuditRule(
        code="DM410",
        level="warning",
        title="Urgent without end",
        why="What may break into the night must be rare, or people turn it off, also when it matters.",
        check=_urgent,
    ),
)
