"""The part of CEL that is understood here, and not only evaluated: what depends on one value alone.

A condition is a conjunction. A part of it that reads one name, and only compares that with constants, says the same
for all values between two of its constants, so it is known from one value of each such cell. It may use `==`, `!=`,
`in [...]`, with numbers also `<`, `<=`, `>`, `>=`; `has`, the bare flag, and these under `&&`, `||`, `!`, `? :`.
Rules are indexed by it, and conflicts between rules found.

True, false and failed follow CEL: `&&` is false when any part is, even beside one that fails; `||` is true when any is.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

from firmware_configs.cel.tree import RESERVED, Node, path

Path = tuple[str, str]
"""("fields", "light") of `fields.light`, ("", "hour") of `hour`."""
ITEM: Final = ("", "item")
NUMBER_MAX = 2**53
"""Numbers beyond are compared by the library alone: a double does not hold them to the unit."""
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Missing:
    """A field that is not there."""


MISSING = Missing()


def conjuncts(node: Node) -> list[Node]:
    """The parts of a condition at its outermost `&&`, in order."""
    if node.kind != "and":
        return [node]
    return [part for below in node.parts for part in conjuncts(below)]


def is_understood(tree: Node) -> bool:
    """Whether the whole condition is; the library then need not be asked whether it is one."""
    parts = conjuncts(tree)
    words = (node.value for node in tree.walk() if node.kind in {"name", "select"})
    return all(reads(part) is not None or dynamic_item(part) for part in parts) and not RESERVED.intersection(words)


def reads(node: Node) -> set[Path] | None:
    """Every path that a condition reads; None when it does what is not understood here."""
    found: set[Path] = set()
    return found if _collect(node, found) else None


def _collect(node: Node, found: set[Path]) -> bool:
    if node.kind == "const":
        return isinstance(node.value, bool)
    if (at := path(node)) is not None:
        found.add(at)
        return at != ITEM
    if node.kind == "has":
        at = path(node.parts[0])
        found.add(at or ITEM)
        return at is not None
    if node.kind in {"and", "or", "not", "if"}:
        return all(_collect(part, found) for part in node.parts)
    if node.kind != "binary":
        return False
    left, right = (path(part) for part in node.parts)
    if node.value == "in":
        found.update([left] if left else [])
        return left is not None and node.parts[1].kind == "list" and all(map(_is_known, node.parts[1].parts))
    if node.value not in COMPARISONS or (left is None) == (right is None):
        return False
    found.add(left or right or ITEM)
    constant = node.parts[1 if left else 0]
    ordered = isinstance(constant.value, int | float) and not isinstance(constant.value, bool)
    return _is_known(constant) and (node.value in {"==", "!="} or ordered)


def _is_known(node: Node) -> bool:
    if node.kind != "const":
        return False
    # Rules out what is beyond all doubles, too.
    return not isinstance(node.value, int | float) or isinstance(node.value, bool) or abs(node.value) <= NUMBER_MAX


def says(node: Node, value: Any) -> bool | None:
    """What a condition that `reads` one path says of a value: true, false, or None when it fails.

    Args:
        node: a condition for which `reads` is not None.
        value: a number, text or flag; `MISSING` when it is not there.
    """
    match node.kind:
        case "const":
            return bool(node.value)
        case "has":
            return value is not MISSING
        case "not":
            below = says(node.parts[0], value)
            return below if below is None or node.value % 2 == 0 else not below
        case "and" | "or":
            decisive = node.kind == "or"
            told = [says(part, value) for part in node.parts]
            return decisive if decisive in told else None if None in told else not decisive
        case "if":
            first = says(node.parts[0], value)
            return None if first is None else says(node.parts[1 if first else 2], value)
        case "binary":
            return None if value is MISSING else _compared(node, value)
    return value if isinstance(value, bool) else None


def _compared(node: Node, value: Any) -> bool | None:
    left, right = node.parts
    if node.value == "in":
        return any(_same(value, one.value) for one in right.parts)
    turned = left.kind == "const"
    sign = _TURNED[node.value] if turned else node.value
    constant = left.value if turned else right.value
    if sign in {"==", "!="}:
        return _same(value, constant) == (sign == "==")
    if isinstance(value, bool | str):
        return None
    match sign:
        case "<":
            return bool(value < constant)
        case "<=":
            return bool(value <= constant)
        case ">":
            return bool(value > constant)
    return bool(value >= constant)


def _same(value: Any, constant: Any) -> bool:
    """CEL's equality: numbers by their value, everything else only with its own kind."""
    if isinstance(value, bool) or isinstance(constant, bool) or constant is None:
        return value is constant
    return isinstance(value, str) == isinstance(constant, str) and bool(value == constant)


def constants(node: Node) -> Iterator[Any]:
    """What a condition compares with."""
    for part in node.walk():
        if part.kind == "const" and part.value is not None:
            yield part.value


def cells(numbers: list[float]) -> list[float]:
    """One value of each cell that ascending numbers cut the line into: below, at, and above each.

    Returns:
        2 n + 1 values; cell 2 i + 1 is number i itself.
    """
    found = [math.nextafter(numbers[0], -math.inf)] if numbers else [0.0]
    for number in numbers:
        found += [number, math.nextafter(number, math.inf)]
    return found


def dynamic_item(node: Node) -> tuple[str, Path] | None:
    """(`==` or `!=`, the other path) when a part compares `item` with another value of the event."""
    if node.kind != "binary" or node.value not in {"==", "!="}:
        return None
    left, right = (path(part) for part in node.parts)
    if left is None or right is None or (left == ITEM) == (right == ITEM):
        return None
    return node.value, right if left == ITEM else left
