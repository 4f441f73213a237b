"""Rules that people can read: compiled once into an index, applied to all candidates at once.

A condition is split at its outermost `&&`. What reads one value of the event goes into the index (`rule_index`), what
reads only `item` becomes the set of the candidates that it holds for; only what is left is evaluated by the library,
and only for rules and candidates that the rest has not ruled out. The result is CEL's own: `&&` is false when any
part is, even beside one that fails.

A rule that cannot be evaluated (a field that is not there, types that do not fit, no truth value) fails closed: `deny`,
`allow-only` and `stop` then deny or stop, `boost` does nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.decide.decision import Fired
from edge_agent.decide.rule_index import CELLS_MAX, RuleIndex, numbers_of
from edge_agent.decide.touched import NOWHERE, Candidates, Found, Plan, Remembered, Told, fired_by, held
from edge_agent.decide.verdict import Mask, Verdict, untouched
from firmware_configs.cel.fragment import ITEM, MISSING, Path, conjuncts, constants, dynamic_item, reads
from firmware_configs.cel.tree import Node
from firmware_configs.expressions import compile_expression
from firmware_configs.profile import Rule

Index = Mapping[str, int]

__all__ = ["Index", "Mask", "Rules", "Told", "Verdict"]


class Rules:
    """A placement's rules, compiled."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        indexed: list[tuple[int, Path, Node]] = []
        self._plans = [self._compile(n, rule, indexed) for n, rule in enumerate(rules)]
        self._index = RuleIndex(indexed, len(rules))
        self._allowing = sum(1 << n for n, rule in enumerate(rules) if rule.effect == "allow-only")
        self._stopping = sum(
            1 << n for n, plan in enumerate(self._plans) if plan.rule.effect == "stop" and not plan.about_items
        )
        unfixed = sum(1 << n for n, plan in enumerate(self._plans) if not plan.is_fixed)
        self._each_time = unfixed | self._allowing
        """Rules of which more than the index must be asked."""
        self._standing = Candidates((), {})
        self._nobody = Candidates(("",), {})

    @staticmethod
    def _compile(number: int, rule: Rule, indexed: list[tuple[int, Path, Node]]) -> Plan:
        plan = Plan(rule)
        whole = compile_expression(rule.when)
        plan.about_items = "item" in whole.names
        for part in conjuncts(whole.tree):
            read = reads(part)
            if read == {ITEM}:
                plan.static.append(part)
            elif read is not None and len(read) == 1 and 2 * len(list(constants(part))) < CELLS_MAX:
                indexed.append((number, next(iter(read)), part))
            elif (found := dynamic_item(part)) is not None:
                plan.dynamic.append(found)
            else:
                only = compile_expression(rule.when[part.start : part.end])
                if only.names == {"item"}:
                    plan.spelled.append(only)
                elif "item" in only.names:
                    plan.each.append(only)
                else:
                    plan.always.append(Remembered(only))
        plan.is_fixed = not (plan.dynamic or plan.always or plan.each)
        return plan

    @property
    def any(self) -> bool:
        """Whether there is any rule."""
        return bool(self._plans)

    def apply(self, items: Sequence[str], index: Index, values: Mapping[str, Any]) -> Verdict:
        """Ask every rule about every candidate.

        Args:
            items: the candidates, n.
            index: candidate → its place in `items`.
            values: what expressions may read; `item` is added here.
        """
        if not self._plans:
            return untouched(len(items))
        alive, failed = self._index.ask(values)
        known = self._known(items, index)
        slow = self._each_time | failed
        found = Found()
        numbers = numbers_of(alive & ~slow & known.mattering(self._plans, alive & ~slow))
        for n in numbers:
            touched = known.touched[n]
            found.fired.append(touched.fired)
            if touched.denied:
                found.denied |= touched.denied
            else:
                found.boost(touched)
        in_order = len(numbers)
        if slow:
            for n in numbers_of(slow & (alive | self._allowing)):
                told = self._told(n, alive, failed, known, values)
                if (does := known.touch(self._plans[n].rule, told)) is not None:
                    numbers.append(n)
                    found.add(does)
        return found.verdict(known, numbers, sort=len(numbers) > in_order > 0)

    def stopped(self, values: Mapping[str, Any]) -> Fired | None:
        """The first `stop` that speaks of no item and holds, or fails: nothing is to be decided."""
        if not self._stopping:
            return None
        alive, failed = self._index.ask(values)
        for n in numbers_of(alive & self._stopping):
            told = self._told(n, alive, failed, self._nobody, values)
            if told.true or told.failed:
                return fired_by(self._plans[n].rule, 0, bool(told.failed))
        return None

    def tell(self, items: Sequence[str], index: Index, values: Mapping[str, Any]) -> list[Told]:
        """What each rule's condition says, in the rules' order: for `edge-agent rules test`."""
        alive, failed = self._index.ask(values)
        known = self._known(items, index)
        return [self._told(n, alive, failed, known, values) for n in range(len(self._plans))]

    def _known(self, items: Sequence[str], index: Index) -> Candidates:
        if self._standing.items is not items:
            self._standing = Candidates(items, index)
        return self._standing

    def _told(self, n: int, alive: int, failed: int, known: Candidates, values: Mapping[str, Any]) -> Told:
        if not alive >> n & 1:
            return NOWHERE
        plan = self._plans[n]
        told = known.fixed(n, plan)
        if not plan.is_fixed:
            narrowed = _narrow(plan, told, known, values)
            if narrowed is None:
                return NOWHERE
            told = narrowed
        return Told(0, told.true | told.failed) if failed >> n & 1 else told


def _narrow(plan: Plan, told: Told, known: Candidates, values: Mapping[str, Any]) -> Told | None:
    """What is left of `told` by the parts that only the event's values decide; None: the condition is false."""
    true, failed = told
    for operator, (root, name) in plan.dynamic:
        within = values.get(root, {}) if root else values
        value = within.get(name, MISSING)
        if value is MISSING:
            true, failed = 0, failed | true
            continue
        at = known.index.get(value) if isinstance(value, str) else None
        same = 0 if at is None else 1 << at
        kept = same if operator == "==" else known.all & ~same
        true, failed = true & kept, failed & kept
    for part in plan.always:
        holds = part.holds(values)
        if holds is False:
            return None
        if holds is None:
            true, failed = 0, failed | true
    if plan.each:
        for n in numbers_of(true | failed):
            given = {**values, "item": known.items[n]}
            told_each = [held(expression, given) for expression in plan.each]
            bit = 1 << n
            if False in told_each:
                true, failed = true & ~bit, failed & ~bit
            elif None in told_each:
                true, failed = true & ~bit, failed | bit
    return Told(true, failed)
