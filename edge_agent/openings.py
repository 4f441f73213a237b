"""Which channels are open to whom, now: audience, quiet hours, do not disturb, what is shown already, caps."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.decide import contact, moment
from edge_agent.decide.contact import Bound, Contact, Histories, Now
from edge_agent.decide.delivery import RANKS, Delivery
from edge_agent.limits import SUBJECTS_MAX
from edge_agent.memory import known
from edge_agent.memory.known import Known
from edge_agent.memory.subjects import Kept
from edge_agent.sources import HOUSEHOLD
from firmware_configs.consistency.channels import KINDS
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import Expression, compile_expression, paths
from firmware_configs.profile import Channel, ContactCap, DoNotDisturb, Placement, Profile
from firmware_configs.profile import Delivery as Declared

if TYPE_CHECKING:
    from edge_agent.agent import Agent

FOR_EVER_S = 3_650 * 86_400.0


class Route(Struct, frozen=True):
    """One placement's delivery, compiled."""

    placement: Placement
    declared: Declared
    theme: str
    rank: int
    channels: tuple[Channel, ...]
    """In the order in which they are asked."""
    holds: Expression | None
    bounds: tuple[Bound, ...]
    """Of the person, whatever the channel."""


def routes_of(profile: Profile) -> dict[str, Route]:
    """Placement → its route, of the placements that have one."""
    channels = {channel.name: channel for channel in profile.channel}
    themes = {theme.name: theme.cap for theme in profile.theme}
    found = {}
    for place in profile.placement:
        declared = place.delivery
        if declared is None:
            continue
        listed = sorted((channels[name] for name in declared.channels), key=lambda one: (-one.priority, one.cost))
        own = [ContactCap(count=cap.count, per_s=cap.per_s) for cap in place.cap]
        level = declared.importance
        theme = declared.theme or f"@{place.name}"
        bounds = [
            *_bounds(f"placement {place.name}", own, "placement", place.name),
            *_bounds(f"theme {theme}", themes.get(declared.theme, ()), "theme", theme),
            *_bounds(f"importance {level}", getattr(profile.contact, level), "importance", level),
            *_bounds("all messages to the person", profile.contact.cap, "", ""),
        ]
        holds = compile_expression(declared.holds) if declared.holds else None
        found[place.name] = Route(place, declared, theme, RANKS[level], tuple(listed), holds, tuple(bounds))
    return found


def _bounds(of: str, caps: Iterable[ContactCap], attribute: str, value: str) -> list[Bound]:
    return [Bound(of, cap, attribute, value) for cap in caps]


class Openings:
    """Says what keeps a channel shut, and remembers who was reached when."""

    def __init__(self, agent: "Agent", routes: Iterable[Route]) -> None:
        profile = agent.profile
        self._agent, self._contact = agent, profile.contact
        self.counted = False
        """Whether this step has reached anybody: then it must be on the medium before a message leaves."""
        self._disturb: dict[str, list[tuple[DoNotDisturb, Expression]]] = {
            channel.name: [(one, compile_expression(one.when)) for one in channel.do_not_disturb]
            for channel in profile.channel
        }
        self._bounds = {
            channel.name: tuple(_bounds(f"channel {channel.name}", channel.cap, "channel", channel.name))
            for channel in profile.channel
        }
        every = [bound for route in routes for bound in route.bounds]
        self._kept_ms = contact.longest_ms([*every, *(bound for own in self._bounds.values() for bound in own)])
        asked = {name for own in self._disturb.values() for _, one in own for name in paths(one, "fields")}
        asked |= {name for route in routes if route.holds for name in paths(route.holds, "fields")}
        self._zone = profile.contact.zone_field
        recall = agent.doors.recall
        self.known = Known(asked | ({self._zone} - {""}), lambda key: recall("known", key))
        self._histories: Kept[Histories] = Kept(lambda key: recall("contacts", key), contact.unpack, list, SUBJECTS_MAX)

    def trim(self) -> None:
        """Let go of what is stored and was not needed lately; only between steps."""
        self.counted = False
        self.known.trim()
        self._histories.trim()

    def hear(self, subject: str, fields: Any, t_ms: int, retention_ms: int, batch: Batch) -> bool:
        """Take an event's fields in; whether anything that is asked for changed."""
        held = self.known.hear(subject, fields, t_ms)
        if held is None:
            return False
        batch.touch("known", subject, lambda: known.pack(held), batch.now_ms + retention_ms)
        return True

    def forget(self, subject: str, batch: Batch) -> None:
        """Keep no fields of a subject."""
        self.known.forget(subject)
        batch.drop("known", subject)

    def subjects(self, person: str, now_ms: int) -> tuple[str, ...]:
        """Whose values count for a person: the household's, and above them the person's own."""
        return (HOUSEHOLD, *self._agent.people.subjects(person, now_ms))

    def values(self, person: str, now_ms: int, fresh_s: float, item: str = "") -> dict[str, Any]:
        """What conditions may read."""
        hour, weekday, _ = self._agent.doors.zoned(now_ms, self._zone_of(person, now_ms))
        fields = self.known.values(self.subjects(person, now_ms), now_ms, fresh_s)
        return {"fields": fields, "hour": hour, "weekday": weekday, "item": item}

    def has_reason(self, route: Route, person: str, item: str, now_ms: int) -> bool:
        """Whether a message keeps its reason; what cannot be evaluated takes nothing back."""
        if route.holds is None:
            return True
        try:
            return route.holds.evaluate(self.values(person, now_ms, route.declared.fresh_s, item)) is not False
        except ExpressionError:
            return True

    def shut(self, route: Route, channel: Channel, one: Delivery, shown: Delivery | None, now_ms: int) -> str:
        """Why a channel cannot carry a message now, in words; empty: it can.

        Args:
            shown: what an exclusive channel shows at present.
        """
        if channel.audience == "shared" and route.declared.audience == "private":
            return "others see or hear it too, and the choice is private"
        if any(told.channel == channel.name for told in one.told):
            return "it has carried the message already"
        if shown is not None and shown.rank > one.rank and shown.until_ms > now_ms:
            return f"it shows a more important message ({shown.word.placement})"
        purposes = self._purposes(route, channel)
        if not self._agent.consents.all_allowed(purposes, one.word.subject):
            return "there is no consent for messages that leave this way"
        return (
            self._quiet(route, channel, one, now_ms)
            or self._disturbed(channel, one, now_ms)
            or self._capped(route, channel, one.person, now_ms)
        )

    def _purposes(self, route: Route, channel: Channel) -> Sequence[str]:
        egress = self._agent.gate.ledger.declared(KINDS[channel.adapter]) if channel.adapter != "mqtt" else None
        return (*route.placement.purposes, *(egress.purposes if egress is not None else ()))

    def _passes(self, one: Delivery, what: str) -> bool:
        return one.rank == RANKS["critical"] and what in self._contact.critical_passes

    def _quiet(self, route: Route, channel: Channel, one: Delivery, now_ms: int) -> str:
        if self._passes(one, "quiet-hours"):
            return ""
        zone = self._zone_of(one.person, now_ms) if channel.audience == "private" else ""
        hour = self._agent.doors.zoned(now_ms, zone)[0]
        for hours in (self._contact.quiet_hours, route.placement.quiet_hours, channel.quiet_hours):
            if hours is not None and moment.quiet(hours, hour):
                return f"quiet hours from {hours.start} to {hours.end}, and it is {hour} there"
        return ""

    def _disturbed(self, channel: Channel, one: Delivery, now_ms: int) -> str:
        if self._passes(one, "do-not-disturb"):
            return ""
        for declared, expression in self._disturb[channel.name]:
            try:
                if expression.evaluate(self.values(one.person, now_ms, declared.fresh_s)) is not False:
                    return f"do not disturb: {declared.reason}"
            except ExpressionError:
                if declared.unknown == "hold":
                    return f"do not disturb: not known, so it holds ({declared.reason})"
        return ""

    def _capped(self, route: Route, channel: Channel, person: str, now_ms: int) -> str:
        shared = channel.audience == "shared"
        mine = route.bounds if shared else (*route.bounds, *self._bounds[channel.name])
        history = [
            one for subject in self._agent.people.subjects(person, now_ms) for one in self._histories.get(subject)
        ]
        why = contact.broken(history, mine, self._now(now_ms, self._zone_of(person, now_ms)))
        if not why and shared:
            everybody = self._histories.get(_of_channel(channel.name))
            why = contact.broken(everybody, self._bounds[channel.name], self._now(now_ms, ""))
        return f"cap of {why}" if why else ""

    def contacted(self, route: Route, channel: Channel, person: str, batch: Batch) -> None:
        """A message was handed over: from now on it counts."""
        self.counted = True
        now_ms = batch.now_ms
        keys = [(person, self._zone_of(person, now_ms))]
        if channel.audience == "shared":
            keys.append((_of_channel(channel.name), ""))
        for key, zone in keys:
            day = self._agent.doors.zoned(now_ms, zone)[2]
            level = route.declared.importance
            made = Contact(now_ms, day, route.placement.name, route.theme, level, channel.name)
            self._histories.replace(key, contact.remember(self._histories.get(key), made, self._kept_ms))
            self._touch(key, batch)

    def _touch(self, key: str, batch: Batch) -> None:
        batch.touch("contacts", key, lambda: contact.pack(self._histories.get(key)), batch.now_ms + self._kept_ms)

    def _now(self, now_ms: int, zone: str) -> Now:
        zoned = self._agent.doors.zoned
        return Now(now_ms, zoned(now_ms, zone)[2], lambda ms: zoned(ms, zone)[2])

    def _zone_of(self, person: str, now_ms: int) -> str:
        if not self._zone:
            return ""
        value = self.known.values(self.subjects(person, now_ms), now_ms, FOR_EVER_S).get(self._zone, "")
        return value if isinstance(value, str) else ""


def _of_channel(name: str) -> str:
    """The history of a shared channel; no subject's name holds a zero byte."""
    return f"\x00{name}"
