"""`round.toml`: what it may say, what overrides it, and what is said of a mistake in it."""

import math
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from coordinator.commands.training import train
from coordinator.errors import RoundFileInvalid
from coordinator.shell.request import Request
from coordinator.shell.round_file import SECTIONS, parse, read, request_of

ROOT = Path(__file__).parents[2]
PLACES = [(section, key, field) for section, keys in SECTIONS.items() for key, field in keys.items()]
FIELDS = {field.name: field for field in msgspec.structs.fields(Request)}
Case = tuple[dict[str, dict[str, Any]], dict[str, Any]]
HINTS = typing.get_type_hints(Request, include_extras=True)


def fitting(field: str) -> st.SearchStrategy[Any]:
    """Values that the field may have in a file."""
    hint = HINTS[field]
    if field == "bundle":
        return st.text(min_size=1, max_size=20)

    def fits(value: Any) -> bool:
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError:
            return False
        return value is not None

    words = [w for a in (hint, *typing.get_args(hint)) for w in typing.get_args(a) if isinstance(w, str)]
    pool = [
        True,
        False,
        0,
        1,
        3,
        17,
        0.0,
        0.01,
        0.5,
        2.5,
        "word",
        *words,
        ["gateway"],
        ["gateway", "hub"],
        {},
        {"tau": 0.5},
    ]
    return st.sampled_from([value for value in pool if fits(value)])


@st.composite
def written(draw: st.DrawFn) -> Case:
    """A document, and what it asks for."""
    document: dict[str, dict[str, Any]] = {}
    asked: dict[str, Any] = {}
    for section, key, field in draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=6)):
        asked[field] = document.setdefault(section, {})[key] = draw(fitting(field))
    return document, asked


@given(written())
def test_what_is_written_is_what_is_asked_for_and_no_more(
    case: tuple[dict[str, dict[str, Any]], dict[str, Any]],
) -> None:
    document, asked = case
    found = parse(tomli_w.dumps(document), "round.toml")
    assert set(found) == set(asked)
    for name, value in asked.items():
        assert found[name] == (tuple(value) if isinstance(found[name], tuple) else value)


def test_every_field_of_a_request_can_be_written_in_exactly_one_place() -> None:
    assert sorted(field for _, _, field in PLACES) == sorted(FIELDS)


@given(st.sampled_from(PLACES), st.sampled_from([math.nan, math.inf, -1, 1e300, "word", [], {}, True, [[1]]]))
def test_a_wrong_value_is_an_error_that_names_its_place(place: tuple[str, str, str], value: Any) -> None:
    section, key, field = place
    try:
        found = parse(tomli_w.dumps({section: {key: value}}), "round.toml")
    except RoundFileInvalid as error:
        assert error.what.startswith("round.toml: ")
        assert f"{section}.{key}" in error.what
        assert error.hint
    else:
        assert msgspec.convert(found[field], HINTS[field]) == found[field]


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_request_or_an_error_with_its_fix(text: str) -> None:
    try:
        found = parse(text, "round.toml")
    except RoundFileInvalid as error:
        assert error.hint
    else:
        assert set(found) <= set(FIELDS)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("[round]\nrouns = 3", "round.rouns: unknown key `rouns`", "did you mean `rounds`?"),
        ("[privicy]\nnoise = 1.0", "privicy: unknown key `privicy`", "did you mean `privacy`?"),
        ("rounds = 3", "rounds: unknown key `rounds`", "did you mean `round`?"),
        ("[round]\nrounds = 0", "round.rounds: expected `int` >= 1 (got 0)", "expected kind"),
        ('[robust]\nrule = "multikrum"', "robust.rule: invalid enum value", "expected kind"),
        ("[round\n", "not TOML", "mend the line"),
    ],
)
def test_a_mistake_is_named_with_its_path_and_the_nearest_right_word(text: str, what: str, hint: str) -> None:
    with pytest.raises(RoundFileInvalid) as caught:
        parse(text, "round.toml")
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_a_missing_file_and_a_missing_bundle_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RoundFileInvalid, match="no such file"):
        read(tmp_path / "round.toml")
    with pytest.raises(RoundFileInvalid, match="no bundle is named"):
        request_of({"rounds": 3})


def test_the_shipped_example_says_every_default_and_is_read_as_it_stands() -> None:
    text = (ROOT / "docs" / "round.toml").read_text()
    request = request_of(parse(text, "docs/round.toml"))
    assert request == Request(bundle="affinity")
    assert sorted(_settable(text)) == sorted((section, key) for section, key, _ in PLACES)


def _settable(text: str) -> list[tuple[str, str]]:
    """Every key of the example, those that are commented out too."""
    found, section = [], ""
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in bare and bare.split(" = ")[0].isidentifier():
            found.append((section, bare.split(" = ")[0]))
    return found


def test_the_commands_defaults_are_those_of_a_request() -> None:
    with train.make_context("train", ["affinity"]) as context:
        own = {name: value for name, value in context.params.items() if name in FIELDS and name != "bundle"}
    plain = Request(bundle="affinity")
    differing = {name: (value, getattr(plain, name)) for name, value in own.items() if value != getattr(plain, name)}
    assert differing == {}
    assert set(FIELDS) - {"bundle"} <= set(own)
