"""DM3xx: rules of a placement that contradict each other, or can have no effect.

Sound over comparisons of one value with constants (`cel.fragment`): what is said here holds for every event. Of other
conditions nothing is said.
"""

from collections.abc import Callable, Iterator

from firmware_configs.cel.fragment import ITEM
from firmware_configs.cel.sets import Said, sets_of
from firmware_configs.profile import OnEvent, Placement, Profile
from firmware_configs.rules.rule import AuditRule, Case, Where

DENYING = frozenset({"deny", "stop"})
PAIRS_MAX = 300
"""Rules of one placement that are compared with each other."""


class _Compared:
    """A placement, its rules as sets, and what is always denied."""

    def __init__(self, profile: Profile, place: Placement, at: str) -> None:
        self.place, self.at = place, at
        self.domains, said = sets_of(profile, place)
        self.said: list[Said] = said[:PAIRS_MAX]
        self.is_closed = bool(place.candidate) and isinstance(place.trigger, OnEvent)
        """Whether the candidates are known."""

    def effect(self, one: Said) -> str:
        return self.place.rule[one.number].effect

    def where(self, one: Said) -> str:
        return f"{self.at}.rule[{one.number}]"

    def name(self, one: Said) -> str:
        return f"`{self.place.rule[one.number].name}` ({self.where(one)})"

    def always_denied(self) -> dict[str, Said]:
        """Candidate → a rule that denies it at every event."""
        found: dict[str, Said] = {}
        if not self.is_closed:
            return found
        items = [candidate.item for candidate in self.place.candidate]
        for one in self.said:
            denied: frozenset[int] | set[int] = frozenset()
            everywhere = frozenset(range(len(items)))
            if self.effect(one) in DENYING and not one.is_opaque and self._holds_always(one):
                denied = one.touched.get(ITEM, everywhere)
            elif self.effect(one) == "allow-only":
                denied = everywhere if one.is_never_true else everywhere - one.true.get(ITEM, everywhere)
            for number in denied:
                if number < len(items):
                    found.setdefault(items[number], one)
        return found

    def _holds_always(self, one: Said) -> bool:
        return all(cells == self.domains.full(at) for at, cells in one.touched.items() if at != ITEM)


def _each(check: Callable[[_Compared], Iterator[Where]]) -> Callable[[Case], Iterator[Where]]:
    def of_profile(case: Case) -> Iterator[Where]:
        for n, place in enumerate(case.profile.placement):
            if place.rule:
                yield from check(_Compared(case.profile, place, f"placement[{n}]"))

    return of_profile


def _contradictions(given: _Compared) -> Iterator[Where]:
    for allowing in given.said:
        if given.effect(allowing) != "allow-only" or allowing.is_never_true:
            continue
        for denying in given.said:
            if given.effect(denying) not in DENYING or denying.is_opaque:
                continue
            if given.domains.within(allowing.true, denying.touched):
                what = f"{given.name(allowing)} allows only what {given.name(denying)} denies: nothing is ever left"
                yield given.where(allowing), what, "drop one of the two, or narrow the denial"
    denied = given.always_denied()
    items = [candidate.item for candidate in given.place.candidate]
    if items and len(denied) == len(items):
        by = sorted({given.name(one) for one in denied.values()})
        yield given.at, f"rules deny every candidate at every event: {', '.join(by)}", "nothing is ever decided here"
    elif given.place.fallback in denied:
        what = f"the fallback `{given.place.fallback}` is always denied by {given.name(denied[given.place.fallback])}"
        yield f"{given.at}.fallback", what, "choose a fallback that may be chosen"


def _without_effect(given: _Compared) -> Iterator[Where]:
    for one in given.said:
        if one.is_never_true:
            yield f"{given.where(one)}.when", _never(one), "mend the condition, or remove the rule"
            continue
        if given.effect(one) == "boost":
            yield from _boost_of_the_denied(given, one)
    yield from _strangers(given)


def _boost_of_the_denied(given: _Compared, one: Said) -> Iterator[Where]:
    for denying in given.said:
        if given.effect(denying) not in DENYING or denying.is_opaque:
            continue
        if given.domains.within(one.true, denying.touched):
            what = f"{given.name(one)} boosts only what {given.name(denying)} denies"
            yield given.where(one), what, "drop the boost, or narrow the denial"
            return
    denied = given.always_denied()
    if ITEM not in one.true or not denied:
        return
    items = [given.domains.values[ITEM][n] for n in one.true[ITEM]]
    if items and all(item in denied for item in items):
        what = f"{given.name(one)} boosts only what {given.name(denied[items[0]])} never allows"
        yield given.where(one), what, "drop the boost, or allow the item"


def _never(one: Said) -> str:
    at = next(at for at, cells in one.true.items() if not cells)
    return f"the condition is never true: no `{'.'.join(filter(None, at))}` fits all that it asks"


def _strangers(given: _Compared) -> Iterator[Where]:
    """Rules that name an item which is no candidate."""
    if not given.is_closed:
        return
    from firmware_configs.cel.fragment import conjuncts, constants, reads
    from firmware_configs.expressions import tree_of

    items = {candidate.item for candidate in given.place.candidate}
    for one in given.said:
        tree = tree_of(given.place.rule[one.number].when)
        named = {v for part in conjuncts(tree) if reads(part) == {ITEM} for v in constants(part) if isinstance(v, str)}
        for stranger in sorted(named - items):
            what = f"{given.name(one)} names `{stranger}`, which is no candidate"
            yield f"{given.where(one)}.when", what, f"the candidates are: {', '.join(sorted(items))}"


def _redundant(given: _Compared) -> Iterator[Where]:
    for one in given.said:
        if one.is_never_true or given.effect(one) not in DENYING:
            continue
        for other in given.said:
            covers = given.effect(other) in DENYING and not other.is_opaque and other is not one
            if not covers or (given.effect(one) == "stop" and given.effect(other) == "deny"):
                continue
            same = given.domains.within(other.touched, one.touched) and not one.is_opaque
            if given.domains.within(one.touched, other.touched) and (not same or other.number < one.number):
                what = f"whatever {given.name(one)} denies, {given.name(other)} denies"
                yield given.where(one), what, "remove it, if its reason need not be told"
                break


RULES = (
    AuditRule(
        code="DM301",
        level="warning",
        title="Rules that contradict each other",
        why="Together they leave nothing to choose, whatever happens; who wrote one of them believes otherwise.",
        check=_each(_contradictions),
    ),
    AuditRule(
        code="DM302",
        level="warning",
        title="A rule without effect",
        why="Somebody relies on a rule that can never do anything.",
        check=_each(_without_effect),
    ),
    AuditRule(
        code="DM303",
        level="note",
        title="A rule that another one covers",
        why="It changes nothing; it may still be there for the reason that it tells.",
        check=_each(_redundant),
    ),
)
