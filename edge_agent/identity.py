"""The identity graph: which subjects of this device are one person, how sure that is, and why. It never leaves.

Profiles stay with their subjects; a person is a set of them, worked out anew from the links whenever one comes or ends,
so that what was linked can be split again with nothing lost. What is remembered is a function of the events, of what
people said, and of `Steady`: a restart or a replay comes to the same persons.
"""

import hashlib
import hmac
from contextlib import suppress
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.decide.decision import Kin
from edge_agent.effects import Log
from edge_agent.happenings import PeopleAsked
from edge_agent.intake.minimise import Minimised
from edge_agent.limits import DAY_MS, FUTURE_MS_MAX
from edge_agent.memory.consent import Consents
from edge_agent.memory.identity.linkage import Linkage, Pattern, Tally, log_odds, probability
from edge_agent.memory.identity.links import Accounts, Links, Word
from edge_agent.memory.identity.persons import MEMBERS_MAX, Link, Person
from edge_agent.memory.identity.sightings import Couple, Pair, Seen, Sightings, couple
from edge_agent.memory.identity.steady import Steady
from edge_agent.memory.merging import merged
from edge_agent.memory.profile import Profile as ProfileOf
from edge_agent.people import People
from edge_agent.sources import HOUSEHOLD
from firmware_configs.profile import Identity, Profile

if TYPE_CHECKING:
    from edge_agent.agent import Agent

ROOM: Final = "identity"
WORDS_MAX = 512
"""Words of people about who is who; the oldest go first."""
MARK_HEX = 16


class Head(Struct, array_like=True):
    """What belongs to no subject."""

    order: int = 0
    day: int = 0
    """Number of the day in which all pairs were scored last."""


class IdentityGraph(People):
    """The persons of one device."""

    watches = True

    def __init__(self, profile: Profile, identity: Identity, consents: Consents, secret: bytes) -> None:
        """Set up.

        Args:
            consents: the agent's; from now on, what all of a person's subjects allow is asked there.
            secret: keys the marks in trails.
        """
        self.declared = identity
        self.merges = identity.view == "person"
        self._consents, self._secret = consents, secret
        self._link_odds, self._maybe_odds = log_odds(identity.link_at), log_odds(identity.maybe_at)
        self._retention_ms = _retention_ms(profile, identity)
        half_life_ms = identity.half_life_days * DAY_MS
        self.sightings = Sightings(identity.link, identity.evidence, identity.apart, half_life_ms)
        self.linkage = Linkage(identity.evidence, identity.prior, half_life_ms)
        self.words: dict[Couple, Word] = {}
        self.links = Links(identity, self.sightings, self.linkage, self.words, self._retention_ms)
        self._head = Head()
        self._steady = Steady()
        self._arranged = True
        self._persons: dict[str, Person] = {}
        self._valid = (0, 0)
        """(from, until) of `_persons`, by `Steady`."""
        self._asked_ms = 0
        consents.kin = self._last_kin

    # ---- who is who -----------------------------------------------------------------------------------------

    def person(self, subject: str, now_ms: int) -> str:
        found = self._at(now_ms).get(subject)
        return found.name if found is not None else subject

    def subjects(self, person: str, now_ms: int) -> tuple[str, ...]:
        found = self._at(now_ms).get(person)
        return found.subjects if found is not None else (person,)

    def persons(self, now_ms: int) -> list[Person]:
        """All who have more than one subject, in the order of their names."""
        found = {one.name: one for one in self._at(now_ms).values()}
        return [found[name] for name in sorted(found)]

    def marks(self, subject: str, now_ms: int) -> tuple[Kin, ...]:
        found = self._at(now_ms).get(subject)
        if found is None:
            return ()
        return tuple(
            Kin(
                one=self.mark(link.one),
                other=self.mark(link.other),
                kind=link.kind,
                name=link.name,
                confidence=round(self.confidence(link, now_ms), 4),
                since_ms=link.since_ms,
            )
            for link in found.links
        )

    def mark(self, subject: str) -> str:
        """A subject in a trail."""
        return mark_of(self._secret, subject)

    def steady_ms(self, now_ms: int) -> int:
        """The time by which links hold, unix ms."""
        self._arrange()
        return self._steady.read(now_ms)

    def confidence(self, link: Link, now_ms: int) -> float:
        """How sure a link is now; 1 for what people and their devices said themselves."""
        if link.kind != "likely":
            return 1.0
        pair = self.sightings.pairs.get(link.couple)
        return probability(self.links.odds_at(pair, self._steady.read(now_ms))) if pair is not None else 0.0

    def view(self, agent: "Agent", subject: str, own: ProfileOf, now_ms: int) -> ProfileOf:
        rest = [agent.profile_of(one) for one in self.subjects(subject, now_ms) if one != subject]
        # One that was dated by a clock that was ahead says nothing yet; its next event dates it right.
        rest = [one for one in rest if 0 < one.newest_ms <= now_ms + FUTURE_MS_MAX]
        return merged([own, *rest], agent.features) if rest else own

    def _last_kin(self, subject: str) -> tuple[str, ...]:
        """The subject first, then the rest of the person who have said anything about purposes."""
        found = self._at(self._asked_ms).get(subject)
        if found is None:
            return (subject,)
        return (subject, *(one for one in found.subjects if one != subject and self._consents.told_ms(one)))

    def _at(self, now_ms: int) -> dict[str, Person]:
        self._asked_ms = now_ms
        t_ms = self._steady.read(now_ms)
        since_ms, until_ms = self._valid
        if not since_ms <= t_ms < until_ms:
            self._arrange()
            self._persons, self._valid = self.links.work_out(t_ms, self._allowed)
        return self._persons

    def _allowed(self, subject: str) -> bool:
        return self._consents.own_allowed(self.declared.purposes, subject)

    def _changed(self) -> None:
        self._valid = (0, 0)

    # ---- what is learned ------------------------------------------------------------------------------------

    def observe(self, agent: "Agent", event: Minimised, batch: Batch) -> None:
        subject = event.subject
        if subject == HOUSEHOLD or not self._allowed(subject):
            return
        self._arrange()
        now_ms = self._steady.advance(batch.now_ms)
        if now_ms // DAY_MS != self._head.day:
            self._head.day = now_ms // DAY_MS
            self._daily(now_ms, batch)
        new = subject not in self.sightings.seen  # somebody may have been paired with it before
        seen = self.sightings.hear(subject, now_ms, batch.now_ms)
        if self.sightings.certain(seen, event.fields, now_ms, self._allowed) or new:
            self._changed()
        hour, _ = agent.doors.local_hour(event.event_time_ms)
        pairs = self.sightings.take(subject, seen, event.fields, event.source, event.event_time_ms, hour, now_ms)
        for pair in pairs:
            self._keep_pair(pair, batch)
            if self.sightings.pairs[pair].apart:
                self._changed()
        self._bound(now_ms, batch)
        expires_ms = batch.now_ms + self._retention_ms
        batch.touch(ROOM, f"seen\x00{subject}", lambda: msgspec.msgpack.encode(seen), expires_ms)
        self._keep_head(batch)

    def _keep_head(self, batch: Batch) -> None:
        self._head.order = self.sightings.order
        batch.touch(ROOM, "head", lambda: msgspec.msgpack.encode((self._head, self._steady)))

    def _bound(self, now_ms: int, batch: Batch) -> None:
        for gone in list(self.sightings.overfull(now_ms, self._retention_ms)):
            self._forget(gone, batch)
        for pair in self.sightings.crowded():
            self._drop_pair(pair, batch)

    def _drop_pair(self, pair: Couple, batch: Batch) -> None:
        held = self.sightings.pairs[pair]
        if held.levels or held.apart:  # else persons were made without it
            self._changed()
        self.sightings.drop(pair)
        batch.drop(ROOM, _pair_key(pair))

    def _keep_pair(self, key: Couple, batch: Batch) -> None:
        pair = self.sightings.pairs[key]
        expires_ms = batch.now_ms + self._retention_ms
        batch.touch(ROOM, _pair_key(key), lambda: msgspec.msgpack.encode(pair), expires_ms)

    def _compare(self, key: Couple, now_ms: int) -> None:
        pair = self.sightings.pairs[key]
        one, other = (self.sightings.seen[subject] for subject in key)
        pair.levels = self.linkage.levels(self.linkage.rates(pair, one, other, now_ms))

    def _weigh(self, key: Couple, now_ms: int, batch: Batch) -> None:
        """The odds of a pair's levels, and what follows; a link that stands falls only below maybe."""
        pair = self.sightings.pairs[key]
        pair.odds = self.linkage.odds(pair.levels)
        if pair.odds >= self._link_odds and pair.last_ms:
            pair.linked_ms = pair.linked_ms or now_ms
        elif pair.odds < self._maybe_odds:
            pair.linked_ms = 0
        self._keep_pair(key, batch)

    def _daily(self, now_ms: int, batch: Batch) -> None:
        """Score all pairs, and learn from them: links by evidence come and go once a day, and not by the hour."""
        for subject in list(self.sightings.seen):
            if not self._allowed(subject):
                self._forget(subject, batch)
        for key, pair in sorted(self.sightings.pairs.items()):
            newest_ms = max(pair.last_ms, pair.since_ms)
            if now_ms - newest_ms > self._retention_ms and not any(end > now_ms for end in pair.apart.values()):
                self._drop_pair(key, batch)
        for key in sorted(self.sightings.pairs):
            self._compare(key, now_ms)
        if self.declared.learn and self.sightings.pairs:
            self.linkage.learn(self._tallies(now_ms))
            batch.put(ROOM, "linkage", self.linkage.pack())
        for key in sorted(self.sightings.pairs):
            self._weigh(key, now_ms, batch)
        for key in self._across(now_ms):
            self._compare(key, now_ms)
            self._weigh(key, now_ms, batch)
        self._changed()

    def _across(self, now_ms: int) -> list[Couple]:
        """Two that are linked with a third and were no pair yet are one from now on, so that they can speak against."""
        linked = sorted(key for key, pair in self.sightings.pairs.items() if pair.linked_ms)
        near: dict[str, list[str]] = {}
        for one, other in linked:
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
        both = {couple(a, b) for ends in near.values() for a, b in combinations(ends[:MEMBERS_MAX], 2)}
        new = sorted(both - self.sightings.pairs.keys())
        for one, other in new:
            self.sightings.pair(one, other, now_ms)
        return new

    def _tallies(self, now_ms: int) -> dict[Pattern, Tally]:
        accounts = self.links.accounts(now_ms)
        tallies: dict[Pattern, Tally] = {}
        for key, pair in self.sightings.pairs.items():
            if pair.levels:
                self._tally(tallies.setdefault(self.linkage.pattern(pair.levels), Tally()), key, accounts, now_ms)
        return tallies

    def _tally(self, tally: Tally, key: Couple, accounts: Accounts, now_ms: int) -> None:
        """A pair that people or logins have decided is a label; a shared subject is nobody's, and so is open."""
        if not accounts.shared.isdisjoint(key):
            tally.open += 1
        elif accounts.contradict(key) or self.links.apart(key, now_ms):
            tally.different += 1
        elif accounts.agree(key) or ((word := self.words.get(key)) is not None and word.same):
            tally.same += 1
        else:
            tally.open += 1

    # ---- what people say ------------------------------------------------------------------------------------

    def consent_changed(self, subject: str, batch: Batch) -> None:
        self._arrange()
        self._changed()
        if not self._allowed(subject):
            self._forget(subject, batch)

    def _forget(self, subject: str, batch: Batch) -> None:
        known = subject in self.sightings.seen
        for pair in self.sightings.forget(subject):
            batch.drop(ROOM, _pair_key(pair))
        for pair in [pair for pair in self.words if subject in pair]:
            del self.words[pair]
            batch.drop(ROOM, _word_key(pair))
        for other, seen in self.sightings.seen.items():
            if seen.peers.pop(subject, None) is not None:
                batch.put(ROOM, f"seen\x00{other}", msgspec.msgpack.encode(seen), batch.now_ms + self._retention_ms)
        if known:
            batch.drop(ROOM, f"seen\x00{subject}")
            self._changed()

    def asked(self, asked: PeopleAsked, batch: Batch) -> None:
        self._arrange()
        now_ms = self._steady.advance(batch.now_ms)
        self._keep_head(batch)
        known = [one for one in asked.subjects if one in self.sightings.seen]
        if len(known) < len(asked.subjects) or not known:
            self._say(batch, "a subject that nothing is known of, or that did not agree to be linked")
            return
        if asked.same:
            pairs = [couple(one, other) for one, other in pairwise(known) if one != other]
            accounts = self.links.accounts(now_ms)
            if any(accounts.contradict(pair) or self.links.apart(pair, now_ms) not in {"", "word"} for pair in pairs):
                self._say(batch, "two subjects with different logins, or that were at two places at the same time")
                return
        else:
            rest = [one for one in self.subjects(known[0], batch.now_ms) if one != known[0]]
            pairs = [couple(known[0], other) for other in (known[1:] or rest) if other != known[0]]
        for pair in pairs:
            self.words.pop(pair, None)
            self.words[pair] = word = Word(same=asked.same, said_ms=now_ms)
            batch.put(ROOM, _word_key(pair), msgspec.msgpack.encode(word))
        for pair in sorted(self.words, key=lambda one: (self.words[one].said_ms, one))[:-WORDS_MAX]:
            del self.words[pair]
            batch.drop(ROOM, _word_key(pair))
        self._changed()

    def _say(self, batch: Batch, what: str) -> None:
        text = f"not linked or split: it names {what}; fix: see `edge-agent people ls`"
        batch.effects.append(Log(level="warning", code="identity", text=text))

    # ---- over restarts --------------------------------------------------------------------------------------

    def restore(self, key: str, value: bytes) -> None:
        self._arranged = False
        with suppress(msgspec.MsgspecError):  # what cannot be read is learned anew
            self._restore(key, value)

    def _restore(self, key: str, value: bytes) -> None:
        what, _, rest = key.partition("\x00")
        match what:
            case "head":
                self._head, self._steady = msgspec.msgpack.decode(value, type=tuple[Head, Steady])
                self.sightings.order = self._head.order
            case "linkage":
                self.linkage.restore(value)
            case "seen":
                self.sightings.seen[rest] = msgspec.msgpack.decode(value, type=Seen)
            case "pair" | "word":
                one, _, other = rest.partition("\x00")
                if what == "pair":
                    self.sightings.pairs[one, other] = msgspec.msgpack.decode(value, type=Pair)
                else:
                    self.words[one, other] = msgspec.msgpack.decode(value, type=Word)
            case _:
                pass

    def _arrange(self) -> None:
        if not self._arranged:
            self._arranged = True
            self.sightings.arrange()
            self._changed()


def mark_of(secret: bytes, subject: str) -> str:
    """A subject in a trail. Once nothing is known of the subject here, nobody can tell any more whom it means."""
    return hmac.new(secret, f"kin\x00{subject}".encode(), hashlib.sha256).hexdigest()[:MARK_HEX]


def _pair_key(pair: Couple) -> str:
    return f"pair\x00{pair[0]}\x00{pair[1]}"


def _word_key(pair: Couple) -> str:
    return f"word\x00{pair[0]}\x00{pair[1]}"


def _retention_ms(profile: Profile, identity: Identity) -> int:
    """The shortest retention of what is read: of the fields, and of the sources whose times count."""
    read = {one.field for one in identity.link}
    read |= {one.field for one in identity.evidence} | {one.field for one in identity.apart}
    timed = {name for one in identity.evidence if not one.field for name in one.sources}
    every = any(not one.field and not one.sources for one in identity.evidence)
    days = [
        profile.retention[field.category].days
        for source in profile.source
        for field in source.field
        if field.name in read or source.name in timed or (every and source.subject)
    ]
    return int(min(days, default=1.0) * DAY_MS)
