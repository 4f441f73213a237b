"""CEL expressions compile once, evaluate bounded, and fail by name."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression, paths


def test_an_expression_reads_nested_values() -> None:
    expression = compile_expression("fields.light > 200.0 && hour < 23")
    assert expression.names == {"fields", "hour"}
    assert paths(expression, "fields") == {"light"}
    assert expression.holds({"fields": {"light": 300.0}, "hour": 7})
    assert not expression.holds({"fields": {"light": 100.0}, "hour": 7})


def test_words_inside_text_are_no_names() -> None:
    expression = compile_expression("item == 'fields.secret' || \"hour\" == item")
    assert expression.names == {"item"}
    assert paths(expression, "fields") == frozenset()


def test_a_missing_name_is_an_error_and_not_false() -> None:
    with pytest.raises(ExpressionError, match="could not be evaluated"):
        compile_expression("fields.light > 1.0").holds({"fields": {}})


def test_only_true_holds() -> None:
    assert not compile_expression("1").holds({})


@pytest.mark.parametrize(
    "bomb",
    [
        "[1,2].map(x, [1,2].map(y, x * y)).size() > 0",
        "[1].exists(a, [1].all(b, a == b))",
        "(" * 40 + "1" + ")" * 40,
        "a" * 1_001,
        "1 +",
        "",
    ],
)
def test_what_costs_too_much_or_is_no_cel_is_refused(bomb: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(bomb)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abx01.()[]{}&|<>=!+-*/?:,'\" ", max_size=40))
def test_any_text_compiles_or_is_refused_by_name(text: str) -> None:
    try:
        expression = compile_expression(text)
    except ExpressionError:
        return
    try:
        expression.evaluate({"a": 1, "b": "x", "x": [1]})
    except ExpressionError as error:
        assert error.hint


def test_the_door_to_cel_brings_no_command_line_with_it() -> None:
    code = (
        "import sys; from firmware_configs.expressions import compile_expression; compile_expression('a');"
        "print([m for m in ('pydantic', 'rich', 'typer', 'prompt_toolkit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
