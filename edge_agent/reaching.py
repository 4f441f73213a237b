"""Decisions on their way to people: one choice a theme, the channel that carries it, the moment, and taking it back.

A decision that waits is delivered as it was decided. Its propensity and features are those of the choice that was
logged, its event is not kept, and what has been said elsewhere must stay true; what changes meanwhile is caught by its
reason, its expiry, consent and a more important choice (docs/adr/0032-waiting-decisions-are-delivered-as-decided.md).
"""

from typing import TYPE_CHECKING

import msgspec

from edge_agent.batch import Batch
from edge_agent.decide import decision
from edge_agent.decide import delivery as deliveries
from edge_agent.decide.decision import Considered, Reached, Trail
from edge_agent.decide.delivery import RANKS, Delivery, Told
from edge_agent.deciding import choose, keep, occasion_of
from edge_agent.gate import OWN_TOPIC, Reply
from edge_agent.happenings import Answered, Posted
from edge_agent.intake.minimise import Minimised
from edge_agent.letters import Letters
from edge_agent.limits import DAY_MS, DELIVERIES_MAX, DELIVERY_LOOK_MS, EVICTED_SHARE, FUTURE_MS_MAX
from edge_agent.moments import moment_of
from edge_agent.openings import Openings, Route, routes_of
from edge_agent.placements import CompiledPlacement, Occasion
from edge_agent.sources import HOUSEHOLD
from edge_agent.withheld import suppress
from firmware_configs import messages
from firmware_configs.profile import Channel
from firmware_configs.template import rendered

if TYPE_CHECKING:
    from edge_agent.agent import Agent

ROOMS = ("delivery", "letter")
"""Rooms that are read at the start."""
NOTHING: tuple[Considered, ...] = ()


class Reach:
    """What waits, what stands, and how either reaches people."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._routes = routes_of(agent.profile)
        self._channels = {channel.name: channel for channel in agent.profile.channel}
        self.openings = Openings(agent, self._routes.values())
        self.letters = Letters(agent, self)
        self._live: dict[str, Delivery] = {}
        self._standing: dict[tuple[str, str], str] = {}
        """(person, theme) → id of the decision whose choice stands."""
        self._shown: dict[str, str] = {}
        """Exclusive channel → id of what it shows."""
        self._look_ms = 0

    def restore(self, room: str, packed: bytes) -> None:
        """Take up a row of one of ROOMS again."""
        if room == "letter":
            self.letters.restore(packed)
            return
        one = deliveries.unpack(packed)
        if one.word.placement in self._routes:
            self._hold(one)

    def trim(self) -> None:
        """Let go of what is stored and was not needed lately; only between steps."""
        self.openings.trim()

    # ---- deciding ------------------------------------------------------------------------------------------

    def decide(
        self, place: CompiledPlacement, occasion: Occasion, reply: Reply, retention_ms: int, batch: Batch
    ) -> None:
        """One choice for the person and the theme; then the channel that carries it, or its waiting."""
        agent, route = self._agent, self._routes[place.name]
        asked = occasion.trigger == "request"
        standing = self._stands(occasion.person, route.theme, batch.now_ms)
        displaced = standing if standing is not None and standing.rank < route.rank else None
        repeated = standing if displaced is None else None
        if repeated is not None and not self._repeat(route, repeated, occasion, asked=asked):
            why = f"decision {repeated.word.id} stands for {route.theme}: {', '.join(repeated.word.items)}"
            suppress(agent, place.name, occasion, "standing", why, batch)
            return
        trail = choose(agent, place, occasion, batch)
        if trail is not None and repeated is not None:
            trail = _as_it_stands(trail, repeated)
        if trail is None:
            return
        one = self._new(route, trail, occasion, reply, repeated, retention_ms)
        if not self.openings.has_reason(route, one.person, trail.items[0], batch.now_ms):
            suppress(agent, place.name, occasion, "reason", route.declared.holds, batch)
            return
        if asked and not self._opens(one, route, occasion, batch):
            return  # whoever asks does not wait
        why = ""
        if route.declared.moment is not None and not asked and repeated is None and one.rank < RANKS["critical"]:
            one.due_ms, why = moment_of(agent, route.declared.moment, occasion, one.expires_ms)
        if displaced is not None:
            self._retract(displaced, "a more important choice displaces it", batch)
        considered = NOTHING if one.due_ms > batch.now_ms else self._carry(one, route, reply, batch)
        if not one.told:
            agent.count("delayed")
        self._hold(one)
        self._store(one, batch)
        reached = Reached(
            person=one.person,
            theme=route.theme,
            importance=route.declared.importance,
            standing=one.of,
            displaced=displaced.word.id if displaced is not None else "",
            considered=considered,
            due_ms=one.due_ms,
            moment=why,
            expires_ms=one.expires_ms,
            until_ms=one.until_ms,
        )
        channel = "+".join(told.channel for told in one.told)
        trail = keep(agent, place, msgspec.structs.replace(trail, channel=channel, reach=reached), retention_ms, batch)
        if one.told and agent.outcomes is not None:
            agent.outcomes.decided(trail, occasion, batch)
        if asked and agent.record:
            self._journal(one, displaced, batch)
        self._bound(batch)
        self.letters.pump(batch)

    def _opens(self, one: Delivery, route: Route, occasion: Occasion, batch: Batch) -> bool:
        """Whether any channel is open."""
        why = {channel.name: self._shut(one, route, channel, batch.now_ms) for channel in route.channels}
        if all(why.values()):
            said = "; ".join(f"{name}: {text}" for name, text in why.items())
            suppress(self._agent, route.placement.name, occasion, "channels", said, batch)
        return not all(why.values())

    def _journal(self, one: Delivery, displaced: Delivery | None, batch: Batch) -> None:
        word = Answered(delivery=deliveries.pack(one), displaced=displaced.word.id if displaced is not None else "")
        batch.journal(word, f"reach:{one.word.id}", "", one.word.subject, self._agent.retention_ms)

    def heard(self, said: Posted | Answered, batch: Batch) -> None:
        """News from the sender, or in a replay of a decision on request."""
        if isinstance(said, Posted):
            self.letters.posted(said, batch)
        else:
            self._resume(said, batch)

    def _resume(self, word: Answered, batch: Batch) -> None:
        """A replay comes to a decision on request: what it said counts, and stands."""
        one = deliveries.unpack(word.delivery)
        route = self._routes[one.word.placement]
        if word.displaced in self._live:
            self._retract(self._live[word.displaced], "a more important choice displaces it", batch)
        for told in one.told:
            self.openings.contacted(route, self._channels[told.channel], one.person, batch)
        self._hold(one)
        self._bound(batch)

    def _stands(self, person: str, theme: str, now_ms: int) -> Delivery | None:
        for subject in self._agent.people.subjects(person, now_ms):
            one = self._live.get(self._standing.get((subject, theme), ""))
            if one is not None and now_ms < one.until_ms and one.made_ms <= now_ms + FUTURE_MS_MAX:
                return one
        return None

    def _repeat(self, route: Route, standing: Delivery, occasion: Occasion, *, asked: bool) -> bool:
        """Narrow the occasion to the choice that stands; False where this placement cannot say it, or has said it."""
        items = standing.word.items[: route.placement.slate]
        own = {candidate.item for candidate in route.placement.candidate} or set(occasion.items)
        if (own and not own.issuperset(items)) or (occasion.items and not set(occasion.items).issuperset(items)):
            return False
        occasion.items = items
        if asked:
            return True
        family = [one for one in self._live.values() if standing.word.id in {one.word.id, one.of}]
        if any(one.word.placement == route.placement.name for one in family):
            return False  # it waits, or was told
        told = {told.channel for one in family for told in one.told}
        return any(channel.name not in told for channel in route.channels)

    def _new(
        self,
        route: Route,
        trail: Trail,
        occasion: Occasion,
        reply: Reply,
        repeated: Delivery | None,
        retention_ms: int,
    ) -> Delivery:
        declared, now_ms = route.declared, occasion.now_ms
        expires_ms = now_ms + int(route.placement.expiry_s * 1_000)
        until_ms = now_ms + int((declared.stands_s or route.placement.expiry_s) * 1_000)
        if repeated is not None:
            until_ms = repeated.until_ms
        values = {
            **occasion.fields,
            "item": trail.items[0],
            "items": ", ".join(trail.items),
            "placement": trail.placement,
        }
        return Delivery(
            word=self._agent.gate.word(trail, reply.correlation),
            person=occasion.person,
            theme=route.theme,
            rank=route.rank,
            title=rendered(declared.title, values),
            text=rendered(declared.text, values),
            of=repeated.word.id if repeated is not None else "",
            made_ms=now_ms,
            expires_ms=min(expires_ms, until_ms),
            until_ms=until_ms,
            kept_ms=retention_ms,
        )

    # ---- delivering ----------------------------------------------------------------------------------------

    def _carry(self, one: Delivery, route: Route, reply: Reply, batch: Batch) -> tuple[Considered, ...]:
        """Hand a message to the first open channel, or to all of them; what was said of each."""
        said: list[Considered] = []
        carried = False
        for channel in route.channels:
            if carried and route.declared.spread == "first":
                said.append(Considered(channel.name, "spare"))
                continue
            why = self._shut(one, route, channel, batch.now_ms)
            if not why:
                self._replace(channel, batch)
                why = "" if self._hand_over(one, channel, reply, batch) else "the profile lets no more out today"
            if why:
                said.append(Considered(channel.name, "shut", why))
                continue
            carried = True
            said.append(Considered(channel.name, "carries"))
            self.openings.contacted(route, channel, one.person, batch)
        return tuple(said)

    def _shut(self, one: Delivery, route: Route, channel: Channel, now_ms: int) -> str:
        shown = self._live.get(self._shown.get(channel.name, "")) if channel.exclusive else None
        return self.openings.shut(route, channel, one, shown, now_ms)

    def _hand_over(self, one: Delivery, channel: Channel, reply: Reply, batch: Batch) -> bool:
        topic = ""
        if channel.adapter == "mqtt":
            topic = reply.topic or self._topic(one, channel)
            word = msgspec.structs.replace(one.word, channel=channel.name)
            expires_ms = one.until_ms if channel.retain else one.expires_ms
            if not self._publish(
                word, one.text, channel, msgspec.structs.replace(reply, topic=topic), expires_ms, batch
            ):
                return False
        else:
            self.letters.write(one, channel.name, channel.adapter, batch)
        one.told = [*one.told, Told(channel.name, batch.now_ms, topic)]
        one.note(batch.now_ms, f"{channel.name} {deliveries.CARRIES}")
        if channel.exclusive:
            self._shown[channel.name] = one.word.id
        return True

    def _topic(self, one: Delivery, channel: Channel) -> str:
        own = channel.topic.replace("{device}", self._agent.device)
        return own or self._agent.gate.decision_topic(one.word.placement)

    def _publish(
        self, word: messages.DecisionMade, text: str, channel: Channel, reply: Reply, expires_ms: int, batch: Batch
    ) -> bool:
        gate = self._agent.gate
        if channel.payload == "decision":
            return gate.publish(word, reply, expires_ms, batch, retain=channel.retain)
        return gate.send(
            "decision",
            reply.topic,
            text.encode(),
            batch,
            retain=channel.retain,
            content_type="text/plain",
            traceparent=word.traceparent,
            expires_ms=expires_ms,
        )

    # ---- taking back ---------------------------------------------------------------------------------------

    def _replace(self, channel: Channel, batch: Batch) -> None:
        """An exclusive channel shows something else from now on."""
        shown = self._live.get(self._shown.pop(channel.name, ""))
        if shown is None:
            return
        for told in shown.told:
            if told.channel == channel.name:
                shown.note(batch.now_ms, self._take_back(shown, told, "another message takes its place", batch))
        self._store(shown, batch)

    def _retract(self, one: Delivery, reason: str, batch: Batch) -> None:
        """Take a message back everywhere, with all that repeat its choice."""
        one.note(batch.now_ms, f"taken back: {reason}" if one.told else f"dropped before it was delivered: {reason}")
        for told in one.told:
            one.note(batch.now_ms, self._take_back(one, told, reason, batch))
        self._agent.count("retracted" if one.told else "dropped.waiting")
        self._end(one, "", batch)
        for other in [other for other in self._live.values() if other.of == one.word.id]:
            self._retract(other, reason, batch)

    def _take_back(self, one: Delivery, told: Told, reason: str, batch: Batch) -> str:
        """Undo one channel's message; what was done, in words."""
        channel = self._channels.get(told.channel)
        if channel is None:
            return f"{told.channel} is no longer declared"
        if channel.adapter != "mqtt":
            return f"{channel.name}: {self.letters.take_back(one, channel.name, channel.adapter, reason, batch)}"
        if channel.payload == "decision":
            word = msgspec.structs.replace(one.word, items=(), channel=channel.name, retracted=reason)
            self._agent.gate.publish(word, Reply(topic=told.topic), batch.now_ms + DAY_MS, batch)
        self._clear(told, channel, batch)
        return f"{channel.name}: a retraction was published"

    def _clear(self, told: Told, channel: Channel, batch: Batch) -> None:
        if channel.retain:
            self._agent.gate.send("decision", told.topic, b"", batch, retain=True)

    # ---- as time goes by -----------------------------------------------------------------------------------

    def due(self, now_ms: int) -> bool:
        """Whether a tick now would do anything that later decisions depend on."""
        return bool(self._live) and not 0 < self._look_ms - now_ms <= DELIVERY_LOOK_MS

    def tick(self, batch: Batch, *, looked: bool = False) -> None:
        """Deliver what has come due, take back what has lost its reason, end what is over, try letters again.

        Args:
            looked: a replay follows an agent that looked now, whenever it had looked before: it may have restarted.
        """
        now_ms = batch.now_ms
        if looked or self.due(now_ms):
            for one in sorted(self._live.values(), key=lambda one: (-one.rank, one.expires_ms, one.word.id)):
                if one.word.id in self._live:  # not taken back by one before it
                    self._look(one, batch)
            times = [at for one in self._live.values() for at in _times(one) if at > now_ms]
            self._look_ms = min([now_ms + DELIVERY_LOOK_MS, *times])
        self.letters.pump(batch)

    def _look(self, one: Delivery, batch: Batch) -> None:
        route, now_ms = self._routes[one.word.placement], batch.now_ms
        if not one.told and one.expires_ms <= now_ms:
            self._agent.count("expired.waiting")
            self._end(one, "expired before it could be delivered", batch)
        elif one.until_ms <= now_ms or one.made_ms > now_ms + FUTURE_MS_MAX:
            self._end(one, "its time is over", batch)
        elif not self._agent.consents.all_allowed(route.placement.purposes, one.word.subject):
            self._retract(one, "consent was withdrawn", batch)
        elif not self.openings.has_reason(route, one.person, one.word.items[0], now_ms):
            self._retract(one, "it lost its reason", batch)
        elif not one.told and one.due_ms <= now_ms:
            said = self._carry(one, route, OWN_TOPIC, batch)
            if one.told:
                self._agent.count("delivered.later")
                self._touched(one, batch)
            else:
                shut = "; ".join(f"{each.channel}: {each.reason}" for each in said)
                one.note(now_ms, f"waits, for no channel is open ({shut})")
            self._store(one, batch)

    def _touched(self, one: Delivery, batch: Batch) -> None:
        """Something may come of a message from when it is delivered, not from when it was decided."""
        agent = self._agent
        kept = self._trail(one.word.id) if agent.outcomes is not None else None
        if kept is None or agent.outcomes is None:
            return
        channel = "+".join(told.channel for told in one.told)
        trail = msgspec.structs.replace(kept, decided_ms=batch.now_ms, channel=channel)
        state = agent.profile_of(trail.subject)
        occasion = occasion_of(agent, trail.subject, state, trail.fields, batch.now_ms, batch)
        agent.outcomes.decided(trail, occasion, batch)

    def hear(self, event: Minimised, retention_ms: int, batch: Batch) -> None:
        """What an event says of reasons and of times not to disturb."""
        if not self.openings.hear(event.subject, event.fields, event.event_time_ms, retention_ms, batch):
            return
        about = self._agent.people.person(event.subject, batch.now_ms)
        for one in list(self._live.values()):
            route = self._routes[one.word.placement]
            if route.holds is None or (event.subject != HOUSEHOLD and one.person != about):
                continue
            if one.word.id in self._live and not self.openings.has_reason(
                route, one.person, one.word.items[0], batch.now_ms
            ):
                self._retract(one, "it lost its reason", batch)

    def consent_changed(self, subject: str, batch: Batch) -> None:
        """A person's word has changed: what may no longer be said is taken back."""
        if not self._agent.consents.granted(subject):
            self.openings.forget(subject, batch)
        for one in list(self._live.values()):
            purposes = self._routes[one.word.placement].placement.purposes
            allowed = self._agent.consents.all_allowed(purposes, subject)
            if one.word.subject == subject and one.word.id in self._live and not allowed:
                self._retract(one, "consent was withdrawn", batch)

    # ---- keeping -------------------------------------------------------------------------------------------

    def note(self, decision: str, text: str, batch: Batch) -> None:
        """Remember what became of a decision, whether it still stands or not."""
        one = self._live.get(decision)
        if one is not None:
            one.note(batch.now_ms, text)
            self._store(one, batch)
            return
        packed = self._agent.doors.recall("delivered", decision)
        notes = deliveries.unpack_notes(packed) if packed else []
        notes = [*notes[-(deliveries.NOTES_MAX - 1) :], (batch.now_ms, text)]
        batch.put("delivered", decision, deliveries.pack(notes), batch.now_ms + self._agent.retention_ms)

    def _hold(self, one: Delivery) -> None:
        """Take a message among those that wait or stand; rows come back after a restart in no order of time."""
        self._live[one.word.id] = one
        before = self._live.get(self._standing.get((one.person, one.theme), ""))
        if not one.of and (before is None or before.made_ms <= one.made_ms):
            self._standing[one.person, one.theme] = one.word.id
        for told in one.told:
            channel = self._channels.get(told.channel)
            shown = self._live.get(self._shown.get(told.channel, ""))
            if channel is not None and channel.exclusive and (shown is None or _told_ms(shown, channel) <= told.at_ms):
                self._shown[channel.name] = one.word.id
        self._look_ms = min([self._look_ms, *_times(one)])

    def _store(self, one: Delivery, batch: Batch) -> None:
        batch.touch("delivery", one.word.id, lambda: deliveries.pack(one), one.until_ms + DAY_MS)

    def _end(self, one: Delivery, why: str, batch: Batch) -> None:
        """Nothing more can come of it; what was done is kept for `edge-agent explain`."""
        if why:
            one.note(batch.now_ms, why)
            for told in one.told:
                channel = self._channels.get(told.channel)
                if channel is not None and channel.adapter == "mqtt":
                    self._clear(told, channel, batch)
        if not one.told:
            self._unseen(one, batch)
        del self._live[one.word.id]
        if self._standing.get((one.person, one.theme)) == one.word.id:
            del self._standing[one.person, one.theme]
        for name in [name for name, shown in self._shown.items() if shown == one.word.id]:
            del self._shown[name]
        batch.drop("delivery", one.word.id)
        batch.put("delivered", one.word.id, deliveries.pack(one.notes), batch.now_ms + one.kept_ms)

    def _unseen(self, one: Delivery, batch: Batch) -> None:
        """Nobody saw it, so nobody's silence says anything of it: its policy waits for no outcome any more."""
        trail, place = self._trail(one.word.id), self._agent.placements[one.word.placement]
        if trail is not None and trail.waits:
            for item in trail.items:
                place.exploring.settles(trail, item, batch)

    def _trail(self, identity: str) -> Trail | None:
        packed = self._agent.recent.get(identity) or self._agent.doors.recall("decision", identity)
        return decision.unpack(packed) if packed is not None else None

    def _bound(self, batch: Batch) -> None:
        """A few more than needed go at once, so that it is done rarely."""
        over = len(self._live) - DELIVERIES_MAX
        if over <= 0:
            return
        ranked = sorted(self._live.values(), key=lambda one: (one.rank, one.until_ms, one.word.id))
        for least in ranked[: over + DELIVERIES_MAX // EVICTED_SHARE]:
            self._agent.count("dropped.crowded")
            self._end(least, f"let go: {DELIVERIES_MAX} others wait or stand", batch)


def _times(one: Delivery) -> tuple[int, ...]:
    """When something may come of it by itself, unix ms."""
    return (one.until_ms,) if one.told else (one.due_ms, one.expires_ms, one.until_ms)


def _told_ms(one: Delivery, channel: Channel) -> int:
    return max((told.at_ms for told in one.told if told.channel == channel.name), default=0)


def _as_it_stands(trail: Trail, standing: Delivery) -> Trail | None:
    """The same choice, in its order; None where this placement may not make it."""
    items = tuple(item for item in standing.word.items if item in trail.items)
    if not items or set(trail.items) - set(items):
        return None
    # Given what stands there was nothing to choose: evaluation must not take it for the policy's own draw.
    sure = (1.0,) * len(trail.propensities)
    return msgspec.structs.replace(trail, items=items, propensity=1.0, propensities=sure)
