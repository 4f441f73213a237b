"""Channels: what they need must be there, and no choice may reach whom it is not for."""

from collections.abc import Iterator

from firmware_configs.consistency.fault import Fault, fields, unknown
from firmware_configs.consistency.placements import expression_faults
from firmware_configs.errors import ExpressionError
from firmware_configs.profile import Channel, Delivery, OnRequest, Placement, Profile
from firmware_configs.template import fields as fields_of
from firmware_configs.topics import topic_fault

KINDS = {"mqtt": "decision", "smtp": "email", "http": "push"}
"""Adapter → the egress kind by which its messages leave."""
DISTURB_NAMES = frozenset({"fields", "hour", "weekday"})
HOLD_NAMES = DISTURB_NAMES | {"item"}
_ADAPTERS = {"email": ("smtp",), "push": ("http", "mqtt"), "mobile": ("http", "mqtt"), "web": ("http", "mqtt")}


def channel_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in channels, and in the deliveries that name them."""
    for n, channel in enumerate(profile.channel):
        yield from _channel(profile, channel, f"channel[{n}]")
    if profile.contact.zone_field:
        texts = [f.name for s in profile.source for f in s.field if f.type == "text"]
        yield from unknown("contact.zone_field", "text field", [profile.contact.zone_field], texts)
    known = {channel.name: channel for channel in profile.channel}
    for n, place in enumerate(profile.placement):
        where = f"placement[{n}]"
        if place.delivery is not None:
            yield from _delivery(profile, place, place.delivery, f"{where}.delivery", known)
        elif place.channel in known and place.channel != "app":  # what nobody wrote is no contradiction
            fix = f'write [placement.delivery] with channels = ["{place.channel}"]'
            yield Fault(f"{where}.channel", f"`{place.channel}` is a declared channel", fix)


def _channel(profile: Profile, channel: Channel, where: str) -> Iterator[Fault]:
    allowed = _ADAPTERS.get(channel.kind, ("mqtt",))
    if channel.adapter not in allowed:
        yield Fault(
            f"{where}.adapter",
            f"`{channel.adapter}` does not reach a channel of kind {channel.kind}",
            f"use {allowed[0]}",
        )
    kind = KINDS[channel.adapter]
    if kind not in {egress.kind for egress in profile.egress}:
        fix = f'add an [[egress]] with kind = "{kind}"'
        yield Fault(where, f"no [[egress]] lets messages of `{channel.name}` out", fix)
    if channel.adapter != "mqtt" and (channel.topic or channel.retain or channel.exclusive):
        fix = "remove topic, retain and exclusive"
        yield Fault(where, f"`{channel.adapter}` has no topics, and nothing there can be replaced", fix)
    if channel.topic and (fault := topic_fault(channel.topic.replace("{device}", "d"))):
        yield Fault(f"{where}.topic", f"`{channel.topic}` is not a topic", fault)
    if channel.payload == "text" and not channel.topic:
        yield Fault(f"{where}.payload", "plain text on a placement's own topic", "give the channel a topic of its own")
    for m, one in enumerate(channel.do_not_disturb):
        yield from expression_faults(profile, f"{where}.do_not_disturb[{m}].when", one.when, DISTURB_NAMES)


def _delivery(
    profile: Profile, place: Placement, delivery: Delivery, where: str, known: dict[str, Channel]
) -> Iterator[Fault]:
    yield from unknown(f"{where}.channels", "channel", delivery.channels, known)
    if delivery.theme:
        yield from unknown(f"{where}.theme", "theme", [delivery.theme], [t.name for t in profile.theme])
    if place.actuator:
        yield Fault(
            where, "an actuator is switched at once, and by nobody's leave", "use actuator or delivery, not both"
        )
    if place.channel != "app":
        yield Fault(where, "`channel` and [placement.delivery] both say how it gets there", "remove `channel`")
    if len(set(delivery.channels)) != len(delivery.channels):
        yield Fault(f"{where}.channels", "a channel stands twice", "name each once")
    if place.no_outcome is not None and place.reward_window_s <= place.expiry_s:
        fix = "make reward_window_s longer than expiry_s"
        yield Fault(where, "silence would count while the message still waits to be delivered", fix)
    if delivery.holds:
        yield from expression_faults(profile, f"{where}.holds", delivery.holds, HOLD_NAMES)
    if delivery.moment is not None:
        yield from unknown(f"{where}.moment.model", "model", [delivery.moment.model], [m.name for m in profile.model])
    for channel in [known[name] for name in delivery.channels if name in known]:
        yield from _fits(place, delivery, channel, where)
    yield from _templates(profile, delivery, where, known)


def _fits(place: Placement, delivery: Delivery, channel: Channel, where: str) -> Iterator[Fault]:
    if channel.audience == "shared" and delivery.audience == "private":
        fix = 'remove the channel, or say audience = "shared" if others may see the choice'
        yield Fault(where, f"a private choice, but others see or hear `{channel.name}` too", fix)
    if isinstance(place.trigger, OnRequest) and channel.adapter != "mqtt":
        yield Fault(where, f"a request is answered where it came from, not by `{channel.name}`", "remove the channel")
    if (channel.adapter != "mqtt" or channel.payload == "text") and not delivery.text:
        yield Fault(f"{where}.text", f"`{channel.name}` has nothing to say", "write a text")
    if channel.adapter == "smtp" and not delivery.title:
        yield Fault(f"{where}.title", f"`{channel.name}` needs a title: the subject of the e-mail", "write one")


def _templates(profile: Profile, delivery: Delivery, where: str, known: dict[str, Channel]) -> Iterator[Fault]:
    there: dict[str, tuple[str, ...]] = {egress.kind: egress.fields for egress in profile.egress}
    for key in ("title", "text"):
        template = getattr(delivery, key)
        try:
            named = fields_of(template)
        except ExpressionError as error:
            yield Fault(f"{where}.{key}", error.what, error.hint)
            continue
        yield from unknown(f"{where}.{key}", "field", sorted(named), fields(profile))
        for name in delivery.channels:
            channel = known.get(name)
            if channel is None or (channel.adapter == "mqtt" and channel.payload == "decision"):
                continue
            kind = KINDS[channel.adapter]
            for field in sorted(named - set(there.get(kind, ()))):
                fix = f'add it to `fields` of the [[egress]] of kind "{kind}", or leave it out of the text'
                yield Fault(f"{where}.{key}", f"`{field}` would leave by `{name}`, which may not carry it", fix)
