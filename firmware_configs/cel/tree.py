"""An expression as a tree, by the grammar of the CEL language definition.

The library evaluates; this only reads, so that an expression can be bounded, indexed and compared with others. It
takes less than the library does: what it does not know is refused, so nothing is evaluated whose cost is not known.
"""

import re
from collections.abc import Iterator
from typing import Any

from firmware_configs.errors import ExpressionError

DEPTH_MAX = 64
"""Deepest tree."""
MACROS = frozenset({"map", "filter", "all", "exists", "exists_one"})
FUNCTIONS = frozenset({"size", "matches", "int", "uint", "double", "string", "bytes", "bool", "type", "dyn"}) | {
    "timestamp",
    "duration",
}
METHODS = frozenset({"size", "contains", "startsWith", "endsWith", "matches"}) | {
    f"get{part}"
    for part in ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds")
}

_TOKEN = re.compile(
    r"""(?>(?:[\ \t\r\n\f]|//[^\n]*)*)(?:
    (?P<text>[rRbB]{0,2}(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"
        |'(?:\\.|[^'\\\r\n])*'|"(?:\\.|[^"\\\r\n])*"))
    |(?P<number>0x[0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]))""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"[ \t\r\n\f]|//[^\n]*")
_LEVELS = (frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}), frozenset({"+", "-"}), frozenset({"*", "/", "%"}))
RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
"""Names that mean something else in CEL (its language definition, "Syntax")."""
_WORDS = {"true": True, "false": False, "null": None}


class Node:
    """One part of an expression."""

    __slots__ = ("end", "kind", "parts", "start", "value")

    def __init__(self, kind: str, value: Any, parts: tuple["Node", ...], start: int, end: int) -> None:
        self.kind = kind
        """`const`, `unread` (a constant whose value only the library knows), `bytes`, `name`, `select`,
        `index`, `call`, `method`, `macro`, `has`, `list`, `map`,        `not`, `neg`, `binary`, `and`, `or`, `if`."""
        self.value = value
        """A constant's value; a name; a function, method or operator; a macro's (name, variable)."""
        self.parts = parts
        self.start, self.end = start, end
        """Where it stands in the text."""

    def walk(self) -> Iterator["Node"]:
        """The node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def depth(self) -> int:
        """Levels of the tree."""
        level, deep = [self], 0
        while level:
            level, deep = [part for node in level for part in node.parts], deep + 1
        return deep


def parse(text: str, nesting_max: int = 32) -> Node:
    """The tree of an expression.

    Args:
        nesting_max: brackets that may lie inside each other.
    Raises:
        ExpressionError: it is none, or uses what is not taken here.
    """
    reader = _Reader(text, nesting_max)
    tree = reader.whole()
    if tree.depth() > DEPTH_MAX:
        raise ExpressionError(f"`{text[:60]}…` nests deeper than {DEPTH_MAX}", hint="split it into several rules")
    return tree


def path(node: Node) -> tuple[str, str] | None:
    """(root, name) of `fields.light`, ("", name) of `hour`; None for anything else."""
    if node.kind == "name":
        return "", node.value
    if node.kind == "select" and node.parts[0].kind == "name":
        return node.parts[0].value, node.value
    return None


class _Reader:
    """Recursive descent. Chains of `&&`, `||` and `!` become one node each."""

    def __init__(self, text: str, nesting_max: int) -> None:
        self._text, self._nesting_max = text, nesting_max
        self._at = 0
        self._open = 0
        self._kind, self._word, self._start, self._end = "", "", 0, 0
        self._last = 0
        self._next()

    def whole(self) -> Node:
        tree = self._if()
        if self._kind != "end":
            raise self._fault()
        return tree

    def _next(self) -> None:
        self._last = self._end
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            if _SPACE.sub("", self._text[self._at :]):
                self._start = self._at
                raise self._fault()
            self._kind, self._word, self._start = "end", "", len(self._text)
            return
        self._kind, self._at = str(found.lastgroup), found.end()
        self._word = found[self._kind]
        self._start, self._end = found.start(self._kind), found.end()

    def _fault(self) -> ExpressionError:
        return ExpressionError(
            f"`{self._text}` is not a CEL expression that is taken here: see column {self._start + 1}",
            hint="see the CEL language definition at cel.dev; messages and optional values are not taken",
        )

    def _take(self, word: str) -> bool:
        if self._kind in {"sign", "name"} and self._word == word:
            self._next()
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._fault()

    def _if(self) -> Node:
        start = self._start
        condition = self._chain("or", "||")
        if not self._take("?"):
            return condition
        self._deeper()
        yes = self._chain("or", "||")
        self._need(":")
        no = self._if()
        self._open -= 1
        return Node("if", "?", (condition, yes, no), start, self._last)

    def _deeper(self) -> None:
        self._open += 1
        if self._open > self._nesting_max:
            raise ExpressionError(f"`{self._text[:60]}…` nests deeper than {self._nesting_max}", hint="simplify it")

    def _chain(self, kind: str, sign: str) -> Node:
        start, parts = self._start, [self._below(kind)]
        while self._take(sign):
            parts.append(self._below(kind))
        return parts[0] if len(parts) == 1 else Node(kind, sign, tuple(parts), start, self._last)

    def _below(self, kind: str) -> Node:
        return self._chain("and", "&&") if kind == "or" else self._binary(0)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        start, left = self._start, self._binary(level + 1)
        while self._kind in {"sign", "name"} and self._word in _LEVELS[level]:
            sign = self._word
            self._next()
            left = Node("binary", sign, (left, self._binary(level + 1)), start, self._last)
        return left

    def _unary(self) -> Node:
        start, sign, times = self._start, self._word, 0
        if self._kind != "sign" or sign not in {"!", "-"}:
            return self._member()
        while self._take(sign):
            times += 1
        below = self._member()
        if sign == "-" and times == 1 and below.kind == "const" and type(below.value) in {int, float}:
            return Node("const", -below.value, (), start, self._last)
        return Node("not" if sign == "!" else "neg", times, (below,), start, self._last)

    def _member(self) -> Node:
        start, node = self._start, self._primary()
        while True:
            if self._take("."):
                node = self._selected(node, start)
            elif self._take("["):
                self._deeper()
                at = self._if()
                self._need("]")
                self._open -= 1
                node = Node("index", "", (node, at), start, self._last)
            else:
                return node

    def _selected(self, of: Node, start: int) -> Node:
        name = self._name()
        if not self._take("("):
            return Node("select", name, (of,), start, self._last)
        given = self._until(")")
        if name in MACROS:
            if len(given) not in {2, 3} or given[0].kind != "name" or (len(given) == 3 and name != "map"):
                raise self._fault()
            return Node("macro", (name, given[0].value), (of, *given[1:]), start, self._last)
        if name not in METHODS:
            raise self._unknown(name, METHODS | MACROS)
        return Node("method", name, (of, *given), start, self._last)

    def _name(self) -> str:
        if self._kind != "name":
            raise self._fault()
        name = self._word
        self._next()
        return name

    def _unknown(self, name: str, known: frozenset[str]) -> ExpressionError:
        return ExpressionError(
            f"`{self._text}` calls `{name}`, which is not there", hint=f"use one of: {', '.join(sorted(known))}"
        )

    def _until(self, end: str) -> tuple[Node, ...]:
        self._deeper()
        found: list[Node] = []
        while not self._take(end):
            if found:
                self._need(",")
                if self._take(end):
                    break
            found.append(self._if())
        self._open -= 1
        return tuple(found)

    def _primary(self) -> Node:
        start = self._start
        if self._kind == "text":
            return self._literal()
        if self._kind == "number":
            word = self._word
            self._next()
            if word[-1] in "uU":
                return Node("unread", word, (), start, self._last)
            hexadecimal = word[:2] == "0x"
            whole = hexadecimal or word.isdigit()
            return Node("const", int(word, 16 if hexadecimal else 10) if whole else float(word), (), start, self._last)
        if self._take("("):
            self._deeper()
            inner = self._if()
            self._need(")")
            self._open -= 1
            return inner
        if self._take("["):
            return Node("list", "", self._until("]"), start, self._last)
        if self._take("{"):
            return Node("map", "", self._pairs(), start, self._last)
        return self._named(start)

    def _named(self, start: int) -> Node:
        name = self._name()
        if name in _WORDS:
            return Node("const", _WORDS[name], (), start, self._last)
        if not self._take("("):
            return Node("name", name, (), start, self._last)
        given = self._until(")")
        if name == "has":
            if len(given) != 1 or given[0].kind != "select":
                raise self._fault()
            return Node("has", "", given, start, self._last)
        if name not in FUNCTIONS:
            raise self._unknown(name, FUNCTIONS)
        return Node("call", name, given, start, self._last)

    def _pairs(self) -> tuple[Node, ...]:
        self._deeper()
        found: list[Node] = []
        while not self._take("}"):
            if found:
                self._need(",")
                if self._take("}"):
                    break
            found.append(self._if())
            self._need(":")
            found.append(self._if())
        self._open -= 1
        return tuple(found)

    def _literal(self) -> Node:
        start, word = self._start, self._word
        self._next()
        prefix = word[: len(word) - len(word.lstrip("rRbB"))].lower()
        body = word[len(prefix) :]
        quotes = 3 if body[:3] in {"'''", '"""'} and len(body) >= 6 else 1
        inner = body[quotes:-quotes]
        if "b" in prefix:
            return Node("bytes", inner, (), start, self._last)
        plain = quotes == 1 and "R" not in word[: len(prefix)] and ("\\" not in inner or prefix == "r")
        # What a backslash stands for, the library alone says: such a text is a constant whose value is not known here.
        return Node("const" if plain else "unread", inner, (), start, self._last)
