"""Who belongs together: links joined, the surest first, and never against what keeps two subjects apart.

Greedy agglomeration under must-not-link constraints, as in constrained clustering (Wagstaff et al. 2001; Davidson and
Ravi 2005): two sets become one person only when no pair across them is kept apart. A chain of likely links is not
enough: where pairs across are known, they must be likely too, or the one between is shared and belongs to neither.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from edge_agent.memory.identity.sightings import Couple, couple

Kind = Literal["word", "login", "pairing", "likely"]
MEMBERS_MAX = 16
"""Subjects of one person."""
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


def persons(
    first_ms: Mapping[str, int],
    accounts: Mapping[str, Mapping[str, str]],
    links: Iterable[Link],
    apart: Callable[[Couple], bool],
    likely: Callable[[Couple], bool | None],
) -> dict[str, Person]:
    """Subject → the person, for all who are not alone.

    Args:
        first_ms: subject → when it was heard of first; who is not here is linked with nobody.
        accounts: subject → login → its one account: two of the same login are never joined.
        links: what holds now.
        apart: whether something keeps two subjects apart.
        likely: whether two subjects are at least maybe one person; None: it is not known.
    """
    known = [link for link in links if link.one in first_ms and link.other in first_ms and not apart(link.couple)]
    shared = _between_two([link.couple for link in known if link.kind == "likely"], apart, likely)
    linked = sorted({subject for link in known for subject in link.couple})
    groups = {subject: _Group([subject], dict(accounts.get(subject, {})), []) for subject in linked}
    for link in sorted(known, key=lambda one: (-one.odds, one.couple, one.kind)):
        one, other = groups[link.one], groups[link.other]
        if one is other or len(one.subjects) + len(other.subjects) > MEMBERS_MAX:
            continue
        if link.kind == "likely" and (not shared.isdisjoint(link.couple) or not _agree(one, other, likely)):
            continue
        if one.contradicts(other) or any(apart(couple(a, b)) for a in one.subjects for b in other.subjects):
            continue
        one.absorb(other, link)
        groups.update(dict.fromkeys(other.subjects, one))
    found = {id(group): group for group in groups.values() if len(group.subjects) > 1}
    made = {key: group.person(first_ms) for key, group in found.items()}
    return {subject: made[id(group)] for subject, group in groups.items() if id(group) in made}


def _between_two(
    likely_links: Sequence[Couple], apart: Callable[[Couple], bool], likely: Callable[[Couple], bool | None]
) -> set[str]:
    """Subjects likely to be two others who are not one person: a tablet that two people use."""
    ends: dict[str, list[str]] = {}
    for one, other in likely_links:
        ends.setdefault(one, []).append(other)
        ends.setdefault(other, []).append(one)
    found = set()
    for subject, others in ends.items():
        pairs = (couple(a, b) for n, a in enumerate(others[:MEMBERS_MAX]) for b in others[n + 1 : MEMBERS_MAX])
        if any(apart(pair) or likely(pair) is False for pair in pairs):
            found.add(subject)
    return found


class _Group(Struct):
    subjects: list[str]
    accounts: dict[str, str]
    links: list[Link]

    def contradicts(self, other: "_Group") -> bool:
        """Whether both have an account of the same login, and not the same one."""
        return any(other.accounts.get(login, account) != account for login, account in self.accounts.items())

    def absorb(self, other: "_Group", link: Link) -> None:
        self.subjects += other.subjects
        self.accounts.update(other.accounts)
        self.links += [*other.links, link]

    def person(self, first_ms: Mapping[str, int]) -> Person:
        ordered = sorted(self.subjects, key=lambda one: (first_ms[one], one))
        return Person(name=ordered[0], subjects=tuple(ordered), links=tuple(self.links))


def _agree(one: _Group, other: _Group, likely: Callable[[Couple], bool | None]) -> bool:
    """Whether no known pair across is unlikely."""
    return all(likely(couple(a, b)) is not False for a in one.subjects for b in other.subjects)
