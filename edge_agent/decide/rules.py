"""Rules that people can read: compiled once, applied to all candidates at once where that can be done.

A condition is split at its outermost `&&`. Parts that do not speak of `item` are evaluated once a decision; parts
of the form `item == X`, `item != X` and `item in X` are looked up; only what is left is evaluated for each
candidate.

A rule that cannot be evaluated (a field that is not there, types that do not fit) fails closed: `deny` and
`allow-only` then deny, `boost` does nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.decision import Fired
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import Expression, compile_expression
from firmware_configs.profile import Rule

Mask = NDArray[np.bool_]
F32 = NDArray[np.float32]
Index = Mapping[str, int]

_EQUAL = re.compile(r"^\s*item\s*(==|!=|in\b)\s*(.+)$", re.DOTALL)
_LAUQE = re.compile(r"^\s*(.+?)\s*(==|!=)\s*item\s*$", re.DOTALL)
_ITEM = re.compile(r"(?<![\w.])item\b")
_TEXT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")


@dataclass(slots=True)
class Verdict:
    """What the rules say about the candidates."""

    eligible: Mask
    """bool (n,)."""
    boost: F32
    """float32 (n,), added to the scores."""
    fired: list[Fired] = field(default_factory=list)
    boosted: bool = False
    """Whether `boost` holds anything but zeros."""
    narrowed: bool = False
    """Whether `eligible` holds anything but true."""

    @property
    def count(self) -> int:
        """How many candidates are eligible."""
        return int(np.count_nonzero(self.eligible)) if self.narrowed else len(self.eligible)


class Rules:
    """A placement's rules, compiled."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(rule, _Condition(rule.when)) for rule in rules]

    @property
    def any(self) -> bool:
        """Whether there is any rule."""
        return bool(self._rules)

    def apply(self, items: Sequence[str], index: Index, values: dict[str, Any]) -> Verdict:
        """Ask every rule about every candidate.

        Args:
            items: the candidates, n.
            index: candidate → its place in `items`.
            values: what expressions may read; `item` is added here.
        """
        if not self._rules:
            return _untouched(len(items))
        verdict = Verdict(np.ones(len(items), dtype=np.bool_), np.zeros(len(items), dtype=np.float32))
        for rule, condition in self._rules:
            try:
                mask = condition.mask(items, index, values)
                failed = False
            except ExpressionError:
                mask, failed = np.ones(len(items), dtype=np.bool_), True
            self._enforce(rule, mask, failed, verdict)
        return verdict

    @staticmethod
    def _enforce(rule: Rule, mask: Mask, failed: bool, verdict: Verdict) -> None:
        if rule.effect == "boost":
            if failed:
                return
            touched = mask
            verdict.boost[mask] += np.float32(rule.value)
            verdict.boosted = True
        else:
            touched = mask if rule.effect == "deny" or failed else ~mask
            verdict.eligible &= ~touched
            verdict.narrowed = True
        count = int(np.count_nonzero(touched))
        if count:
            reason = f"{rule.reason} (could not be evaluated, so it denies)" if failed else rule.reason
            verdict.fired.append(Fired(rule.name, rule.effect, reason, count))


@lru_cache(maxsize=64)
def _untouched(count: int) -> Verdict:
    """What no rule says about `count` candidates; shared, so nothing can be written to it."""
    verdict = Verdict(np.ones(count, dtype=np.bool_), np.zeros(count, dtype=np.float32))
    verdict.eligible.setflags(write=False)
    verdict.boost.setflags(write=False)
    return verdict


class _Condition:
    """One condition, in parts."""

    def __init__(self, text: str) -> None:
        self._always: list[Expression] = []
        self._lookups: list[tuple[str, Expression]] = []
        self._each: list[Expression] = []
        for part in _conjuncts(text):
            bare = _TEXT.sub('""', part)
            lookup = _lookup(part)
            if not _ITEM.search(bare):
                self._always.append(compile_expression(part))
            elif lookup is not None:
                self._lookups.append((lookup[0], compile_expression(lookup[1])))
            else:
                self._each.append(compile_expression(part))

    def mask(self, items: Sequence[str], index: Index, values: dict[str, Any]) -> Mask:
        """For which candidates the condition is true."""
        for expression in self._always:
            if not expression.holds(values):
                return np.zeros(len(items), dtype=np.bool_)
        mask = np.ones(len(items), dtype=np.bool_)
        for operator, expression in self._lookups:
            mask &= _looked_up(operator, expression.evaluate(values), index, len(items))
        if self._each:
            for n in np.flatnonzero(mask):
                given = {**values, "item": items[int(n)]}
                mask[n] = all(expression.holds(given) for expression in self._each)
        return mask


def _looked_up(operator: str, value: Any, index: Index, count: int) -> Mask:
    wanted = value if operator == "in" else [value]
    mask = np.zeros(count, dtype=np.bool_)
    if isinstance(wanted, list | dict):
        for one in wanted:
            at = index.get(one) if isinstance(one, str) else None
            if at is not None:
                mask[at] = True
    return ~mask if operator == "!=" else mask


def _lookup(part: str) -> tuple[str, str] | None:
    """(operator, the other side) when the part compares `item` with something that does not speak of it."""
    if found := _EQUAL.match(part):
        operator, other = found[1], found[2]
    elif found := _LAUQE.match(part):
        operator, other = found[2], found[1]
    else:
        return None
    bare = _TEXT.sub('""', other)
    if _ITEM.search(bare) or re.search(r"&&|\|\||[?<>]|==|!=", bare):
        return None
    return operator, other


def _conjuncts(text: str) -> list[str]:
    """The condition's parts at its outermost `&&`; whole when an outermost `||` or `?` binds them differently."""
    parts: list[str] = []
    depth, start, quote, at = 0, 0, "", 0
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth == 0 and (text.startswith("||", at) or char == "?"):
            return [text]
        elif depth == 0 and text.startswith("&&", at):
            parts.append(text[start:at])
            start = at + 2
            at += 1
        at += 1
    return [*parts, text[start:]]
