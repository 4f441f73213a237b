"""What an expression can cost is known before it runs; what could cost too much is refused by name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.cel.cost import COST_MAX_US
from firmware_configs.cel.fragment import is_understood
from firmware_configs.cel.pattern import pattern_cost
from firmware_configs.cel.tree import Node
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression, tree_of

LARGEST = {
    "fields": {"t": "é" * 512, "u": "a" * 512, "n": 5.0, "b": True},
    "item": "x" * 128,
    "subject": "s" * 256,
    "hour": 23,
    "weekday": 6,
    "session": {"events": 3.0},
}


def _ones(count: int) -> str:
    return "[" + ",".join(["1"] * count) + "]"


@pytest.mark.parametrize(
    "bomb",
    [
        _ones(400) + ".map(x, x)",
        _ones(250) + f".filter(x, x in {_ones(100)})",
        _ones(200) + f".map(x, {_ones(100)})",
        "[" + ",".join(["fields.t"] * 90) + "].map(x, x + x + x)",
        "fields.map(k, fields)",
        "fields == fields",
        "[session, session]",
        "fields.t.map(c, c)",
        " + ".join(["fields.t"] * 90),
        "1" + "+1" * 400,
        "fields.t.matches(fields.u)",
        "fields.t.matches('a' + 'b')",
        r"fields.t.matches('\\w{100}')",
        r"fields.t.matches(r'\w{100}')",
        r"fields.t.matches('\x5cw{100}')",
        r"fields.t.matches('\\pL{1,200}')",
        r"fields.t.matches('\\p{Greek}{1,200}')",
        r"fields.t.matches('[\\w]{100}')",
        "fields.t.matches('((a{1,30}){1,30}){1,30}')",
        "fields.t.matches('a{100000}')",
        "fields.u.matches('(" + "a?" * 200 + ")*x')",
        _ones(300) + ".exists(x, fields.t.matches('^(a|b)*c$'))",
    ],
)
def test_a_bomb_is_refused_before_it_runs(bomb: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(bomb)
    assert caught.value.hint


@pytest.mark.parametrize(
    "honest",
    [
        "fields.light > 200.0 && (hour < 6 || hour >= 22) && item in ['a', 'b', 'c']",
        "item.matches('^off-[0-9]{1,4}$')",
        r"fields.t.matches('^[a-z]+\\d+$')",
        "['a', 'b'].exists(x, item.startsWith(x))",
        f"fields.n in {_ones(200)}",
        "has(fields.t) ? fields.t.size() > 3 : false",
        "timestamp('2026-01-01T00:00:00Z').getHours() < 3",
        "'t' in fields && fields['t'] == 'a' // said twice",
    ],
)
def test_what_people_write_is_let_in(honest: str) -> None:
    assert 0 < compile_expression(honest).cost_us < COST_MAX_US


LEAVES = st.sampled_from(["fields.t", "fields.n", "item", "hour", "1", "2.5", "'ab'", "true", "x", "-3", "null"])
PATTERNS = st.sampled_from(["a+b", "[a-z]{3}", "(a|b)*", ".{1,9}", r"\\d{2}", "^x$"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.builds("{} {} {}".format, below, st.sampled_from(["+", "-", "*", "==", "<", ">=", "&&", "||", "in"]), below),
        st.builds("({} ? {} : {})".format, below, below, below),
        st.builds("({})".format, below),
        st.builds("!{}".format, below),
        st.builds("-{}".format, below),
        st.builds(lambda ones: f"[{', '.join(ones)}]", st.lists(below, max_size=6)),
        st.builds(
            "[{}, {}].{}(x, {})".format, below, below, st.sampled_from(["map", "filter", "all", "exists"]), below
        ),
        st.builds("{}.{}({})".format, below, st.sampled_from(["contains", "startsWith"]), below),
        st.builds("fields.t.matches('{}')".format, PATTERNS),
        st.builds("{}({})".format, st.sampled_from(["size", "string", "int", "double", "type"]), below),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_our_reading_is_the_librarys(text: str) -> None:
    """Written out again with every bracket that our tree implies, an expression has the same value."""
    try:
        expression = compile_expression(text)
    except ExpressionError:
        return
    given_values = {**LARGEST, "x": 7}
    assert _value(_written(expression.tree, text), given_values) == _value(text, given_values)


def _value(text: str, given_values: dict[str, object]) -> object:
    from firmware_configs.expressions import _native

    try:
        return repr(_native().compile(text).execute(given_values))
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        return type(error)


def _written(node: Node, text: str) -> str:
    """The expression with brackets around everything."""
    parts = [_written(part, text) for part in node.parts]
    match node.kind:
        case "binary" | "and" | "or":
            return "(" + f" {node.value} ".join(parts) + ")"
        case "if":
            return f"(({parts[0]}) ? ({parts[1]}) : ({parts[2]}))"
        case "not":
            return "(" + "!" * node.value + parts[0] + ")"
        case "neg":
            return "(" + "-" * node.value + parts[0] + ")"
        case "list":
            return f"[{', '.join(parts)}]"
        case "macro":
            return f"({parts[0]}).{node.value[0]}({', '.join([node.value[1], *parts[1:]])})"
        case "method":
            return f"({parts[0]}).{node.value}({', '.join(parts[1:])})"
        case "call":
            return f"{node.value}({', '.join(parts)})"
    return text[node.start : node.end]


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab01.()[]{}&|<>=!+-*/?:,'\" \\\\rn_\n", max_size=60))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        tree_of(text)
    except ExpressionError as error:
        assert error.hint


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab(){}[]|*+?.^$\\wdpL,1290-", max_size=40))
def test_any_pattern_has_a_cost_or_is_refused_by_name(pattern: str) -> None:
    try:
        build_us, states = pattern_cost(pattern)
    except ExpressionError as error:
        assert error.hint
        return
    assert build_us > 0
    assert states > 0


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_what_is_understood_without_the_library_is_an_expression_for_it(text: str) -> None:
    from firmware_configs.expressions import _native

    try:
        tree = tree_of(text)
    except ExpressionError:
        return
    if is_understood(tree):
        _native().compile(text)
