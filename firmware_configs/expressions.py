"""CEL: the one door to the library that compiles and evaluates the profile's expressions.

The library's native module is loaded by itself: its package imports a command line of its own with it,
30 MB that a device would carry for nothing (docs/adr/0001).
"""

import importlib.machinery
import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from firmware_configs.errors import ExpressionError
from firmware_configs.formulas import Formula, formula

LENGTH_MAX = 1_000
NESTING_MAX = 32
MACROS = ("map", "filter", "all", "exists", "exists_one")
KEYWORDS = frozenset({"true", "false", "null", "in", "as", "has", "size", "int", "uint", "double", "string", "bool"})

_MACRO = re.compile(rf"\.\s*(?:{'|'.join(MACROS)})\s*\(")
_TEXT = re.compile(r"""r?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\b(?!\s*\()")

Value = bool | int | float | str | bytes | None | list[Any] | dict[str, Any]


@cache
def _native() -> Any:
    """The extension module `cel.cel`, without running the package's `__init__`."""
    package = importlib.util.find_spec("cel")
    if package is None or not package.submodule_search_locations:
        raise ExpressionError("the CEL library is missing", hint="pip install common-expression-language")
    for folder in package.submodule_search_locations:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / f"cel{suffix}"
            if path.exists():
                spec = importlib.util.spec_from_file_location("cel.cel", path)
                if spec is not None and spec.loader is not None:
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    return module
    raise ExpressionError("the CEL library has no native module", hint="reinstall common-expression-language")


class Expression:
    """A compiled expression. Evaluation is bounded: CEL has no loops, and macros do not nest."""

    __slots__ = ("_formula", "_program", "names", "text")

    def __init__(self, text: str, program: Any, names: frozenset[str], simple: Formula | None = None) -> None:
        """Hold what `compile_expression` made.

        Args:
            program: CEL's; None where there is a `simple` formula: it is compiled when it is needed after all.
            names: that it reads.
        """
        self.text = text
        self.names = names
        self._program = program
        self._formula = simple

    def evaluate(self, values: Mapping[str, Any]) -> Value:
        """The expression's value.

        Args:
            values: what the names stand for; nested dicts are read with dots.

        Raises:
            ExpressionError: a name is not there, or types do not fit.
        """
        if self._formula is not None:
            try:
                return self._formula(values)
            except (KeyError, TypeError):
                pass  # CEL knows what to make of it, or names what is wrong
        if self._program is None:
            self._program = _native().compile(self.text)
        try:
            result: Value = self._program.execute(values if isinstance(values, dict) else dict(values))
        except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise ExpressionError(
                f"`{self.text}` could not be evaluated: {_first_line(error)}",
                hint="check the names and types it uses; `has(a.b)` asks whether a field is there",
            ) from error
        return result

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the expression is exactly true; an error counts as an error, not as false."""
        return self.evaluate(values) is True


def compile_expression(text: str) -> Expression:
    """Compile and bound an expression.

    Raises:
        ExpressionError: syntax (with line and column), too long, too deeply nested, or macros inside macros,
            whose cost would multiply.
    """
    if len(text) > LENGTH_MAX:
        raise ExpressionError(
            f"an expression of {len(text)} characters; at most {LENGTH_MAX} are taken",
            hint="split it into several rules",
        )
    bare = _TEXT.sub('""', text)
    if _nesting(bare) > NESTING_MAX:
        raise ExpressionError(f"`{text[:60]}…` nests deeper than {NESTING_MAX}", hint="simplify it")
    if _macro_depth(bare) > 1:
        raise ExpressionError(
            f"`{text}` puts a macro ({', '.join(MACROS)}) inside another one, whose costs multiply",
            hint="compute the inner list as a feature, or write two rules",
        )
    simple = formula(text)
    try:
        program = None if simple is not None else _native().compile(text)
    except (ValueError, RuntimeError) as error:
        raise ExpressionError(
            f"`{text}` is not a CEL expression: {_first_line(error)}",
            hint="see the CEL language definition at cel.dev",
        ) from error
    names = frozenset(_NAME.findall(bare)) - KEYWORDS
    return Expression(text, program, names, simple)


def paths(expression: Expression, root: str) -> frozenset[str]:
    """The names read directly under `root`, such as `light` for `fields.light` and root `fields`."""
    bare = _TEXT.sub('""', expression.text)
    return frozenset(re.findall(rf"(?<![\w.]){re.escape(root)}\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\()", bare))


def _nesting(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def _macro_depth(text: str) -> int:
    """How many macro calls lie inside each other."""
    opened: list[bool] = []
    deepest = 0
    starts = {match.end() - 1 for match in _MACRO.finditer(text)}
    for at, char in enumerate(text):
        if char == "(":
            opened.append(at in starts)
            deepest = max(deepest, sum(opened))
        elif char == ")" and opened:
            opened.pop()
    return deepest


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
