"""Formulas say what CEL says, bit for bit, and take nothing that CEL would refuse."""

import math
import struct
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import _native, compile_expression
from firmware_configs.formulas import formula

NAMES = ("context", "taste", "a_1")
blank = st.sampled_from(["", " ", "  ", "\n", "\t"])
floats = st.floats(allow_nan=True, allow_infinity=True)
literals = st.floats(0, 1e6).map(lambda value: f"{value:.7f}") | st.sampled_from(
    ["0.1", "1.0", "3.333333333333333333333"]
)
atoms = literals | st.sampled_from(NAMES)


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    between = st.tuples(parts, blank, st.sampled_from("+-*"), blank, parts).map("".join)
    return between | parts.map(lambda inner: f"({inner})")


texts = st.recursive(atoms, joined, max_leaves=10)
scraps = st.lists(
    st.sampled_from(
        [
            "1.0",
            "1",
            ".5",
            "1.",
            "1e3",
            "context",
            "true",
            "in",
            "-",
            "+",
            "*",
            "/",
            "(",
            ")",
            " ",
            "?",
            "x.y",
            "//",
            "'a'",
        ]
    ),
    max_size=6,
).map("".join)


def by_cel(text: str, values: dict[str, Any]) -> Any:
    try:
        return _native().compile(text).execute(values)
    except Exception as error:  # noqa: BLE001 - that it refuses is the point
        return type(error)


def bits(value: Any) -> Any:
    return struct.pack("d", value) if isinstance(value, float) and not math.isnan(value) else str(value)


@given(texts, st.fixed_dictionaries(dict.fromkeys(NAMES, floats)))
def test_a_formula_has_the_value_that_cel_gives_it(text: str, values: dict[str, float]) -> None:
    compiled = formula(text)
    assert compiled is not None
    assert bits(compiled(values)) == bits(by_cel(text, values))


@given(scraps)
def test_what_cel_refuses_is_no_formula(text: str) -> None:
    if formula(text) is not None:
        _native().compile(text)


@pytest.mark.parametrize(
    ("values", "value"), [({"context": 1}, None), ({}, None), ({"context": "a"}, None), ({"context": 0.25}, 0.75)]
)
def test_what_is_no_float_goes_to_cel(values: dict[str, Any], value: float | None) -> None:
    expression = compile_expression("1.0 - context")
    if value is not None:
        assert expression.evaluate(values) == value
        return
    with pytest.raises(ExpressionError, match=r"could not be evaluated"):
        expression.evaluate(values)


def test_a_profile_with_such_scores_only_does_not_load_cel() -> None:
    script = """
import sys
from firmware_configs.expressions import compile_expression
assert compile_expression("0.5 * context + 0.25 * taste").evaluate({"context": 0.5, "taste": 1.0}) == 0.5
assert not any("/cel" in line for line in open("/proc/self/maps"))
assert compile_expression("context > 0.1").holds({"context": 0.5})
assert any("/cel" in line for line in open("/proc/self/maps"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
