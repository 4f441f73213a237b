"""The agent: a value that steps. The only place that knows the order of the rooms. No I/O, no clock."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from edge_agent.alerts import Alerts, declared_in
from edge_agent.attending import attend
from edge_agent.batch import Batch
from edge_agent.closing import close_due
from edge_agent.consenting import on_consent, on_objection
from edge_agent.control import Control
from edge_agent.deciding import caches_of, decide, occasion_of, on_request, switches_of
from edge_agent.doors import Doors
from edge_agent.effects import Effect, Room
from edge_agent.errors import ControlInvalid, IntakeError, TopicUnknown
from edge_agent.gate import OWN_TOPIC, Figures, Gate
from edge_agent.happenings import (
    Allocated,
    Answered,
    BundleReady,
    BundleStaged,
    BundleWithdrawn,
    Connected,
    Delivered,
    Happening,
    Learned,
    Message,
    PeopleAsked,
    Posted,
    Recorded,
    Tick,
)
from edge_agent.intake import retained
from edge_agent.intake.dedupe import Dedupe
from edge_agent.intake.minimise import Minimised, again
from edge_agent.intake.retained import Retained
from edge_agent.intake.topic import Topics
from edge_agent.intake.watermark import Combined
from edge_agent.learning import learn_from, on_feedback, outcomes_of
from edge_agent.limits import (
    CAPS_MS,
    DAY_MS,
    DEDUPE_MAX,
    DEDUPE_MS,
    MIB,
    PRESENT_MAX,
    PROFILES_MIN,
    PROFILES_OPEN_MAX,
    PROFILES_OPEN_SHARE,
    PROFILES_SHARE,
    SUBJECTS_MAX,
    SWEEP_EVERY_MS,
    TOPIC_CACHE_MAX,
)
from edge_agent.memory import profile as profiles
from edge_agent.memory import profile_v1
from edge_agent.memory.consent import Consents
from edge_agent.memory.features import Features
from edge_agent.memory.layout import Layouts
from edge_agent.memory.presence import Presence
from edge_agent.memory.profile import Profile
from edge_agent.memory.subjects import Folded, Kept
from edge_agent.objectives import objectives_of
from edge_agent.observing import allocate, experiments_of
from edge_agent.people import people_of
from edge_agent.placements import CompiledPlacement, Occasion
from edge_agent.restoring import restore
from edge_agent.sources import HOUSEHOLD, CompiledSource
from edge_agent.trials import Trials
from edge_agent.wire import read_word
from edge_agent.withheld import WithheldLog
from firmware_configs import messages
from firmware_configs.loader import Loaded
from firmware_configs.profile import Learn, Model

if TYPE_CHECKING:
    from edge_agent.drift import Drift
    from edge_agent.reaching import Reach

_times_decoder = msgspec.msgpack.Decoder(list[int])


class Agent:
    """One device's agent. `step` advances it; between steps it is only data."""

    def __init__(self, loaded: Loaded, device: str, doors: Doors, *, record: bool = False) -> None:
        """Compile the profile.

        Args:
            loaded: the profile and its hash.
            device: this device's id.
            doors: what may be asked of the world.
            record: keep a journal of minimised events, for `edge-agent replay`.
        """
        profile = loaded.profile
        self.profile, self.profile_hash, self.device, self.doors, self.record = (
            profile,
            loaded.hash,
            device,
            doors,
            record,
        )
        self.counters: dict[str, int] = {}
        self.consents = Consents(profile.purpose)
        self.people = people_of(self)
        self.dedupe = Dedupe(DEDUPE_MS, DEDUPE_MAX)
        self.retained = Retained(TOPIC_CACHE_MAX)
        self.sources = {
            s.name: CompiledSource(s, profile.retention, self.consents.asked, doors.secret) for s in profile.source
        }
        self.trials = Trials(profile.model, doors)
        self.combined = Combined(source.watermark for source in self.sources.values())
        self.gate = Gate(
            profile, loaded.hash, device, self.counters, self._figures, doors.timings, doors.home_assistant
        )
        self.alerts = Alerts(device, self.gate, self.counters, declared_in(profile))
        self.placements = {
            p.name: CompiledPlacement(p, loaded.hash, doors, self.trials, profile.experiments)
            for p in profile.placement
        }
        self.control = Control(profile, device, doors, self.gate, self.consents, self.trials, self.counters)
        self.topics = Topics(
            [(s.topic.replace("{device}", device), s.name) for s in profile.source],
            list(self.placements),
            messages.Topics(device).of().rstrip("/"),
            TOPIC_CACHE_MAX,
        )
        self.by_source = {name: [p for p in self.placements.values() if p.source == name] for name in self.sources}
        self.learns: dict[str, list[tuple[Model, Learn]]] = {
            name: [(m, entry) for m in profile.model for entry in m.learn if entry.source == name]
            for name in self.sources
        }
        self.actuators = {actuator.name: actuator for actuator in profile.actuator}
        periods = [r.days * DAY_MS for r in profile.retention.values()]
        self.retention_ms = int(min(periods))
        self.longest_ms = int(max(DEDUPE_MS, CAPS_MS, *periods))  # the sweep lets nothing that has an end live longer
        self.recent: dict[str, bytes] = {}
        self.newest: dict[str, tuple[str, int]] = {}
        self.withheld = WithheldLog(doors.recall)
        self.switches, self.caches = switches_of(self), caches_of(self)
        self.swept_ms = 0
        self.journalled = 0
        self.counted: dict[str, int] = {}
        self._hold_states(doors)
        self.layouts = Layouts()
        self.features = Features([], self.layouts)
        self.presence = Presence(PRESENT_MAX)
        self.outcomes = outcomes_of(self)
        self.models_changed()
        self.experiments = experiments_of(self)
        self.reach = self._reach()
        self.objectives = objectives_of(self)
        self.drift = self._drift()

    def _reach(self) -> "Reach | None":
        """What most devices need not, for they decide at once and on one topic."""
        if all(place.delivery is None for place in self.profile.placement):
            return None
        from edge_agent.reaching import Reach

        return Reach(self)

    def _drift(self) -> "Drift | None":
        """Nothing is loaded where the profile watches nothing."""
        if not self.profile.drift:
            return None
        from edge_agent.drift import Drift

        return Drift(self, self.profile.drift)

    def _figures(self, now_ms: int) -> Figures:
        return Figures(*self.doors.lags(), self.combined.at(now_ms), self.doors.seal())

    def _hold_states(self, doors: Doors) -> None:
        self.profiles: Folded[Profile] = Folded(
            lambda key: doors.recall("profile", key),
            profiles.pack,
            self._unpacked,
            lambda: Profile(self.layouts.now),
            profiles.FOLDED_BYTES,
        )
        self.histories: Kept[list[int]] = Kept(
            lambda key: doors.recall("caps", key), _times_decoder.decode, list, SUBJECTS_MAX
        )

    def _unpacked(self, packed: bytes) -> Profile:
        try:
            if profile_v1.is_one(packed):
                return profile_v1.read(packed, self.layouts, self.features.words)
            return profiles.unpack(packed, self.layouts)
        except msgspec.MsgspecError:
            self.count("profiles.unreadable")
            return Profile(self.layouts.now)

    def profile_of(self, subject: str) -> Profile:
        """A subject's profile, as the active bundles need it."""
        state = self.profiles.get(subject)
        if state.layout is not self.layouts.now:
            state.fit(self.layouts)
        return state

    def trim(self) -> None:
        """Between steps: let go of hot state that was not needed lately."""
        self.profiles.trim()
        self.histories.trim()
        self.control.trim()
        for place in self.placements.values():
            place.exploring.trim()
        if self.outcomes is not None:
            self.outcomes.trim()
        if self.reach is not None:
            self.reach.trim()

    def journal(self, happening: Happening, batch: Batch) -> None:
        """Keep a happening that is no event for replay, under a number that is unique within this run of the agent."""
        self.journalled += 1
        batch.journal(happening, f"{batch.now_ms}-{self.journalled}", "", "", self.retention_ms)

    def count(self, name: str, more: int = 1) -> None:
        """One more of something, for status."""
        self.counters[name] = self.counters.get(name, 0) + more

    def models_changed(self) -> None:
        """Compile the features that the bundles need which are active or on trial."""
        pairs = [
            (given, model.index)
            for model in (*self.doors.models.values(), *self.doors.trials.values())
            for given in model.spec.inputs
            if given.from_ == "features"
        ]
        catalogues = {id(given): index for given, index in pairs}
        device_class = self.profile.device.class_
        self.features = Features((given for given, _ in pairs), self.layouts, catalogues, device_class)
        budget = self.profile.device.memory_mib_max * MIB * PROFILES_SHARE
        open_most = int(budget * PROFILES_OPEN_SHARE / self.features.profile_bytes)
        self.profiles.limit(
            int(budget * (1.0 - PROFILES_OPEN_SHARE)), max(PROFILES_MIN, min(PROFILES_OPEN_MAX, open_most))
        )

    def restore(self, rows: Iterable[tuple[Room, str, bytes, int]], now_ms: int) -> None:
        """Take up the committed state again.

        Args:
            rows: (room, key, value, expiry) of the rooms `dedupe`, `watermark`, `consent`, `identity`, `meta`, and of
                `ledger` the rows of the last day (at least the newest), in the order of their keys. Other rooms are
                recalled when they are needed.
        """
        restore(self, rows, now_ms)


def step(agent: Agent, happenings: Sequence[Happening], now_ms: int, settled_ms: int | None = None) -> list[Effect]:
    """Advance the agent by a batch of happenings: one transaction.

    Args:
        happenings: in the order in which they came.
        now_ms: wall clock, unix ms.
        settled_ms: the time by which things expire, unix ms; None: `now_ms`. It does not follow a clock that leaps.
    Returns:
        What is to be stored and done, in order. Pure but for `agent`.
    """
    batch = _begin(agent, now_ms, settled_ms)
    for happening in happenings:
        if agent.record and _is_replayed(agent, happening):
            agent.journal(happening, batch)
        match happening:
            case Message():
                _on_message(agent, happening, batch)
            case Recorded():
                _on_recorded(agent, happening, batch)
            case Tick():
                _on_tick(agent, happening, batch)
            case Connected():
                agent.control.connected(batch)
            case Delivered():
                pass
            case Allocated() | Posted() | Answered() | PeopleAsked():
                _hear(agent, happening, batch)
            case _:
                if agent.control.hear(happening, batch):
                    agent.models_changed()
                    if isinstance(happening, BundleReady) and not happening.base:
                        # Loaded at a start, when nothing is remembered yet; a replay of several starts forgets here.
                        agent.newest.clear()
    if agent.trials.running:
        agent.control.settle(batch)
    return batch.close()


def _hear(agent: Agent, news: Allocated | Posted | Answered | PeopleAsked, batch: Batch) -> None:
    """News of experiments, of messages on their way, and of who is who."""
    if isinstance(news, Allocated):
        allocate(agent, news, batch)
    elif isinstance(news, PeopleAsked):
        agent.people.asked(news, batch)
    elif agent.reach is not None:
        agent.reach.heard(news, batch)


def _begin(agent: Agent, now_ms: int, settled_ms: int | None) -> Batch:
    """Between steps: what was not needed lately may go, for all that was changed is stored."""
    agent.trim()
    batch = Batch(now_ms, now_ms if settled_ms is None else settled_ms)
    if agent.experiments is not None:
        agent.experiments.begin(batch)
    return batch


def _is_replayed(agent: Agent, happening: Happening) -> bool:
    """What changes later decisions besides events, which are kept minimised: outcomes, consent, bundles, learning."""
    if isinstance(happening, Message):
        route = agent.topics.route(happening.topic)
        return route is not None and route.door in {"feedback", "consent"}
    return isinstance(happening, BundleReady | BundleStaged | BundleWithdrawn | Learned | PeopleAsked)


def _on_message(agent: Agent, message: Message, batch: Batch) -> None:
    agent.doors.timings.begin(message.traceparent)
    source = ""
    try:
        route = agent.topics.route(message.topic)
        if route is None:
            raise TopicUnknown("no source of the profile has this topic", hint="add a [[source]], or unsubscribe")
        source = route.name if route.door in {"event", "request"} else route.door
        match route.door:
            case "event":
                _on_event(agent, agent.sources[route.name], message, batch)
            case "request":
                on_request(agent, agent.placements[route.name], message, batch)
            case "feedback":
                on_feedback(agent, message, batch)
            case "consent":
                on_consent(agent, route.name, message, batch)
            case "desired":
                word = read_word(message, messages.Desired, ControlInvalid)
                holds = agent.control.desired(word, batch)
                if holds and agent.experiments is not None and word.experiments:
                    agent.experiments.allocate(word.experiments, batch)
    except IntakeError as error:
        agent.gate.reject(error, source, batch)


def _on_event(agent: Agent, source: CompiledSource, message: Message, batch: Batch) -> None:
    agent.count("events")
    event, believed = source.read(
        message, agent.consents, lambda subject, at_ms: on_objection(agent, subject, at_ms, batch)
    )
    if not believed:
        agent.count("clock.implausible")
        agent.count(f"clock.implausible.{source.name}")
    if event is None:
        agent.count("dropped.consent")
        return
    if not _is_new(agent, source, event, message, batch):
        agent.count("duplicates")
        return
    if source.watermark.is_late(event.event_time_ms, batch.now_ms):
        agent.count("late")
        agent.count(f"late.{source.name}")
        if source.late == "drop":
            return
        if source.late == "side":
            agent.gate.late(event, batch)
            return
    _take(agent, source, event, message.traceparent, batch)


def _is_new(agent: Agent, source: CompiledSource, event: Minimised, message: Message, batch: Batch) -> bool:
    """Whether the event was not taken before; from now on it was."""
    key, repeatable = source.sighting(event, message)
    again = not agent.dedupe.first(key, batch.now_ms, batch.settled_ms) and repeatable
    if message.retain or not source.named or agent.retained.knows(message.topic):
        identity = source.identity(event, message)
        again = again or (message.retain and agent.retained.again(message.topic, identity))
        row, gone = agent.retained.take(message.topic, identity, retained=message.retain)
        if row is not None:
            batch.put("meta", retained.PREFIX + message.topic, row)
        if gone:
            batch.drop("meta", retained.PREFIX + gone)
    if not again:
        batch.put("dedupe", key, b"", batch.now_ms + DEDUPE_MS)
    return not again


def _on_recorded(agent: Agent, recorded: Recorded, batch: Batch) -> None:
    event = again(recorded.source, recorded.event_id, recorded.event_time_ms, recorded.subject, recorded.fields)
    agent.dedupe.first(event.event_id, batch.now_ms, batch.settled_ms)
    _take(agent, agent.sources[recorded.source], event, recorded.traceparent, batch)


def _take(agent: Agent, source: CompiledSource, event: Minimised, traceparent: str, batch: Batch) -> None:
    """A minimised event becomes memory, examples and decisions."""
    now, timings = batch.now_ms, agent.doors.timings
    timings.lap("intake")
    if source.watermark.advance(event.event_time_ms, now):
        batch.touch("watermark", source.name, lambda: str(source.watermark.newest_ms).encode())
    state = agent.profile_of(event.subject)
    if not agent.layouts.is_stored:
        agent.layouts.is_stored = True
        batch.put("meta", f"layout:{agent.layouts.now.generation}", agent.layouts.now.pack())
    state.take(event, agent.features, source.session_gap_ms, now)
    batch.touch("profile", event.subject, lambda: agent.profiles.fold(event.subject), now + source.retention_ms)
    if agent.features.others_ms and event.subject != HOUSEHOLD:
        attend(agent, event, batch)
    if agent.switches is not None and agent.switches.reads:
        agent.switches.hear(event.fields, event.event_time_ms, batch)
    if agent.people.watches:
        agent.people.observe(agent, event, batch)
    if agent.record:
        _journal(event, traceparent, source, batch)
    if agent.reach is not None:
        agent.reach.hear(event, source.retention_ms, batch)
    occasion = occasion_of(agent, event.subject, state, event.fields, event.event_time_ms, batch)
    occasion.event_id, occasion.trigger, occasion.traceparent = event.event_id, source.name, traceparent
    _teach(agent, event, occasion, batch)
    timings.lap("memory")
    for place in agent.by_source[source.name]:
        if place.triggered(occasion):
            decide(agent, place, occasion, OWN_TOPIC, source.retention_ms, batch)


def _teach(agent: Agent, event: Minimised, occasion: Occasion, batch: Batch) -> None:
    """What an event teaches, besides what is remembered of it."""
    for model, learn in agent.learns[event.source]:
        learn_from(agent, model, learn, event, occasion, batch)
    if agent.outcomes is not None:
        agent.outcomes.take(event, occasion.person, batch)
    if agent.drift is not None:
        agent.drift.event(event.source, event.fields, batch)


def _on_tick(agent: Agent, tick: Tick, batch: Batch) -> None:
    agent.doors.timings.begin("")  # what is credited now belongs to no message
    by_ms = tick.settled_ms or batch.settled_ms
    for place in agent.placements.values():
        close_due(agent, place, batch)
    if agent.reach is not None:
        if agent.record and agent.reach.due(batch.now_ms):
            looked = Tick(settled_ms=by_ms, looked=True)
            agent.journal(looked, batch)
        agent.reach.tick(batch, looked=tick.looked)
    if agent.outcomes is not None and agent.outcomes.close(by_ms, batch) and agent.record:
        # Windows that close change sums and experiments: a replay closes them at the same place.
        closed = Tick(settled_ms=by_ms)
        agent.journal(closed, batch)
    if agent.counters != agent.counted:
        # Once a tick, not with every event: a crash forgets what was counted since, and nothing else.
        agent.counted = dict(agent.counters)
        batch.put("meta", "counters", msgspec.msgpack.encode(agent.counted))
    agent.withheld.keep(agent.retention_ms, batch)
    agent.control.tick(batch)
    agent.alerts.tick(batch)
    if agent.objectives is not None:
        agent.objectives.tick(batch)
    if agent.drift is not None:
        agent.drift.tick(batch)
    if agent.experiments is not None:
        agent.experiments.tick(batch)
    if not 0 <= batch.now_ms - agent.swept_ms < SWEEP_EVERY_MS:
        agent.swept_ms = batch.now_ms
        agent.dedupe.sweep(batch.settled_ms)
        agent.control.status(batch)
    else:
        agent.control.tell_growth(batch)


def _journal(event: Minimised, traceparent: str, source: CompiledSource, batch: Batch) -> None:
    recorded = Recorded(
        source=event.source,
        event_id=event.event_id,
        event_time_ms=event.event_time_ms,
        subject=event.subject,
        fields=event.fields,
        traceparent=traceparent,
    )
    batch.journal(recorded, event.event_id, event.source, event.subject, source.retention_ms)
