"""What an expression can cost at most, told from its tree alone.

Abstract interpretation: each part gets the largest value that it can have (scalars and bytes), and from it the time
it can take. The prices were measured with the pinned library on one core and doubled
(`python -m tests.benchmarks.rules --bombs` measures them again); docs/adr/0029 tells how.
"""

from collections.abc import Callable
from typing import NamedTuple

from firmware_configs.cel.tree import Node
from firmware_configs.errors import ExpressionError

COST_MAX_US = 10_000.0
"""Longest evaluation that is let in, microseconds on one core of a small server."""
BYTES_MAX = 4_000_000
"""Most bytes that an evaluation may hold at once."""
TEXT_BYTES = 2_048
"""Longest text that a name stands for: 512 characters of at most four bytes."""
ROOTS = frozenset({"fields", "session", "actuators"})
"""Names that stand for many values; only one of them at a time is read."""

_NODE_US = 0.3
_SCALAR_US = 0.2
"""A scalar of a list that is copied."""
_BYTE_US = 0.0005
_STEP_US = 1.0
"""One element that a macro passes."""
_STATE_US = 0.04
"""One state of a pattern against one byte."""


class _Most(NamedTuple):
    """The most that a part can cost, and the largest value it can have."""

    us: float
    scalars: float
    bytes: float

    @property
    def copy_us(self) -> float:
        return self.scalars * _SCALAR_US + self.bytes * _BYTE_US


def check_cost(text: str, tree: Node) -> float:
    """The longest that the expression can take, microseconds.

    Raises:
        ExpressionError: longer than `COST_MAX_US`, or more than `BYTES_MAX` at once.
    """
    most = _of(tree)
    us = most.us + most.copy_us
    if us > COST_MAX_US or most.bytes + most.scalars * 64 > BYTES_MAX:
        raise ExpressionError(
            f"`{text[:60]}{'…' if len(text) > 60 else ''}` could take {us / 1_000:,.0f} ms on the largest values; "
            f"at most {COST_MAX_US / 1_000:g} ms are taken",
            hint="shorten its lists and patterns, or compute the value as a feature",
        )
    return us


def _of(node: Node) -> _Most:
    by_kind = _BY_KIND.get(node.kind)
    if by_kind is not None:
        return by_kind(node)
    below = [_of(part) for part in node.parts]
    us = sum(part.us for part in below) + _NODE_US
    if node.kind == "if":
        return _Most(us, max(part.scalars for part in below), max(part.bytes for part in below))
    return _Most(us, 1, 8)


def _constant(node: Node) -> _Most:
    return _Most(_NODE_US, 1, 4 * len(node.value) if isinstance(node.value, str) else 8)


def _name(node: Node) -> _Most:
    if node.value in ROOTS:
        raise _whole(node.value)
    return _Most(_NODE_US, 1, TEXT_BYTES)


def _has(node: Node) -> _Most:
    return _Most(_read(node.parts[0]).us, 1, 8)


def _collection(node: Node) -> _Most:
    below = [_of(part) for part in node.parts]
    made = _Most(
        sum(part.us for part in below) + _NODE_US,
        1 + sum(part.scalars for part in below),
        64 + sum(part.bytes for part in below),
    )
    return made._replace(us=made.us + made.copy_us * (4 if node.kind == "map" else 1))


def _index(node: Node) -> _Most:
    of, at = node.parts[0], _of(node.parts[1])
    if of.kind == "name":
        return _Most(at.us + 2 * _NODE_US, 1, TEXT_BYTES)
    below = _of(of)
    us = below.us + at.us + _NODE_US + below.copy_us
    return _Most(us, max(1.0, below.scalars), max(TEXT_BYTES, below.bytes))


def _whole(root: str) -> ExpressionError:
    return ExpressionError(f"`{root}` is used as a whole", hint=f"read one of it, such as `{root}.NAME`")


def _read(node: Node) -> _Most:
    """`fields.light`, or a part of a value."""
    of = node.parts[0]
    if of.kind == "name":
        return _Most(2 * _NODE_US, 1, TEXT_BYTES)
    below = _of(of)
    return _Most(below.us + below.copy_us + _NODE_US, max(1.0, below.scalars), max(TEXT_BYTES, below.bytes))


def _called(node: Node) -> _Most:
    below = [_of(part) for part in node.parts]
    us, size = sum(part.us for part in below) + _NODE_US, sum(part.bytes for part in below)
    if node.value == "matches":
        pattern = node.parts[-1]
        if pattern.kind not in {"const", "unread"} or not isinstance(pattern.value, str):
            raise ExpressionError(
                "the pattern of `matches` is not a text that stands in the expression",
                hint="write the pattern out: whoever sends an event must not choose it",
            )
        from firmware_configs.cel.pattern import pattern_cost, unescaped

        build_us, states = pattern_cost(pattern.value if pattern.kind == "const" else unescaped(pattern.value))
        return _Most(us + build_us + states * size * _STATE_US / 2, 1, 8)
    # A contained text is looked for in linear time; numbers, times and durations are read once.
    return _Most(us + 5.0 + 4 * size * _BYTE_US, 1, 8 if node.value not in {"string", "bytes", "dyn"} else size)


def _binary(node: Node) -> _Most:
    left_node, right_node = node.parts
    left = _of(left_node)
    if node.value == "in" and right_node.kind == "name" and right_node.value in ROOTS:
        return _Most(left.us + 2 * _NODE_US, 1, 8)
    right = _of(right_node)
    us = left.us + right.us + _NODE_US
    if node.value == "+":
        whole = _Most(0.0, left.scalars + right.scalars, left.bytes + right.bytes)
        return _Most(us + whole.copy_us, whole.scalars, whole.bytes)
    return _Most(us + (left.copy_us + right.copy_us) / 2, 1, 8)


def _macro(node: Node) -> _Most:
    name, _variable = node.value
    over, *bodies = node.parts
    if over.kind == "name" and over.value in ROOTS:
        raise _whole(over.value)
    if over.kind not in {"list", "map"}:
        raise ExpressionError(
            f"`{name}` goes through something whose length is not known here",
            hint=f"write the list out: ['a', 'b'].{name}(…)",
        )
    given = _of(over)
    body = [_of(part) for part in bodies]
    count = max(1, len(over.parts))
    us = given.us + count * (sum(part.us for part in body) + _STEP_US)
    if name not in {"map", "filter"}:
        return _Most(us, 1, 8)
    kept = body[-1] if name == "map" else _Most(0.0, given.scalars, given.bytes)
    # The library makes a new list for each element: n * n / 2 copies.
    return _Most(us + count * count / 2 * kept.copy_us, count * kept.scalars, count * kept.bytes)


_BY_KIND: dict[str, Callable[[Node], _Most]] = {
    "const": _constant,
    "unread": _constant,
    "bytes": _constant,
    "name": _name,
    "select": _read,
    "has": _has,
    "list": _collection,
    "map": _collection,
    "index": _index,
    "call": _called,
    "method": _called,
    "macro": _macro,
    "binary": _binary,
}
