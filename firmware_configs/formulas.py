"""Sums and products of scores, such as `0.7 * context + 0.3 * taste`, without CEL.

Most scores are written so. They are CEL, and what they say here is what CEL says, bit for bit; but a device whose
profile has no other expression need not load the library for them (3.5 MiB), and a decision gets its score sooner.
Whatever is more than numbers with a point, names, `+`, `-`, `*` and parentheses is CEL's.
"""

import operator
import re
from collections.abc import Callable, Mapping

Values = Mapping[str, object]
Formula = Callable[[Values], float]
"""Names and what they stand for → the value. Raises KeyError or TypeError where a name is missing or is no float."""

_TOKEN = re.compile(r"[ \t\r\n]*(?:([0-9]+\.[0-9]+)|([A-Za-z_][A-Za-z0-9_]*)|([-+*()]))")
_BLANK = " \t\r\n"
_SUMS = {"+": operator.add, "-": operator.sub}
_RESERVED = re.compile(
    r"(as|bool|break|bytes|const|continue|double|dyn|else|false|for|function|if|import|in|int|let|list|loop|map"
    r"|namespace|null|null_type|package|return|string|true|type|uint|var|void|while)$"
)
"""Names that mean something else in CEL (its language definition, "Syntax")."""


def formula(text: str) -> Formula | None:
    """The expression compiled; None: it is CEL's."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        found, at = _sum(tokens, 0)
    except (IndexError, ValueError):
        return None
    return found if at == len(tokens) else None


def names_in(text: str) -> frozenset[str]:
    """The names that a formula reads."""
    return frozenset(word for word in _tokens(text) or () if word[0].isalpha() or word[0] == "_")


def _tokens(text: str) -> list[str] | None:
    tokens, at, end = [], 0, len(text.rstrip(_BLANK))
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or (match[2] and _RESERVED.match(match[2])):
            return None
        tokens.append(match[match.lastindex or 0])
        at = match.end()
    return tokens


def _sum(tokens: list[str], at: int) -> tuple[Formula, int]:
    left, at = _product(tokens, at)
    while at < len(tokens) and tokens[at] in _SUMS:
        right, after = _product(tokens, at + 1)
        left, at = _joined(_SUMS[tokens[at]], left, right), after
    return left, at


def _product(tokens: list[str], at: int) -> tuple[Formula, int]:
    left, at = _atom(tokens, at)
    while at < len(tokens) and tokens[at] == "*":
        right, at = _atom(tokens, at + 1)
        left = _joined(operator.mul, left, right)
    return left, at


def _atom(tokens: list[str], at: int) -> tuple[Formula, int]:
    word = tokens[at]
    if word == "(":
        found, at = _sum(tokens, at + 1)
        if tokens[at] != ")":
            raise ValueError("a parenthesis is not closed")
        return found, at + 1
    if word in "+-*)":
        raise ValueError("a value is missing")
    return (_number(float(word)) if word[0].isdigit() else _named(word)), at + 1


def _joined(operation: Callable[[float, float], float], left: Formula, right: Formula) -> Formula:
    return lambda values: operation(left(values), right(values))


def _number(value: float) -> Formula:
    return lambda _values: value


def _named(name: str) -> Formula:
    def read(values: Values) -> float:
        value = values[name]
        if type(value) is not float:
            raise TypeError(f"{name} is no float")
        return value

    return read
