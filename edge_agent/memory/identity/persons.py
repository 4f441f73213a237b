"""Who belongs together: links joined, the surest first, and never against what keeps two subjects apart.

Greedy agglomeration under must-not-link constraints, as in constrained clustering (Wagstaff et al. 2001; Davidson and
Ravi 2005), by the average over all pairs across (average linkage), so that a chain of likely links is not enough: two
sets become one person only when no pair across is kept apart, and the pairs across are on average likely. Then whoever
is as likely one of two persons is taken out of both: a tablet that a family uses.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from edge_agent.memory.identity.sightings import Couple, couple

Kind = Literal["word", "login", "pairing", "likely"]
MEMBERS_MAX = 16
"""Subjects of one person."""
SHARED_MAX = 64
"""Subjects that are taken out at most, those that could be the most persons first."""
MARGIN = 0.5
"""Log-odds by which the likeliest person must be ahead of the next, else the subject is between the two."""
CERTAIN = 40.0
"""Log-odds that stand for certainty."""


class Link(Struct, frozen=True, kw_only=True):
    """Two subjects, and why they count as one person."""

    one: str
    other: str
    kind: Kind
    name: str = ""
    """Of the [[identity.link]]; empty for a person's word and for evidence."""
    odds: float = CERTAIN
    since_ms: int
    until_ms: int
    """When it ends unless it is renewed, unix ms; 0: never."""

    @property
    def couple(self) -> Couple:
        """Both subjects, sorted."""
        return couple(self.one, self.other)


class Person(Struct, frozen=True, kw_only=True):
    """Subjects that are one person.

    Attributes:
        name: the subject of them that was heard of first.
        subjects: all, in the order in which they were heard of first.
        links: what joined them: one less than there are subjects.
    """

    name: str
    subjects: tuple[str, ...]
    links: tuple[Link, ...]


class Known(Struct, frozen=True, kw_only=True):
    """What persons are made of.

    Attributes:
        first_ms: subject → when it was heard of first; who is not here is linked with nobody.
        accounts: subject → login → its one account: two of the same login are never joined.
        apart: whether something keeps two subjects apart.
        odds: log-odds of the pairs that could be compared.
        least: average log-odds from which two sets are likely.
    """

    first_ms: Mapping[str, int]
    accounts: Mapping[str, Mapping[str, str]]
    apart: Callable[[Couple], bool]
    odds: Mapping[Couple, float]
    least: float


def persons(links: Iterable[Link], known: Known) -> dict[str, Person]:
    """Subject → the person, for all who are not alone.

    Args:
        links: what holds now.
    """
    valid = [
        link
        for link in sorted(links, key=lambda one: (-one.odds, one.couple, one.kind))
        if link.one in known.first_ms and link.other in known.first_ms and not known.apart(link.couple)
    ]
    shared: set[str] = set()
    groups = _joined(valid, shared, known)
    for _ in range(SHARED_MAX if any(link.kind == "likely" for link in valid) else 0):
        between = _most_divided(groups, shared, known)
        if between is None:
            break
        shared.add(between)
        groups = _joined(valid, shared, known)
    found = {id(group): group for group in groups.values() if len(group.subjects) > 1}
    made = {key: group.person(known.first_ms) for key, group in found.items()}
    return {subject: made[id(group)] for subject, group in groups.items() if id(group) in made}


def _joined(links: Iterable[Link], shared: set[str], known: Known) -> dict[str, "_Group"]:
    groups: dict[str, _Group] = {}
    for link in links:
        if link.kind == "likely" and not shared.isdisjoint(link.couple):
            continue
        one, other = (
            groups.setdefault(subject, _Group([subject], dict(known.accounts.get(subject, {})), []))
            for subject in link.couple
        )
        if one is not other and one.joins(other, link, known):
            one.absorb(other, link)
            groups.update(dict.fromkeys(other.subjects, one))
    return groups


def _most_divided(groups: Mapping[str, "_Group"], shared: set[str], known: Known) -> str | None:
    """Who, without a certain link, is likely one of the most persons, of at least two."""
    near: dict[str, dict[str, list[float]]] = {}
    for pair, odds in known.odds.items():
        if not shared.isdisjoint(pair):
            continue
        for subject, other in (pair, pair[::-1]):
            group = groups.get(other)
            key = group.subjects[0] if group is not None else other
            near.setdefault(subject, {}).setdefault(key, []).append(odds)
    found: tuple[int, float, str] | None = None
    for subject, persons_near in near.items():
        means = [sum(held) / len(held) for held in persons_near.values()]
        best = max(means)
        likely = [mean for mean in means if mean >= max(known.least, best - MARGIN)]
        if len(likely) > 1 and not _is_certain(subject, groups):
            found = max(found or (0, 0.0, ""), (len(likely), sum(likely), subject))
    return found[2] if found is not None else None


def _is_certain(subject: str, groups: Mapping[str, "_Group"]) -> bool:
    group = groups.get(subject)
    return group is not None and any(link.kind != "likely" and subject in link.couple for link in group.links)


class _Group(Struct):
    subjects: list[str]
    accounts: dict[str, str]
    links: list[Link]

    def joins(self, other: "_Group", link: Link, known: Known) -> bool:
        """Whether a link may make one person of two."""
        if len(self.subjects) + len(other.subjects) > MEMBERS_MAX:
            return False
        if any(other.accounts.get(login, account) != account for login, account in self.accounts.items()):
            return False
        across = [couple(one, another) for one in self.subjects for another in other.subjects]
        if any(known.apart(pair) for pair in across):
            return False
        odds = [known.odds[pair] for pair in across if pair in known.odds]
        return link.kind != "likely" or not odds or sum(odds) / len(odds) >= known.least

    def absorb(self, other: "_Group", link: Link) -> None:
        """Take the other one in."""
        self.subjects += other.subjects
        self.accounts.update(other.accounts)
        self.links += [*other.links, link]

    def person(self, first_ms: Mapping[str, int]) -> Person:
        """What is told of it."""
        ordered = sorted(self.subjects, key=lambda one: (first_ms[one], one))
        return Person(name=ordered[0], subjects=tuple(ordered), links=tuple(self.links))
