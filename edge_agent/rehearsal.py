"""A dry run of a placement's rules: what each said, what it changed, and whether that was expected."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from edge_agent.decide.rules import Rules
from edge_agent.decide.touched import Told
from firmware_configs.profile import Placement

Value = float | str | bool


class Expect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a case must come to; what is left out is not looked at."""

    eligible: tuple[str, ...] | None = None
    """Exactly these candidates, in any order."""
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    """Rules that must apply."""
    silent: tuple[str, ...] = ()
    """Rules that must not."""
    stopped: bool | None = None
    boost: dict[str, float] = {}
    """Candidate → what is added to its score."""


ANYTHING = Expect()


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rules are asked about."""

    name: str = ""
    placement: str
    fields: dict[str, Value] = {}
    hour: Annotated[int, Meta(ge=0, le=23)] = 12
    weekday: Annotated[int, Meta(ge=0, le=6, description="0 is Monday")] = 0
    subject: str = "someone"
    session: dict[str, float] = msgspec.field(default_factory=lambda: {"events": 1.0})
    items: tuple[str, ...] = ()
    """Candidates; empty: the placement's own."""
    expect: Expect = Expect()


class Said(Struct, frozen=True, kw_only=True):
    """What one rule said of one case."""

    rule: str
    effect: str
    reason: str
    said: str
    """true (for `items` candidates), false, or failed."""
    items: int
    applied: bool
    """Whether it did anything: denied, stopped or boosted a candidate."""


class Ran(Struct, frozen=True, kw_only=True):
    """What one case came to."""

    name: str
    placement: str
    eligible: tuple[str, ...]
    candidates: int
    stopped: str
    """The rule that stopped it; empty: none."""
    said: tuple[Said, ...]
    faults: tuple[str, ...]
    """What was expected otherwise."""


class Covered(Struct, kw_only=True):
    """How often one rule was true, false and failed, and changed the outcome."""

    placement: str
    rule: str
    effect: str
    true: int = 0
    false: int = 0
    failed: int = 0
    changed: int = 0
    """Without it, another set of candidates, other boosts, or a decision where there was none."""

    @property
    def remark(self) -> str:
        """What a person should look at; empty: nothing."""
        if not self.true + self.false + self.failed:
            return "never asked"
        if not self.true:
            return "never true" if self.false else "always failed"
        return "" if self.false else "never false"


class Rehearsal:
    """One placement's rules, asked again and again."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._rules = Rules(placement.rule)
        self._fixed = tuple(candidate.item for candidate in placement.candidate)
        self.covered = [Covered(placement=placement.name, rule=r.name, effect=r.effect) for r in placement.rule]

    def ask(self, items: Sequence[str], values: Mapping[str, Any], name: str, expect: Expect = ANYTHING) -> Ran:
        """Ask all rules about one case, and count.

        Args:
            items: the candidates; empty: the placement's own.
            values: what conditions read.
        """
        items = tuple(items) or self._fixed
        index = {item: n for n, item in enumerate(items)}
        told = self._rules.tell(items, index, values)
        verdict = self._rules.apply(items, index, values)
        stop = self._rules.stopped(values)
        self._count(told, (1 << len(items)) - 1)
        eligible = () if stop else tuple(item for item, ok in zip(items, verdict.eligible, strict=True) if ok)
        boost = {item: float(value) for item, value in zip(items, verdict.boost, strict=True)}
        said = tuple(self._said(n, one, (1 << len(items)) - 1) for n, one in enumerate(told))
        return Ran(
            name=name,
            placement=self.placement.name,
            eligible=eligible,
            candidates=len(items),
            stopped=stop.name if stop else "",
            said=said,
            faults=tuple(_faults(expect, eligible, stop is not None, said, boost)),
        )

    def _said(self, n: int, told: Told, everyone: int) -> Said:
        rule = self.placement.rule[n]
        said = "failed" if told.failed else "true" if told.true else "false"
        count = (told.true | told.failed).bit_count()
        applied = bool(told.true if rule.effect == "boost" else self._denied(n, told, everyone))
        return Said(rule=rule.name, effect=rule.effect, reason=rule.reason, said=said, items=count, applied=applied)

    def _count(self, told: Sequence[Told], everyone: int) -> None:
        denied = [self._denied(n, one, everyone) for n, one in enumerate(told)]
        for n, (one, covered) in enumerate(zip(told, self.covered, strict=True)):
            covered.failed += bool(one.failed)
            covered.true += bool(one.true) and not one.failed
            covered.false += not one.true and not one.failed
            others = 0
            for other, bits in enumerate(denied):
                others |= bits if other != n else 0
            changes = one.true & ~others if covered.effect == "boost" else denied[n] & ~others
            covered.changed += bool(changes)

    def _denied(self, n: int, told: Told, everyone: int) -> int:
        effect = self.placement.rule[n].effect
        if effect == "boost":
            return 0
        return everyone & ~told.true if effect == "allow-only" else told.true | told.failed


def run_case(rehearsal: Rehearsal, case: Case) -> Ran:
    """Ask about one case."""
    values = {
        "fields": case.fields,
        "hour": case.hour,
        "weekday": case.weekday,
        "subject": case.subject,
        "session": case.session,
    }
    return rehearsal.ask(case.items, values, case.name, case.expect)


def _faults(
    expect: Expect, eligible: Sequence[str], stopped: bool, said: Sequence[Said], boost: Mapping[str, float]
) -> list[str]:
    left = set(eligible)
    faults = []
    if expect.eligible is not None and set(expect.eligible) != left:
        faults.append(f"eligible: expected {_listed(expect.eligible)}, found {_listed(eligible)}")
    faults += [f"{item} is not allowed" for item in expect.allowed if item not in left]
    faults += [f"{item} is not denied" for item in expect.denied if item in left]
    applied = {one.rule for one in said if one.applied}
    faults += [f"rule {name} did not apply" for name in expect.fired if name not in applied]
    faults += [f"rule {name} applied" for name in expect.silent if name in applied]
    if expect.stopped is not None and expect.stopped != stopped:
        faults.append("it was stopped" if stopped else "it was not stopped")
    for item, value in expect.boost.items():
        found = boost.get(item)
        if found is None or abs(found - value) > 1e-6:
            faults.append(
                f"boost of {item}: expected {value:g}, found {'no such candidate' if found is None else found}"
            )
    return faults


def _listed(items: Sequence[str]) -> str:
    return ", ".join(sorted(items)) or "none"
