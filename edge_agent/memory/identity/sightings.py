"""What was seen of each subject, and of each pair that was seen to agree: counted in O(1) an event.

Pairs are found by blocking: only two subjects that once had the same value, or took turns, within a short time are a
pair at all (Christen 2012, "Data Matching", chapter 4). What is kept of a subject is enough to go on after a restart
exactly where it stood: the two indexes here, `_there` and `_partners`, are made of the rows again.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from msgspec import Struct

from edge_agent.limits import FUTURE_MS_MAX
from firmware_configs.profile import Apart, CertainLink, Evidence

SUBJECTS_MAX = 1_024
"""Subjects whose sightings are kept; who was silent for longest goes first."""
PAIRS_MAX = 4_096
"""Pairs whose agreements are kept; which agreed longest ago goes first."""
COMPANY_MAX = 8
"""Subjects that one event is compared with; where more are, being there tells nothing."""
ACCOUNTS_MAX = 8
"""Accounts and peers remembered of one subject, the newest."""
HOURS, BINS = 24, 32
"""Entries of the tables of rhythm and of habits."""
HOUR_MS = 3_600_000

Fields = Mapping[str, float | str | bool]
Couple = tuple[str, str]
"""Two subjects, sorted."""


class Seen(Struct, array_like=True):
    """A subject. Times of ours are `Steady`'s, unix ms; event times are as in the event."""

    first_ms: int
    heard_ms: int
    """When its newest event came."""
    order: int
    """Its place in the order in which subjects were heard of last."""
    active_ms: int = 0
    """Largest event time."""
    counted_ms: int = 0
    """The time that chances and tables are faded to."""
    chances: dict[str, float] = {}
    """Evidence → how often it could have agreed, faded."""
    there: dict[str, tuple[str, int, int]] = {}
    """Evidence of the kind same-value → (value, stretch, place in the order in which it was counted)."""
    tables: dict[str, list[float]] = {}
    """Evidence of the kinds rhythm and habit → what was counted, faded."""
    hours: dict[str, int] = {}
    """Evidence of the kinds rhythm and turns → the hour or stretch that was counted last."""
    accounts: dict[str, dict[str, tuple[int, int]]] = {}
    """Login → account → when it was first and last used."""
    peers: dict[str, tuple[int, int]] = {}
    """Paired subject → when that was first and last said."""
    places: dict[str, tuple[str, int]] = {}
    """Apart → (place, event time)."""


class Pair(Struct, array_like=True):
    """Two subjects that once agreed, or were apart."""

    order: int
    since_ms: int
    last_ms: int = 0
    """Its newest agreement; 0: none."""
    counted_ms: int = 0
    """The time that the counts are faded to."""
    agreed: dict[str, float] = {}
    """Evidence → how often it agreed, faded; a hand-over that n others may have made counts 1/n."""
    differed: dict[str, float] = {}
    """Evidence → how often it spoke against, faded."""
    levels: dict[str, int] = {}
    """Evidence → its level when it was scored last; what could not be compared is not here."""
    odds: float = 0.0
    """Log-odds that they are one person, as scored last; see `linkage`."""
    apart: dict[str, int] = {}
    """Apart → until when it holds."""
    linked_ms: int = 0
    """Since when they count as one person by evidence; 0: they do not."""


def couple(one: str, other: str) -> Couple:
    """Both, sorted."""
    return (one, other) if one < other else (other, one)


class Sightings:
    """All subjects and pairs.

    Attributes:
        seen: subject → what was seen of it, in the order in which they were heard of last.
        pairs: couple → its agreements, in the order in which they agreed last.
        order: counts what was put in order.
    """

    def __init__(
        self,
        links: Sequence[CertainLink],
        evidence: Sequence[Evidence],
        apart: Sequence[Apart],
        half_life_ms: float,
    ) -> None:
        self.seen: dict[str, Seen] = {}
        self.pairs: dict[Couple, Pair] = {}
        self.order = 0
        self._links, self._evidence, self._apart, self._half_life_ms = links, evidence, apart, half_life_ms
        self._there: dict[tuple[str, str], dict[str, None]] = {}
        self._partners: dict[str, dict[str, None]] = {}

    def arrange(self) -> None:
        """Put what was restored in order, and make the indexes of it."""
        self.seen = dict(sorted(self.seen.items(), key=lambda one: one[1].order))
        known = {pair: held for pair, held in self.pairs.items() if self.seen.keys() >= set(pair)}
        self.pairs = dict(sorted(known.items(), key=lambda one: one[1].order))
        marks = [(mark[2], name, mark[0], s) for s, seen in self.seen.items() for name, mark in seen.there.items()]
        self._there = {}
        for _, name, value, subject in sorted(marks):
            self._there.setdefault((name, value), {})[subject] = None
        self._partners = {}
        for pair in self.pairs:
            self._pair_up(pair)

    def _pair_up(self, pair: Couple) -> None:
        for one, other in (pair, pair[::-1]):
            self._partners.setdefault(one, {})[other] = None

    def partners(self, subject: str) -> list[str]:
        """Who shares a pair with the subject."""
        return list(self._partners.get(subject, ()))

    def hear(self, subject: str, now_ms: int, wall_ms: int) -> Seen:
        """The subject, last in order now.

        Args:
            now_ms: by `Steady`.
            wall_ms: unix ms; what is dated after it is dated now.
        """
        self.order += 1
        seen = self.seen.pop(subject, None)
        if seen is None:
            seen = Seen(first_ms=now_ms, heard_ms=now_ms, order=0, counted_ms=now_ms)
        seen.heard_ms, seen.order = now_ms, self.order
        if seen.active_ms > wall_ms + FUTURE_MS_MAX:
            seen.active_ms = wall_ms
        self.seen[subject] = seen
        return seen

    def overfull(self, now_ms: int, retention_ms: int) -> Iterator[str]:
        """Who is to be forgotten: silent past retention, or one too many. The caller forgets them."""
        over = len(self.seen) - SUBJECTS_MAX
        for n, (subject, seen) in enumerate(list(islice(self.seen.items(), max(over, 0) + COMPANY_MAX))):
            if n < over or now_ms - seen.heard_ms > retention_ms:
                yield subject

    def forget(self, subject: str) -> list[Couple]:
        """Keep nothing of a subject; returns the pairs that went with it."""
        seen = self.seen.pop(subject, None)
        if seen is not None:
            for name, mark in seen.there.items():
                self._leave(name, mark[0], subject)
        gone = [couple(subject, other) for other in self.partners(subject)]
        for pair in gone:
            self.drop(pair)
        return gone

    def drop(self, pair: Couple) -> None:
        """Keep nothing of a pair."""
        self.pairs.pop(pair, None)
        for one, other in (pair, pair[::-1]):
            own = self._partners.get(one, {})
            own.pop(other, None)
            if not own:
                self._partners.pop(one, None)

    def _leave(self, name: str, value: str, subject: str) -> None:
        here = self._there.get((name, value), {})
        here.pop(subject, None)
        if not here:
            self._there.pop((name, value), None)

    def pair(self, one: str, other: str, now_ms: int) -> Pair:
        """The pair, made when there is none."""
        key = couple(one, other)
        pair = self.pairs.get(key)
        if pair is None:
            self.order += 1
            pair = self.pairs[key] = Pair(order=self.order, since_ms=now_ms, counted_ms=now_ms)
            self._pair_up(key)
        return pair

    def crowded(self) -> list[Couple]:
        """Pairs above the bound, those that agreed longest ago."""
        return list(islice(self.pairs, max(0, len(self.pairs) - PAIRS_MAX)))

    # ---- one event ------------------------------------------------------------------------------------------

    def certain(self, seen: Seen, fields: Fields, now_ms: int, allowed: Callable[[str], bool]) -> bool:
        """Logins and pairings, the latter with who is allowed to be linked; returns whether one is new."""
        new = False
        for link in self._links:
            value = fields.get(link.field)
            if type(value) is not str or not value or (link.kind == "pairing" and not allowed(value)):
                continue
            held = seen.accounts.setdefault(link.name, {}) if link.kind == "login" else seen.peers
            new = new or value not in held
            held[value] = (held[value][0] if value in held else now_ms, now_ms)
            if len(held) > ACCOUNTS_MAX:
                del held[min(held, key=lambda one: (held[one][1], one))]
        return new

    def take(
        self, subject: str, seen: Seen, fields: Fields, source: str, t_ms: int, hour: int, now_ms: int
    ) -> list[Couple]:
        """Count what an event agrees with; returns the pairs that it changed.

        Args:
            seen: the subject's, as `hear` gave it.
            t_ms: event time, unix ms.
            hour: of the event, 0-23, local.
            now_ms: by `Steady`.
        """
        changed: dict[Couple, None] = {}
        for one in self._evidence:
            match one.kind:
                case "same-value":
                    value = fields.get(one.field)
                    if value is not None:
                        self._beside(one, subject, seen, _text(value), t_ms, now_ms, changed)
                case "hand-over":
                    self._before(one, subject, seen, source, t_ms, now_ms, changed)
                case "turns":
                    self._between(one, subject, seen, source, t_ms, now_ms, changed)
                case _:
                    self._tabulate(one, seen, fields, source, t_ms, hour, now_ms)
        for place in self._apart:
            for other in self._elsewhere(place, subject, seen, fields.get(place.field), t_ms):
                pair = self.pair(subject, other, now_ms)
                pair.apart[place.name] = now_ms + int(place.days * 86_400_000)
                changed[couple(subject, other)] = None
        seen.active_ms = max(seen.active_ms, t_ms)
        return list(changed)

    def _agree(self, name: str, one: str, other: str, share: float, now_ms: int) -> Couple:
        pair, key = self.pair(one, other, now_ms), couple(one, other)
        self._fade_pair(pair, now_ms)
        pair.agreed[name] = pair.agreed.get(name, 0.0) + share
        self.order += 1
        pair.last_ms, pair.order = now_ms, self.order
        del self.pairs[key]
        self.pairs[key] = pair
        return key

    def _differ(self, name: str, one: str, other: str, now_ms: int) -> Iterator[Couple]:
        """Something spoke against a pair; two that never agreed are none."""
        key = couple(one, other)
        pair = self.pairs.get(key)
        if pair is not None:
            self._fade_pair(pair, now_ms)
            pair.differed[name] = pair.differed.get(name, 0.0) + 1.0
            yield key

    def _fade_pair(self, pair: Pair, now_ms: int) -> None:
        if now_ms - pair.counted_ms >= HOUR_MS:  # what is younger fades with the next hour
            fade = self.fade(now_ms - pair.counted_ms)
            pair.agreed = {name: times * fade for name, times in pair.agreed.items()}
            pair.differed = {name: times * fade for name, times in pair.differed.items()}
            pair.counted_ms = now_ms

    def _recent(self, subject: str) -> Iterator[tuple[str, Seen]]:
        """Who else was heard of last, the newest first."""
        for other, known in islice(reversed(self.seen.items()), COMPANY_MAX + 1):
            if other != subject:
                yield other, known

    def fade(self, age_ms: float) -> float:
        """What is left of a count after so long."""
        return float(0.5 ** (max(0.0, age_ms) / self._half_life_ms))

    def _chance(self, name: str, seen: Seen, now_ms: int) -> None:
        """One more chance to agree."""
        if now_ms - seen.counted_ms >= HOUR_MS:
            fade = self.fade(now_ms - seen.counted_ms)
            seen.chances = {known: times * fade for known, times in seen.chances.items()}
            seen.tables = {known: [times * fade for times in table] for known, table in seen.tables.items()}
            seen.counted_ms = now_ms
        seen.chances[name] = seen.chances.get(name, 0.0) + 1.0

    def _beside(
        self, one: Evidence, subject: str, seen: Seen, text: str, t_ms: int, now_ms: int, changed: dict[Couple, None]
    ) -> None:
        """Who had the same value in the same stretch of time, and who another one; each stretch counts once."""
        name, stretch = one.name, int(t_ms // (one.within_s * 1_000))
        before = seen.there.get(name)
        if before is not None and before[:2] == (text, stretch):
            return
        if before is not None:
            self._leave(name, before[0], subject)
        self.order += 1
        here = self._there.setdefault((name, text), {})
        newest = islice(reversed(here), COMPANY_MAX + 1)
        company = [other for other in newest if self.seen[other].there[name][1] == stretch]
        seen.there[name] = (text, stretch, self.order)
        here[subject] = None
        if len(company) <= COMPANY_MAX:
            for other in company:
                changed[self._agree(name, subject, other, 1.0, now_ms)] = None
        for other, known in self._recent(subject):
            there = known.there.get(name)
            if there is not None and there[1] == stretch and there[0] != text:
                changed.update(dict.fromkeys(self._differ(name, subject, other, now_ms)))

    def _before(
        self, one: Evidence, subject: str, seen: Seen, source: str, t_ms: int, now_ms: int, changed: dict[Couple, None]
    ) -> None:
        """Whose last event was just before this one, with which the subject begins anew."""
        if (one.sources and source not in one.sources) or t_ms - seen.active_ms <= one.gap_s * 1_000:
            return
        self._chance(one.name, seen, now_ms)
        since = t_ms - one.within_s * 1_000
        company = [other for other, known in self._recent(subject) if since <= known.active_ms <= t_ms]
        for other in company:
            changed[self._agree(one.name, subject, other, 1.0 / len(company), now_ms)] = None

    def _between(
        self, one: Evidence, subject: str, seen: Seen, source: str, t_ms: int, now_ms: int, changed: dict[Couple, None]
    ) -> None:
        """Who was active while this one was: after its event before, which was just now. Each stretch counts once."""
        span_ms = one.within_s * 1_000
        stretch = int(t_ms // span_ms)
        if (one.sources and source not in one.sources) or seen.hours.get(one.name) == stretch:
            return
        if not 0 < t_ms - seen.active_ms <= span_ms:
            return
        seen.hours[one.name] = stretch
        self._chance(one.name, seen, now_ms)
        for other, known in self._recent(subject):
            if seen.active_ms < known.active_ms < t_ms:
                changed.update(dict.fromkeys(self._differ(one.name, subject, other, now_ms)))

    def _tabulate(
        self, one: Evidence, seen: Seen, fields: Fields, source: str, t_ms: int, hour: int, now_ms: int
    ) -> None:
        """Count the hour, once an hour; or the value's place among BINS."""
        if one.kind == "rhythm":
            if one.sources and source not in one.sources:
                return
            number = t_ms // HOUR_MS
            if seen.hours.get(one.name) == number:
                return
            seen.hours[one.name] = number
            size, place = HOURS, hour
        else:
            value = fields.get(one.field)
            if value is None:
                return
            size, place = BINS, zlib.crc32(_text(value).encode()) % BINS
        self._chance(one.name, seen, now_ms)
        seen.tables.setdefault(one.name, [0.0] * size)[place] += 1.0

    def _elsewhere(
        self, place: Apart, subject: str, seen: Seen, value: float | str | bool | None, t_ms: int
    ) -> list[str]:
        """Who was at another place at the same time."""
        if value is None:
            return []
        text, span_ms = _text(value), place.within_s * 1_000
        seen.places[place.name] = (text, t_ms)
        found = []
        for other, known in self._recent(subject):
            there = known.places.get(place.name)
            if there is not None and there[0] != text and abs(there[1] - t_ms) <= span_ms:
                found.append(other)
        return found


def _text(value: float | str | bool) -> str:
    return value if type(value) is str else f"{value:g}"
