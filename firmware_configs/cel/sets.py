"""For which values is a rule true? Sets over a finite number of cells, so that rules can be compared.

Every value that the rules of one placement read has a domain: one value of each cell that their constants cut it into,
and what it is when it is missing. A condition is a product of sets, one a value that it reads; what is not understood
is opaque, and makes the product an upper bound.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from firmware_configs.cel.fragment import ITEM, MISSING, Path, cells, conjuncts, constants, reads, says
from firmware_configs.cel.tree import Node
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import tree_of
from firmware_configs.profile import OnEvent, Placement, Profile

Where = dict[Path, frozenset[int]]
"""Path → cells of its domain; a path that is not named may have any value."""


class Said(Struct, frozen=True):
    """One rule's condition."""

    number: int
    true: Where
    """At most here it is true."""
    touched: Where
    """At most here it is true or fails; `deny` and `stop` then apply."""
    is_opaque: bool
    """Whether it may say less than these sets."""

    @property
    def is_never_true(self) -> bool:
        """Whether there is no value for which it could be."""
        return any(not within for within in self.true.values())


class Domains:
    """What each value can be, at one placement."""

    def __init__(self, profile: Profile, place: Placement, trees: Iterable[Node]) -> None:
        self._known: dict[Path, set[Any]] = {ITEM: set()}
        for tree in trees:
            for part in conjuncts(tree):
                for at in reads(part) or ():
                    self._known.setdefault(at, set()).update((type(v), v) for v in constants(part))
        self.values = {at: self._domain(profile, place, at, [v for _, v in known]) for at, known in self._known.items()}

    def _domain(self, profile: Profile, place: Placement, at: Path, known: Sequence[Any]) -> list[Any]:
        if at == ITEM:
            fixed = [candidate.item for candidate in place.candidate]
            return fixed if fixed and isinstance(place.trigger, OnEvent) else _texts([*fixed, *known])
        if at in {("", "hour"), ("", "weekday")}:
            return list(range(24 if at[1] == "hour" else 7))
        if at[0] == "session":
            return _numbers(known)
        if at == ("", "subject"):
            return _texts(known)
        source = place.trigger.source if isinstance(place.trigger, OnEvent) else ""
        for one in profile.source:
            for field in one.field:
                if at == ("fields", field.name):
                    of_type = {"number": _numbers, "text": _texts}.get(field.type, lambda _known: [False, True])
                    return of_type(known) + ([] if field.required and one.name == source else [MISSING])
        return [*_numbers(known), *_texts(known), False, True, MISSING]

    def full(self, at: Path) -> frozenset[int]:
        """Every cell of a path."""
        return frozenset(range(len(self.values[at])))

    def said(self, number: int, tree: Node) -> Said:
        """The sets of one condition."""
        true: Where = {}
        touched: Where = {}
        is_opaque = False
        for part in conjuncts(tree):
            read = reads(part)
            if read is None or len(read) > 1:
                is_opaque = True
                continue
            # A constant reads nothing: `false` is nowhere true.
            at = next(iter(read), ITEM)
            told = [says(part, value) for value in self.values[at]]
            true[at] = true.get(at, self.full(at)) & {n for n, one in enumerate(told) if one is True}
            touched[at] = touched.get(at, self.full(at)) & {n for n, one in enumerate(told) if one is not False}
        return Said(number, true, touched, is_opaque)

    def within(self, inner: Where, outer: Where) -> bool:
        """Whether one product lies in another."""
        if any(not cells_of for cells_of in inner.values()):
            return True
        return all(inner.get(at, self.full(at)) <= allowed for at, allowed in outer.items())


def sets_of(profile: Profile, place: Placement) -> tuple[Domains, list[Said]]:
    """The domains of a placement and what each of its rules says; rules that do not compile are left out."""
    trees: list[tuple[int, Node]] = []
    for number, rule in enumerate(place.rule):
        try:
            trees.append((number, tree_of(rule.when)))
        except ExpressionError:
            continue
    domains = Domains(profile, place, [tree for _, tree in trees])
    return domains, [domains.said(number, tree) for number, tree in trees]


def _numbers(known: Sequence[Any]) -> list[Any]:
    return list(cells(sorted({float(v) for v in known if isinstance(v, int | float) and not isinstance(v, bool)})))


def _texts(known: Sequence[Any]) -> list[Any]:
    texts = sorted({v for v in known if isinstance(v, str)})
    return [*texts, "\x00" * (1 + max(map(len, texts), default=0))]
