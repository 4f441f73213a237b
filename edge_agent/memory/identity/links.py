"""The links that there are, and who is one person by them at a time."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, islice

from msgspec import Struct

from edge_agent.limits import DAY_MS
from edge_agent.memory.identity.linkage import Linkage, log_odds
from edge_agent.memory.identity.persons import CERTAIN, MEMBERS_MAX, Known, Link, Person, persons
from edge_agent.memory.identity.sightings import Couple, Pair, Sightings
from firmware_configs.profile import Identity

NEVER = 1 << 62


class Word(Struct, frozen=True, array_like=True):
    """What a person said of two subjects."""

    same: bool
    said_ms: int


class Accounts(Struct, frozen=True):
    """Logins at a time.

    Attributes:
        sole: subject → login → its one account.
        shared: subjects with two accounts of one login: they belong to nobody.
        end_ms: when the first of these logins ends, unix ms.
    """

    sole: dict[str, dict[str, str]]
    shared: frozenset[str]
    end_ms: int

    def contradict(self, pair: Couple) -> bool:
        """Whether the two have different accounts of one login."""
        one, other = (self.sole.get(subject, {}) for subject in pair)
        return any(other.get(login, account) != account for login, account in one.items())

    def agree(self, pair: Couple) -> bool:
        """Whether the two have the same account of a login, and contradict in none."""
        one, other = (self.sole.get(subject, {}) for subject in pair)
        return not one.keys().isdisjoint(other.keys()) and not self.contradict(pair)


class Links:
    """Reads what was seen, scored and said; changes nothing. All times by `Steady`, unix ms."""

    def __init__(
        self,
        declared: Identity,
        sightings: Sightings,
        linkage: Linkage,
        words: Mapping[Couple, Word],
        retention_ms: int,
    ) -> None:
        self._sightings, self._linkage, self._words = sightings, linkage, words
        self._retention_ms = retention_ms
        self._maybe_odds = log_odds(declared.maybe_at)
        self._half_life_ms = declared.half_life_days * DAY_MS
        self._certain_ms = int(declared.certain_days * DAY_MS)
        # What an earlier profile declared may still be in what was seen.
        self._declared_logins = {link.name for link in declared.link if link.kind == "login"}
        self._pairs = any(link.kind == "pairing" for link in declared.link)
        self._declared_apart = {place.name for place in declared.apart}

    def work_out(self, t_ms: int, allowed: Callable[[str], bool]) -> tuple[dict[str, Person], tuple[int, int]]:
        """The persons at a time, by subject; and (from, until) when that holds while nothing is seen or said."""
        accounts = self.accounts(t_ms)
        links = [link for link in self.all(accounts) if not link.until_ms or link.until_ms > t_ms]
        ends = [accounts.end_ms, *(link.until_ms for link in links if link.until_ms)]
        ends += [end for pair in self._sightings.pairs.values() for end in pair.apart.values() if end > t_ms]
        first_ms = {
            subject: seen.first_ms
            for subject, seen in self._sightings.seen.items()
            if subject not in accounts.shared and allowed(subject)
        }

        def apart(pair: Couple) -> bool:
            return bool(self.apart(pair, t_ms))

        odds = {
            pair: scored.odds
            for pair, scored in self._sightings.pairs.items()
            if scored.levels and first_ms.keys() >= set(pair)
        }
        known = Known(
            first_ms=first_ms,
            accounts=accounts.sole,
            apart=apart,
            odds=odds,
            least=self._maybe_odds,
        )
        return persons(links, known), (t_ms, min(ends))

    def accounts(self, t_ms: int) -> Accounts:
        """Who is logged in where."""
        sole: dict[str, dict[str, str]] = {}
        shared, end_ms = set(), NEVER
        for subject, seen in self._sightings.seen.items():
            for login in seen.accounts.keys() & self._declared_logins:
                held = seen.accounts[login]
                live = {account: last_ms for account, (_, last_ms) in held.items() if last_ms + self._certain_ms > t_ms}
                end_ms = min([end_ms, *(last_ms + self._certain_ms for last_ms in live.values())])
                if len(live) == 1:
                    sole.setdefault(subject, {})[login] = next(iter(live))
                elif live:
                    shared.add(subject)
        return Accounts(sole, frozenset(shared), end_ms)

    def apart(self, pair: Couple, t_ms: int) -> str:
        """What keeps two subjects apart: `word`, or the name of an [[identity.apart]]; empty: nothing. What logins
        contradict is in `Accounts`."""
        word = self._words.get(pair)
        if word is not None and not word.same:
            return "word"
        known = self._sightings.pairs.get(pair)
        if known is None:
            return ""
        return next((n for n, end in known.apart.items() if end > t_ms and n in self._declared_apart), "")

    def likely(self, pair: Couple) -> bool | None:
        """Whether two subjects are at least maybe one person; None: there was nothing to compare."""
        known = self._sightings.pairs.get(pair)
        return known.odds >= self._maybe_odds if known is not None and known.levels else None

    def all(self, accounts: Accounts) -> Iterator[Link]:
        """Every link that is kept, also those that have ended or that something contradicts."""
        for (one, other), word in self._words.items():
            if word.same:
                yield Link(one=one, other=other, kind="word", odds=2 * CERTAIN, since_ms=word.said_ms, until_ms=0)
        yield from self._logins(accounts)
        for subject, seen in self._sightings.seen.items():
            for peer, (first_ms, last_ms) in seen.peers.items():
                if self._pairs and peer != subject:
                    until = last_ms + self._certain_ms
                    yield Link(one=subject, other=peer, kind="pairing", since_ms=first_ms, until_ms=until)
        for (one, other), pair in self._sightings.pairs.items():
            if pair.linked_ms:
                odds, until = min(pair.odds, CERTAIN - 1.0), self.until(pair)
                yield Link(one=one, other=other, kind="likely", odds=odds, since_ms=pair.linked_ms, until_ms=until)

    def _logins(self, accounts: Accounts) -> Iterator[Link]:
        """Each two that have the same account and no other: any of them may be split from the rest."""
        using: dict[tuple[str, str], list[str]] = {}
        for subject, logins in accounts.sole.items():
            if subject not in accounts.shared:
                for login, account in logins.items():
                    using.setdefault((login, account), []).append(subject)
        seen = self._sightings.seen
        for (login, account), users in using.items():
            newest = sorted(users, key=lambda one: (-seen[one].accounts[login][account][1], one))
            for pair in combinations(sorted(islice(newest, MEMBERS_MAX)), 2):
                (one_first, one_last), (other_first, other_last) = (seen[s].accounts[login][account] for s in pair)
                yield Link(
                    one=pair[0],
                    other=pair[1],
                    kind="login",
                    name=login,
                    since_ms=max(one_first, other_first),
                    until_ms=min(one_last, other_last) + self._certain_ms,
                )

    def odds_at(self, pair: Pair, t_ms: int) -> float:
        """A pair's log-odds fall back towards the prior as its newest agreement gets old."""
        prior = log_odds(self._linkage.prior)
        return prior + (pair.odds - prior) * float(0.5 ** (max(0, t_ms - pair.last_ms) / self._half_life_ms))

    def until(self, pair: Pair) -> int:
        """When a likely link ends unless the two agree again: when it has fallen to maybe."""
        prior = log_odds(self._linkage.prior)
        if prior >= self._maybe_odds:
            return pair.last_ms + self._retention_ms
        left = (pair.odds - prior) / (self._maybe_odds - prior)
        lasts_ms = self._half_life_ms * math.log2(left) if left > 1.0 else 0.0
        return pair.last_ms + min(int(lasts_ms), self._retention_ms)
