"""What each rule does to one set of candidates: the same at every event, so worked out once.

Bit vectors are whole numbers: bit n is candidate n.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.decision import Fired
from edge_agent.decide.verdict import F64, Mask, Verdict, untouched
from firmware_configs.cel.fragment import MISSING, Path, says
from firmware_configs.cel.tree import Node, path
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import Expression
from firmware_configs.profile import Rule

RULES_TOLD_MAX = 64
"""Rules that a trail names; of further ones it tells how many."""
REMEMBERED_MAX = 256
"""Values of which one part of one rule remembers what it said."""
FEW = 64
"""Boosts of so many candidates are added by their numbers; of more, as one array over all."""


class Told(NamedTuple):
    """For which candidates one rule's condition is true, and for which it fails."""

    true: int
    failed: int


NOWHERE = Told(0, 0)


class Touched(NamedTuple):
    """What one rule does to the candidates."""

    fired: Fired
    denied: int
    """Bit vector; 0 for a boost."""
    value: float
    few: NDArray[np.intp] | None
    """Numbers of the candidates that a boost is added to, when they are few."""
    added: F64 | None
    """float64: what is added to each of `few`, or to each of all (n,); None: `value` to all."""


class Remembered:
    """A part that only the library can evaluate; what reads one value of the event is remembered by it."""

    __slots__ = ("_at", "_expression", "_known")

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        read = {path(node) for node in expression.tree.walk() if node.kind in {"name", "select"}}
        # `fields` below `fields.room` is a name, too.
        read -= {("", node.parts[0].value) for node in expression.tree.walk() if node.kind == "select"}
        self._at = next(iter(read)) if len(read) == 1 else None
        self._known: dict[Any, bool | None] = {}

    def holds(self, values: Mapping[str, Any]) -> bool | None:
        """True, false, or None when it fails."""
        if self._at is None:
            return held(self._expression, values)
        root, name = self._at
        key = (values.get(root, {}) if root else values).get(name, MISSING)
        # True, 1 and 1.0 are one key of a dict, and three values of CEL.
        keyed = (key, type(key))
        if keyed not in self._known:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[keyed] = held(self._expression, values)
        return self._known[keyed]


def held(expression: Expression, values: Mapping[str, Any]) -> bool | None:
    """True, false, or None when it fails; what is neither true nor false is a mistake, and fails."""
    try:
        value = expression.evaluate(values)
    except ExpressionError:
        return None
    return value if isinstance(value, bool) else None


class Plan:
    """One rule, in parts."""

    __slots__ = ("about_items", "always", "dynamic", "each", "is_fixed", "rule", "spelled", "static")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.static: list[Node] = []
        """Parts that read only `item`."""
        self.dynamic: list[tuple[str, Path]] = []
        """Parts that compare `item` with a value of the event."""
        self.spelled: list[Expression] = []
        """Parts that read only `item`, and that the library must evaluate, once for each candidate."""
        self.always: list[Remembered] = []
        """Parts without `item` that are not indexed."""
        self.each: list[Expression] = []
        """Parts that are evaluated for each candidate."""
        self.about_items = False
        self.is_fixed = True
        """Whether, the event's values aside, the same candidates are touched each time."""


def fired_by(rule: Rule, count: int, failed: bool) -> Fired:
    """That a rule applied to so many candidates, and why."""
    does = "stops" if rule.effect == "stop" else "denies"
    reason = f"{rule.reason} (could not be evaluated, so it {does})" if failed else rule.reason
    return Fired(rule.name, rule.effect, reason, count)


class Candidates:
    """A set of candidates, and what is the same for it at every event."""

    __slots__ = ("_asked", "_fixed", "_matter", "all", "count", "index", "items", "touched")

    def __init__(self, items: Sequence[str], index: Mapping[str, int]) -> None:
        self.items, self.index, self.count = items, index, len(items)
        self.all = (1 << len(items)) - 1
        self.touched: dict[int, Touched] = {}
        self._fixed: dict[int, Told] = {}
        self._asked = self._matter = 0

    def fixed(self, number: int, plan: Plan) -> Told:
        """For which candidates the parts that read only `item` hold."""
        found = self._fixed.get(number)
        if found is None:
            true, failed = self.all, 0
            each = [[says(part, item) for item in self.items] for part in plan.static]
            each += [[held(part, {"item": item}) for item in self.items] for part in plan.spelled]
            for told in each:
                true &= ~_vector([one is False for one in told])
                failed |= _vector([one is None for one in told])
            found = self._fixed[number] = Told(true & ~failed, failed & true)
        return found

    def mattering(self, plans: Sequence[Plan], rules: int) -> int:
        """Those of the rules that touch any of these candidates when their conditions on the event hold."""
        new = rules & ~self._asked
        while new:
            low = new & -new
            number = low.bit_length() - 1
            touched = self.touch(plans[number].rule, self.fixed(number, plans[number]))
            if touched is not None:
                self.touched[number] = touched
                self._matter |= low
            new ^= low
        self._asked |= rules
        return self._matter

    def touch(self, rule: Rule, told: Told) -> Touched | None:
        """What a rule does whose condition is as told; None: nothing."""
        if rule.effect == "boost":
            return self._boost(rule, told.true) if told.true else None
        denied = self.all & ~told.true if rule.effect == "allow-only" else told.true | told.failed
        fired = fired_by(rule, denied.bit_count(), bool(told.failed))
        return Touched(fired, denied, 0.0, None, None) if denied else None

    def _boost(self, rule: Rule, true: int) -> Touched:
        count = true.bit_count()
        fired = fired_by(rule, count, failed=False)
        if true == self.all:
            return Touched(fired, 0, rule.value, None, None)
        mask = self.mask(true)
        if count <= FEW:
            return Touched(fired, 0, rule.value, np.flatnonzero(mask), np.full(count, rule.value))
        return Touched(fired, 0, rule.value, None, np.where(mask, rule.value, 0.0))

    def mask(self, bits: int) -> Mask:
        """bool (n,) of a bit vector."""
        packed = np.frombuffer(bits.to_bytes((self.count + 7) // 8, "little"), np.uint8)
        unpacked: NDArray[np.uint8] = np.unpackbits(packed, count=self.count, bitorder="little")
        return unpacked.view(np.bool_)


class Found:
    """What the rules do at one event, gathered."""

    __slots__ = ("_added", "_everywhere", "_few", "_many", "boosted", "denied", "fired")

    def __init__(self) -> None:
        self.fired: list[Fired] = []
        self.denied = 0
        self.boosted = False
        self._everywhere = 0.0
        self._few: list[NDArray[np.intp]] = []
        self._added: list[F64] = []
        self._many: F64 | None = None

    def add(self, touched: Touched) -> None:
        """One more rule that applied."""
        self.fired.append(touched.fired)
        if touched.denied:
            self.denied |= touched.denied
        else:
            self.boost(touched)

    def boost(self, touched: Touched) -> None:
        """Add its value."""
        self.boosted = True
        if touched.added is None:
            self._everywhere += touched.value
        elif touched.few is not None:
            self._few.append(touched.few)
            self._added.append(touched.added)
        else:
            self._many = touched.added if self._many is None else self._many + touched.added

    def verdict(self, known: Candidates, numbers: list[int], sort: bool) -> Verdict:
        """The whole.

        Args:
            numbers: the rules in `fired`.
            sort: whether they are out of order; they are told in the profile's.
        """
        nothing = untouched(known.count)
        verdict = Verdict(nothing.eligible, nothing.boost, self.fired)
        if sort:
            order = sorted(range(len(numbers)), key=numbers.__getitem__)
            verdict.fired = [self.fired[n] for n in order]
        if len(numbers) > RULES_TOLD_MAX:
            verdict.untold = len(numbers) - RULES_TOLD_MAX
            del verdict.fired[RULES_TOLD_MAX:]
        if self.denied:
            verdict.eligible, verdict.narrowed = known.mask(known.all & ~self.denied), True
        if self.boosted:
            verdict.boost, verdict.boosted = self._summed(known.count).astype(np.float32), True
        return verdict

    def _summed(self, count: int) -> F64:
        """float64 (n,): what is added to all, to many, to few, in this order, so that the sum is the same each time."""
        summed = np.full(count, self._everywhere)
        if self._many is not None:
            summed += self._many
        if self._few:
            # In the order of the rules, one after the other.
            summed += np.bincount(np.concatenate(self._few), np.concatenate(self._added), count)
        return summed


def _vector(bits: Sequence[bool]) -> int:
    packed = np.packbits(np.array(bits, np.bool_), bitorder="little")
    return int.from_bytes(packed.tobytes(), "little")
