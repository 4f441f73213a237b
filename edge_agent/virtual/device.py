"""One virtual device: the real agent, what it has stored, and the hands that perform its effects.

What a real device keeps in its database is a dictionary here, packed while nothing happens to it; taking it up again is
what an agent does at a start. Nothing is measured by a clock: calls of models take no time, and budgets never run out.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors, utc
from edge_agent.effects import (
    Answer,
    Append,
    Drop,
    Effect,
    Erase,
    Fetch,
    Put,
    Send,
    Switch,
    Train,
)
from edge_agent.happenings import (
    BundleReady,
    BundleStaged,
    BundleWithdrawn,
    Connected,
    Happening,
    Message,
    Tick,
)
from edge_agent.infer.model import LoadedModel
from edge_agent.learn.checkin import Readings
from edge_agent.limits import DAY_MS
from edge_agent.sources import HOUSEHOLD
from edge_agent.trials import key_of, unpack
from edge_agent.virtual.counts import Counts
from edge_agent.virtual.day import ANSWER, SECRET, Person, Surroundings, dice
from firmware_configs.ledger import unpack as unpack_row
from firmware_configs.loader import Loaded
from firmware_configs.messages import JSON, MSGPACK, Consent, DecisionMade, Feedback, Topics

FETCHED = "fetched"
"""In place of a topic: a bundle is here."""
RESTORED = ("consent", "dedupe", "due", "identity", "meta", "watermark", "delivery", "letter")
READY = Readings(mains=True, metered=False, load=0.0)
"""What a virtual device knows of itself whenever it is online."""
_made = msgspec.msgpack.Decoder(DecisionMade)
_word = msgspec.json.Decoder(Feedback)


class Kept(Struct, array_like=True):
    """A suspended device."""

    until_ms: int
    state: list[tuple[str, str, bytes, int]]
    examples: list[tuple[str, str, str, bytes]]
    """Bundle, id, subject, example."""
    pending: list[tuple[int, str, bytes]]
    """When, topic, payload of what is on its way."""
    decisions: dict[str, bytes]
    """Those that answers on their way are about."""
    reported: bytes


_pack, _kept = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Kept)


class Fleet:
    """What all devices of a process share."""

    def __init__(
        self,
        loaded: Loaded,
        around: Surroundings,
        load: Callable[[str, str], LoadedModel],
        size: Callable[[str, str], int],
        own: Sequence[LoadedModel],
        counts: Counts,
    ) -> None:
        """Set up.

        Args:
            load: (bundle, version) → the model, loaded once.
            size: (bundle, version) → bytes of its file.
            own: what devices run at first.
        """
        self.loaded, self.around, self.load, self.size = loaded, around, load, size
        self.own, self.counts = own, counts
        self.examples_max = {model.name: model.examples_max for model in loaded.profile.model}
        asked = [purpose.name for purpose in loaded.profile.purpose if purpose.consent == "required"]
        self.consent = dict.fromkeys(asked, True)
        self.steps = 0

    def model(self, name: str, version: str) -> LoadedModel:
        """A version that serves or may serve."""
        return next((m for m in self.own if (m.name, m.version) == (name, version)), None) or self.load(name, version)


class Device:
    """One device while something happens to it."""

    def __init__(self, fleet: Fleet, number: int, packed: bytes | None) -> None:
        """Bring it into the world, or take it up where it was suspended."""
        self.fleet, self.number, self.name = fleet, number, f"virtual-{number}"
        self._topics = Topics(self.name)
        self._events = [s.topic.replace("{device}", self.name) for s in fleet.around.sources]
        self._decided = self._topics.of("decision", f.placement) if (f := fleet.around.behaviour.feedback) else ""
        self._told, self._answers = self._topics.of("reported"), self._topics.of("feedback")
        kept = _kept.decode(packed) if packed is not None else Kept(fleet.around.start_ms, [], [], [], {}, b"")
        self.until_ms, self.reported = kept.until_ms, kept.reported
        self.state = {(room, key): (value, expires) for room, key, value, expires in kept.state}
        self._rooms = {room for room, _ in self.state}
        self.examples: dict[str, dict[str, tuple[str, bytes]]] = {}
        for bundle, identity, subject, example in kept.examples:
            self.examples.setdefault(bundle, {})[identity] = subject, example
        self._decisions = kept.decisions
        self._order = count()
        self._pending = [(at, next(self._order), topic, payload) for at, topic, payload in kept.pending]
        self.models: dict[str, LoadedModel] = {}
        self.trials: dict[str, LoadedModel] = {}
        self.people: list[Person] = fleet.around.people(number)
        self._trains: Train | None = None
        self.answers: dict[str, Answer] = {}
        self.line_bytes_s = 0.0
        self._load_models()
        self.agent = Agent(fleet.loaded, self.name, self._doors())
        if packed is None:
            self._be_born()
        else:
            self.agent.restore(self._rows(), self.until_ms)
            self.agent.models_changed()

    # ---- the world that the agent sees ---------------------------------------------------------------------

    def _doors(self) -> Doors:
        return Doors(
            secret=hashlib.blake2b(
                f"{self.fleet.around.seed}\x00{self.number}\x00{SECRET}".encode(), digest_size=32
            ).digest(),
            recall=self._recall,
            models=self.models,
            over_budget=lambda _identity, _ms: False,
            local_hour=lambda ms: utc(ms)[:2],
            trials=self.trials,
            holds=self._rooms.__contains__,
            readings=lambda: READY,
        )

    def _recall(self, where: str, key: str) -> bytes | None:
        if where == "decision":
            return self._decisions.get(key)
        row = self.state.get((where, key))
        return row[0] if row is not None else None

    def _rows(self) -> Iterator[Any]:
        """As a start reads them: rooms that are read whole, then the ledger since midnight and the row before."""
        by_room: dict[str, list[tuple[str, str]]] = {}
        for key in sorted(self.state):
            by_room.setdefault(key[0], []).append(key)
        for room in (*RESTORED, "ledger"):
            for key in by_room.get(room, ()):
                yield (*key, *self.state[key])

    def _load_models(self) -> None:
        for model in self.fleet.own:
            stored = self.state.get(("meta", f"bundle:{model.name}"))
            version = stored[0].decode() if stored is not None else model.version
            self.models[model.name] = self.fleet.model(model.name, version)
            trial = self.state.get(("meta", key_of(model.name)))
            found = unpack(trial[0]) if trial is not None else None
            if found is not None and found.stage != "full":
                self.trials[model.name] = self.fleet.model(model.name, found.version)

    def _be_born(self) -> None:
        ready: list[Happening] = [BundleReady(name=m.name, version=m.version) for m in self.models.values()]
        self.step([*ready, Connected(session_present=False)], self.until_ms)
        agreeing = [person.name for person in self.people if person.agrees]
        # For what is about nobody in particular, such as the air of a room, the first of them speaks.
        for name in [*agreeing, HOUSEHOLD] if agreeing and self.fleet.consent else []:
            word = Consent(purposes=self.fleet.consent, time_ms=self.until_ms)
            self.hear(self._topics.of("consent", name), msgspec.json.encode(word), self.until_ms, JSON)

    # ---- time ----------------------------------------------------------------------------------------------

    def live(self, until_ms: int) -> None:
        """Everything that happens before a moment, in the order in which it does."""
        if until_ms <= self.until_ms:
            return
        around, tick_ms = self.fleet.around, int(self.fleet.around.behaviour.tick_s * 1_000)
        first = around.start_ms + (1 + (self.until_ms - 1 - around.start_ms) // tick_ms) * tick_ms
        planned: list[tuple[int, int, str, bytes]] = [(at, -1, "", b"") for at in range(first, until_ms, tick_ms)]
        planned += [
            (one.at_ms, next(self._order), self._events[one.source], one.payload)
            for one in around.events(self.number, self.people, self.until_ms, until_ms)
        ]
        self._pending += planned
        heapq.heapify(self._pending)
        while self._pending and self._pending[0][0] < until_ms:
            at_ms, _, topic, payload = heapq.heappop(self._pending)
            if not topic:
                self.step([Tick()], at_ms)
            elif topic == FETCHED:
                self._arrived(msgspec.msgpack.decode(payload, type=Fetch), at_ms)
            else:
                self.hear(topic, payload, at_ms, JSON)
        self.until_ms = until_ms

    def hear(self, topic: str, payload: bytes, at_ms: int, kind: str = MSGPACK) -> None:
        """A message arrives."""
        self.step([Message(topic=topic, payload=payload, content_type=kind, arrived_ms=at_ms)], at_ms)

    def desire(self, desired: bytes, at_ms: int) -> None:
        """The coordinator's wish arrives."""
        self.hear(self._topics.of("desired"), desired, at_ms)

    def offered(self, desired: bytes, at_ms: int) -> Train | None:
        """A wish with a round in it arrives; what the agent wants to be done for it, None: nothing."""
        self._trains = None
        self.desire(desired, at_ms)
        return self._trains

    def step(self, happenings: list[Happening], at_ms: int) -> None:
        """One step of the agent and all that follows at once."""
        counters, counts = self.agent.counters, self.fleet.counts
        while happenings:
            self.fleet.steps += 1
            before = counters.get("events", 0), counters.get("dropped.consent", 0)
            news: list[Happening] = []
            for effect in step(self.agent, happenings, at_ms):
                self._perform(effect, at_ms, news)
            if (more := counters.get("events", 0) - before[0]) > 0:
                counts.add("events", at_ms, more)
                if (less := counters.get("dropped.consent", 0) - before[1]) > 0:
                    counts.add("dropped", at_ms, less)
            happenings = news

    def suspend(self) -> bytes:
        """All that a start needs, and nothing that has expired."""
        midnight_ms = self.until_ms // DAY_MS * DAY_MS
        ledger = sorted(key for key in self.state if key[0] == "ledger")
        for key, after in pairwise(ledger):
            # As at a real start: rows since midnight, and the newest before them.
            if unpack_row(self.state[after][0]).time_ms < midnight_ms:
                del self.state[key]
        asked = {_word.decode(payload).decision_id for _, _, topic, payload in self._pending if topic == self._answers}
        kept = Kept(
            self.until_ms,
            [
                (room, key, value, expires)
                for (room, key), (value, expires) in self.state.items()
                if not expires or expires > self.until_ms
            ],
            [(b, n, subject, packed) for b, own in self.examples.items() for n, (subject, packed) in own.items()],
            [(at, topic, payload) for at, _, topic, payload in sorted(self._pending)],
            {key: row for key, row in self._decisions.items() if key in asked},
            self.reported,
        )
        return _pack(kept)

    # ---- what the shell does -------------------------------------------------------------------------------

    def _perform(self, effect: Effect, at_ms: int, news: list[Happening]) -> None:
        match effect:
            case Put(room=room, key=key):
                self.state[room, key] = effect.value, effect.expires_ms
                self._rooms.add(room)
            case Drop(room=room, key=key):
                self.state.pop((room, key), None)
            case Append():
                self._append(effect, at_ms)
            case Erase(group=group, subject=subject) if effect.shelf == "example":
                own = self.examples.get(group, {})
                self.examples[group] = {n: one for n, one in own.items() if one[0] != subject}
            case Send():
                self._send(effect, at_ms)
            case Fetch():
                self._fetch(effect, at_ms)
            case Switch():
                news.append(self._switch(effect))
            case Train():
                self._trains = effect
            case Answer():
                self.answers[effect.token] = effect
            case _:
                pass

    def _append(self, row: Append, at_ms: int) -> None:
        if row.shelf == "example":
            own = self.examples.setdefault(row.group, {})
            if row.id not in own:
                own[row.id] = row.subject, row.value
                self.fleet.counts.add("examples", at_ms)
                if len(own) > self.fleet.examples_max.get(row.group, 1):
                    del own[next(iter(own))]
        elif row.shelf == "decision":
            self._decisions[row.id] = row.value

    def _send(self, sent: Send, at_ms: int) -> None:
        counts, kind = self.fleet.counts, sent.entered.kind
        counts.add("messages", at_ms)
        counts.add(f"bytes_{kind}" if kind in {"decision", "status"} else "bytes_other", at_ms, len(sent.payload))
        if kind == "rejection":
            counts.add("rejected", at_ms)
        if sent.topic == self._told:
            self.reported = sent.payload
        elif kind == "decision" and sent.placement:
            self._decide(sent, at_ms)

    def _decide(self, sent: Send, at_ms: int) -> None:
        made, counts = _made.decode(sent.payload), self.fleet.counts
        counts.add("decisions", at_ms)
        if made.fallback:
            counts.add("fallbacks", at_ms)
        for name, version in made.bundles.items():
            counts.decided(f"{name} {version}", at_ms)
        counts.tried(made.placement, made.arm, "decisions")
        if sent.topic == self._decided:
            self._be_answered(made, at_ms)

    def _be_answered(self, made: DecisionMade, at_ms: int) -> None:
        """What the person says of it, a little later: by its taste, and by chance."""
        around, feedback = self.fleet.around, self.fleet.around.behaviour.feedback
        person = next((one for one in self.people if one.name == made.subject), None)
        if feedback is None or person is None or not made.items:
            return
        likes = around.likes(person, made.items[0], at_ms)
        if likes:
            self.fleet.counts.add("shown_liked", at_ms)
        answers, takes = dice(around.seed, self.number, ANSWER, int(made.id[:12], 16)).random(2).tolist()
        if answers >= feedback.answered:
            return
        taken = takes < (feedback.liked if likes else feedback.other)
        later_ms = at_ms + int(feedback.delay_s * 1_000)
        word = Feedback(decision_id=made.id, outcome=feedback.click if taken else feedback.dismiss, time_ms=later_ms)
        heapq.heappush(self._pending, (later_ms, next(self._order), self._answers, msgspec.json.encode(word)))
        self.fleet.counts.add("answered", at_ms)
        self.fleet.counts.tried(made.placement, made.arm, "answered")
        if taken:
            self.fleet.counts.add("clicks", at_ms)
            self.fleet.counts.tried(made.placement, made.arm, "clicks")

    def _fetch(self, fetch: Fetch, at_ms: int) -> None:
        if fetch.kind != "bundle":
            return
        size = self.fleet.size(fetch.name, fetch.version)
        there_ms = at_ms + 1 + (int(1_000 * size / self.line_bytes_s) if self.line_bytes_s else 0)
        heapq.heappush(self._pending, (there_ms, next(self._order), FETCHED, msgspec.msgpack.encode(fetch)))
        self.fleet.counts.add("bytes_fetched", at_ms, size)

    def _arrived(self, fetch: Fetch, at_ms: int) -> None:
        if self.agent.control.is_wanted("bundle", fetch.name, fetch.version):
            self.step([self._switch(Switch(name=fetch.name, version=fetch.version, to=fetch.to))], at_ms)

    def _switch(self, asked: Switch) -> BundleReady | BundleStaged | BundleWithdrawn:
        """As `edge_agent.shell.shelf` does it, with files that are all there."""
        name, version, active = asked.name, asked.version, self.models.get(asked.name)
        if asked.to == "out":
            self.trials.pop(name, None)
            return BundleWithdrawn(name=name, version=version, reason=asked.reason)
        model = self.fleet.model(name, version)
        if asked.to != "full" and model is not active:
            self.trials[name] = model
            return BundleStaged(name=name, version=version, stage=asked.to)
        self.trials.pop(name, None)
        self.models[name] = model
        base = active.version if active is not None and active is not model else ""
        return BundleReady(name=name, version=version, base=base, reason=asked.reason if base else "")
