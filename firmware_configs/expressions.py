"""CEL: the one door to the library that compiles and evaluates the profile's expressions.

The library's native module is loaded by itself: its package imports a command line of its own with it,
30 MB that a device would carry for nothing (docs/adr/0001).
"""

import importlib.machinery
import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firmware_configs.errors import ExpressionError
from firmware_configs.formulas import Formula, formula, names_in

if TYPE_CHECKING:
    from firmware_configs.cel.tree import Node

LENGTH_MAX = 1_000
NESTING_MAX = 32

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
    """A compiled expression, whose evaluation is bounded."""

    __slots__ = ("_formula", "_handed", "_program", "_tree", "cost_us", "text")

    def __init__(
        self, text: str, program: Any, tree: "Node | None", cost_us: float, simple: Formula | None = None
    ) -> None:
        """Hold what `compile_expression` made.

        Args:
            program: CEL's; None where the library is not needed yet: it compiles when it is.
            tree: None where there is a `simple` formula.
            cost_us: the longest that it can take, microseconds; see `cel.cost`.
        """
        self.text = text
        self.cost_us = cost_us
        self._program = program
        self._formula = simple
        self._tree = tree
        self._handed: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    @property
    def is_formula(self) -> bool:
        """Whether it is a sum or product of scores, computed without CEL."""
        return self._formula is not None

    @property
    def tree(self) -> "Node":
        """What it says."""
        if self._tree is None:
            self._tree = tree_of(self.text)
        return self._tree

    @property
    def names(self) -> frozenset[str]:
        """The names that it reads, without those that its macros bind."""
        if self._formula is not None:
            return names_in(self.text)
        from firmware_configs.cel.reading import free_names

        return free_names(self.tree)

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
        if self._handed is None:
            from firmware_configs.cel.reading import handing

            self._handed = handing(self.tree)
        try:
            if self._program is None:
                self._program = _native().compile(self.text)
            result: Value = self._program.execute(self._handed(values))
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

    The library is loaded only for what is not understood without it: a sum of scores (`formulas`), or a condition of
    comparisons (`cel.fragment`), which rules answer by their index.

    Raises:
        ExpressionError: syntax (with line and column), too long, too deeply nested, macros inside macros, or a cost
            that may pass `cel.cost.COST_MAX_US`.
    """
    if len(text) <= LENGTH_MAX and text.count("(") <= NESTING_MAX and (simple := formula(text)) is not None:
        return Expression(text, None, None, float(len(text)), simple)
    tree = tree_of(text)
    from firmware_configs.cel.cost import check_cost
    from firmware_configs.cel.fragment import is_understood

    cost_us = check_cost(text, tree)
    try:
        program = None if is_understood(tree) else _native().compile(text)
    except (ValueError, RuntimeError) as error:
        raise ExpressionError(
            f"`{text}` is not a CEL expression: {_first_line(error)}",
            hint="see the CEL language definition at cel.dev",
        ) from error
    return Expression(text, program, tree, cost_us)


def tree_of(text: str) -> "Node":
    """The tree of an expression that is not too long, nor too deeply nested.

    Raises:
        ExpressionError: it is, or it is no expression.
    """
    if len(text) > LENGTH_MAX:
        raise ExpressionError(
            f"an expression of {len(text)} characters; at most {LENGTH_MAX} are taken",
            hint="split it into several rules",
        )
    from firmware_configs.cel.reading import macro_depth
    from firmware_configs.cel.tree import MACROS, parse

    tree = parse(text, NESTING_MAX)
    if macro_depth(tree) > 1:
        raise ExpressionError(
            f"`{text}` puts a macro ({', '.join(sorted(MACROS))}) inside another one, whose costs multiply",
            hint="compute the inner list as a feature, or write two rules",
        )
    return tree


def paths(expression: Expression, root: str) -> frozenset[str]:
    """The names read directly under `root`, such as `light` for `fields.light` and root `fields`."""
    if expression.is_formula:
        return frozenset()  # its names have no dots
    from firmware_configs.cel.reading import read_under

    return read_under(expression.tree, root)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
