"""Decisions: consent, caps and quiet hours; then the choice; then the way out."""

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.batch import Batch
from edge_agent.closing import close_due
from edge_agent.decide import channel, decision, moment
from edge_agent.decide.decision import Trail
from edge_agent.effects import Append
from edge_agent.errors import RequestInvalid
from edge_agent.gate import Reply
from edge_agent.happenings import Message
from edge_agent.infer.model import Array, LoadedModel
from edge_agent.limits import CAPS_MS, EVICTED_SHARE, ID_MAX, RECENT_DECISIONS_MAX, SUBJECTS_MAX
from edge_agent.memory.profile import Profile
from edge_agent.memory.values import before
from edge_agent.observing import expose
from edge_agent.placements import CompiledPlacement, Occasion
from edge_agent.sources import HOUSEHOLD
from edge_agent.wire import is_json, read_word
from edge_agent.withheld import suppress
from firmware_configs import messages
from firmware_configs.topics import topic_fault
from models.spec import ItemSequence, OthersPresent

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.caches import Caches
    from edge_agent.switching import Switches

F32 = NDArray[np.float32]


def occasion_of(
    agent: "Agent",
    subject: str,
    state: Profile,
    fields: Mapping[str, float | str | bool],
    event_time_ms: int,
    batch: Batch,
) -> Occasion:
    held: dict[tuple[str, str], dict[str, F32]] = {}
    kin: tuple[str, ...] = ()
    if agent.people.merges:
        kin = agent.people.subjects(subject, batch.now_ms)
        state = agent.people.view(agent, subject, state, batch.now_ms)

    def others(spec: OthersPresent) -> float:
        return agent.presence.others(subject, event_time_ms, int(spec.window_s * 1_000), spec.most, kin)

    def read(model: LoadedModel, known: Profile) -> dict[str, F32]:
        local = agent.doors.local_hour(event_time_ms)
        return {
            given.name: agent.features.row(given, known, event_time_ms, local, others)
            for given in model.spec.inputs
            if given.from_ == "features"
        }

    def rows(model: LoadedModel) -> dict[str, F32]:
        key = (model.name, model.version)
        if key not in held:
            held[key] = read(model, state)
        return held[key]

    def rows_before(model: LoadedModel, item_field: str) -> dict[str, F32]:
        features = (feature for given in model.spec.inputs for feature in given.features)
        if any(isinstance(feature, ItemSequence) and feature.field == item_field for feature in features):
            return read(model, before(state, item_field, event_time_ms))
        return rows(model)

    def personal(model: LoadedModel) -> Mapping[str, Array]:
        return agent.control.personal(model, subject)

    return Occasion(
        event_id="",
        trigger="",
        subject=subject,
        fields=fields,
        event_time_ms=event_time_ms,
        now_ms=batch.now_ms,
        session=state.session(event_time_ms),
        rows=rows,
        rows_before=rows_before,
        personal=personal,
        settled_ms=batch.settled_ms,
        person=agent.people.person(subject, batch.now_ms),
    )


def decide(
    agent: "Agent",
    place: CompiledPlacement,
    occasion: Occasion,
    reply: Reply,
    retention_ms: int,
    batch: Batch,
) -> None:
    """Consent, caps and quiet hours; then the choice; then the way out."""
    placement, now = place.placement, batch.now_ms
    if not agent.consents.all_allowed(placement.purposes, occasion.subject):
        suppress(agent, place.name, occasion, "consent", "", batch)
        return
    if agent.reach is not None and placement.delivery is not None:
        agent.reach.decide(place, occasion, reply, retention_ms, batch)
        return
    if moment.quiet(placement.quiet_hours, agent.doors.local_hour(now)[0]):
        suppress(agent, place.name, occasion, "quiet-hours", "", batch)
        return
    if placement.cap and channel.capped(_times(agent, place, occasion.person, now), placement.cap, now) is not None:
        suppress(agent, place.name, occasion, "cap", "", batch)
        return
    trail = choose(agent, place, occasion, batch)
    if trail is None:
        return
    if placement.cap:
        key = f"{place.name}\x00{occasion.person}"
        agent.histories.replace(key, channel.remember(agent.histories.get(key), now))
        batch.touch("caps", key, lambda: msgspec.msgpack.encode(agent.histories.get(key)), now + CAPS_MS)
    trail = keep(agent, place, trail, retention_ms, batch)
    left = agent.gate.decision(trail, placement, reply, batch)
    agent.doors.timings.lap("enter")
    if left and agent.outcomes is not None:
        agent.outcomes.decided(trail, occasion, batch)
    if placement.actuator and agent.switches is not None:
        agent.switches.switch(place, trail, batch)


def _times(agent: "Agent", place: CompiledPlacement, person: str, now_ms: int) -> list[int]:
    """When a person was decided for, whichever of their subjects it was kept under, unix ms, oldest first."""
    subjects = agent.people.subjects(person, now_ms)
    if len(subjects) == 1:
        return agent.histories.get(f"{place.name}\x00{person}")
    return sorted(at for subject in subjects for at in agent.histories.get(f"{place.name}\x00{subject}"))


def choose(agent: "Agent", place: CompiledPlacement, occasion: Occasion, batch: Batch) -> Trail | None:
    """What the placement decides; nothing of it is kept yet."""
    close_due(agent, place, batch)
    newest = agent.newest.get(f"{place.name}\x00{occasion.subject}")
    fresh = newest is not None and abs(batch.now_ms - newest[1]) < place.placement.expiry_s * 1_000
    occasion.cached = newest[0] if newest and fresh else None
    if agent.caches is not None:
        agent.caches.offer(place, occasion)
    trail = place.decide(occasion)
    if trail is None:
        suppress(agent, place.name, occasion, "stop" if occasion.stopped else "nothing", occasion.why_not, batch)
    return trail


def keep(agent: "Agent", place: CompiledPlacement, trail: Trail, retention_ms: int, batch: Batch) -> Trail:
    """Count and keep what was decided; returns the trail as it is kept."""
    if kin := agent.people.marks(trail.subject, batch.now_ms):
        trail = msgspec.structs.replace(trail, kin=kin)
    agent.count("decisions")
    place.rungs[trail.fallback] = place.rungs.get(trail.fallback, 0) + 1
    place.exploring.decided(trail, batch)
    if trail.fallback:
        agent.count(f"fallback.{trail.fallback}")
    else:
        _remember_newest(agent, f"{place.name}\x00{trail.subject}", trail.items[0], batch.now_ms)
        if place.placement.no_outcome is not None:
            waits = place.exploring.wait(trail.id, trail.items, batch)
            trail = msgspec.structs.replace(trail, waits=waits, silence=place.placement.no_outcome)
    if agent.caches is not None:
        agent.caches.decided(place, trail, retention_ms, batch)
    _keep_decision(agent, trail, retention_ms, batch)
    expose(agent, trail, batch)
    if agent.drift is not None:
        agent.drift.decided(trail, batch)
    agent.doors.timings.decided(trail)
    agent.doors.timings.lap("keep")
    return trail


def caches_of(agent: "Agent") -> "Caches | None":
    """Standing choices and popular items; None, and nothing is loaded, where no placement asks for them."""
    if not any(place.stability is not None or place.popular is not None for place in agent.profile.placement):
        return None
    from edge_agent.caches import Caches

    return Caches(agent)


def switches_of(agent: "Agent") -> "Switches | None":
    """The actuators; None, and nothing is loaded, where the profile has none."""
    if not agent.profile.actuator:
        return None
    from edge_agent.switching import Switches

    return Switches(agent, agent.profile)


def _remember_newest(agent: "Agent", key: str, item: str, now_ms: int) -> None:
    agent.newest.pop(key, None)
    agent.newest[key] = (item, now_ms)
    if len(agent.newest) > SUBJECTS_MAX:
        for oldest in list(islice(agent.newest, SUBJECTS_MAX // EVICTED_SHARE)):
            del agent.newest[oldest]


def _keep_decision(agent: "Agent", trail: Trail, retention_ms: int, batch: Batch) -> None:
    packed = decision.pack(trail)
    agent.recent[trail.id] = packed
    if len(agent.recent) > RECENT_DECISIONS_MAX:
        for oldest in list(islice(agent.recent, RECENT_DECISIONS_MAX // EVICTED_SHARE)):
            del agent.recent[oldest]
    batch.append(
        Append(
            shelf="decision",
            id=trail.id,
            group=trail.placement,
            value=packed,
            made_ms=batch.now_ms,
            expires_ms=batch.now_ms + retention_ms,
            subject=trail.subject,
        )
    )


def on_request(agent: "Agent", place: CompiledPlacement, message: Message, batch: Batch) -> None:
    """Request/response: the decision goes to the topic that the request names."""
    agent.count("requests")
    request = read_word(message, messages.Request, RequestInvalid)
    reply = _reply(message, request)
    subject = request.subject or HOUSEHOLD
    if len(subject) > ID_MAX or "\x00" in subject:
        raise RequestInvalid("the subject is too long", hint=f"at most {ID_MAX} characters")
    granted = agent.consents.served(subject)
    fields = {
        name: value
        for source in agent.sources.values()
        for name, value in source.minimiser.context(request.fields, granted, batch.now_ms).items()
    }
    state = agent.profile_of(subject)
    event_time = max(state.newest_ms, message.arrived_ms) if state.newest_ms else message.arrived_ms
    occasion = occasion_of(agent, subject, state, fields, event_time, batch)
    token = message.correlation.hex() or request.correlation or str(message.arrived_ms)
    occasion.event_id, occasion.trigger = f"request:{place.name}:{subject}:{token}", "request"
    occasion.items, occasion.traceparent = request.items, message.traceparent
    agent.doors.timings.lap("intake")
    decide(agent, place, occasion, reply, agent.retention_ms, batch)


def _reply(message: Message, request: messages.Request) -> Reply:
    """Where the answer goes, and how.

    Raises:
        RequestInvalid: nobody could publish there; said now, for the line could not.
    """
    topic = message.response_topic or request.reply_to
    if fault := topic_fault(topic) if topic else "":
        raise RequestInvalid(f"no answer can go to the reply topic: {fault}", hint="name a plain topic")
    if len(request.correlation) > ID_MAX:
        raise RequestInvalid("the correlation is too long", hint=f"at most {ID_MAX} characters")
    if message.response_topic:
        return Reply(topic=topic, data=message.correlation, correlation=request.correlation)
    return Reply(topic=topic, correlation=request.correlation, as_json=bool(request.reply_to) and is_json(message))
