"""The dashboard's rules by themselves: who may, what has changed, how curves are drawn."""

import math
import xml.etree.ElementTree as ET
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard import parts
from coordinator.dashboard.curves import Chart, Interval, Line, intervals, legend, rows, svg, ticks, told
from coordinator.dashboard.roles import ACTIONS, ALLOWED, MEANING, ROLES, may

WIDENS = {"rollout.resume", "rollout.promote"}


def test_every_role_has_a_meaning_and_no_action_is_anybodys_that_is_none() -> None:
    assert set(ALLOWED) == set(MEANING) == set(ROLES)
    assert all(allowed <= set(ACTIONS) for allowed in ALLOWED.values())


def test_only_the_operator_widens_and_only_the_officer_reads_what_is_the_officers() -> None:
    for role in ROLES:
        assert (role == "operator") == any(may(role, action) for action in WIDENS)  # type: ignore[arg-type]
        assert (role == "officer") == may(role, "look.privacy")
    changing = [action for action in ACTIONS if not action.startswith("look.")]
    assert not any(may(role, action) for role in ("viewer", "officer") for action in changing)  # type: ignore[arg-type]


def page(sections: dict[str, list[tuple[str, str]]]) -> str:
    """A page with these sections and their rows (id, text)."""
    drawn = ""
    for name, held in sections.items():
        lines = "".join(f'<tr id="{name}-{row}" data-live><td>{escape(text)}</td></tr>' for row, text in held)
        drawn += f'<h2>{name}</h2><section id="{name}" data-live><table>{lines}</table></section>'
    return f"<main>{drawn}</main>"


def put(html: str, part: parts.Part) -> str:
    """What the page's script does with a part."""
    found = {name: section.html for name, section in parts.sections(html).items()}
    for section in list(parts.sections(html).values()):
        found |= section.rows
    assert html.count(found[part.id]) == 1
    return html.replace(found[part.id], part.html)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ROWS = st.dictionaries(st.sampled_from("abcde"), TEXTS, max_size=5).map(lambda held: list(held.items()))
PAGES = st.tuples(ROWS, ROWS).map(lambda held: {"fleet": held[0], "log": held[1]})


@given(PAGES, PAGES)
def test_the_parts_that_changed_put_in_place_make_the_new_page(
    before: dict[str, list[tuple[str, str]]], after: dict[str, list[tuple[str, str]]]
) -> None:
    old, new = page(before), page(after)
    held = old
    for part in parts.changed(parts.sections(old), parts.sections(new)):
        held = put(held, part)
    assert held == new


def test_a_row_that_changed_is_told_alone_and_a_row_that_came_brings_its_section() -> None:
    old = parts.sections(page({"fleet": [("a", "1"), ("b", "1")], "log": []}))
    one = parts.sections(page({"fleet": [("a", "1"), ("b", "2")], "log": []}))
    more = parts.sections(page({"fleet": [("a", "1"), ("b", "1"), ("c", "1")], "log": []}))
    assert [part.id for part in parts.changed(old, one)] == ["fleet-b"]
    assert [part.id for part in parts.changed(old, more)] == ["fleet"]
    assert list(parts.changed(old, old)) == []
    assert parts.digest(old) != parts.digest(one)
    assert not parts.reshaped(old, one)
    assert parts.reshaped(old, parts.sections(page({"fleet": []})))


NUMBERS = st.floats(-1e9, 1e9) | st.just(math.nan) | st.just(math.inf)
LINES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8).map(tuple)


@given(TEXTS, LINES, LINES, st.booleans())
def test_any_curve_is_a_picture_that_stands_within_its_frame(
    name: str, first: tuple[tuple[float, float], ...], limit: tuple[tuple[float, float], ...], whole: bool
) -> None:
    printable = "".join(letter for letter in name if letter.isprintable())
    chart = Chart(
        title=printable,
        x="round",
        y="devices",
        lines=(Line(name=printable, points=first), Line(name="limit", points=limit, limit=True)),
        whole_x=whole,
    )
    drawn = ET.fromstring(svg(chart))  # noqa: S314 - our own
    assert drawn.get("role") == "img"
    assert printable in (drawn.get("aria-label") or "")
    assert "style" not in svg(chart)
    for mark in drawn.iter("circle"):
        assert 0 <= float(mark.get("cx", "-1")) <= 360
        assert 0 <= float(mark.get("cy", "-1")) <= 190
    assert [kind for kind, _ in legend(chart)] == ["c0", "limit"]
    assert len(rows(chart)) >= len({x for x, _ in first if not math.isnan(x)})


@given(st.floats(-1e6, 1e6), st.floats(0.0, 1e6), st.booleans())
def test_ticks_are_few_and_within(low: float, span: float, whole: bool) -> None:
    found = ticks(low, low + span, whole=whole)
    assert 1 <= len(found) <= 12
    assert found == sorted(found)
    margin = 1e-6 * (1.0 + abs(low) + span)
    assert all(low - margin <= tick <= low + span + margin for tick in found)
    assert ticks(0.0, 8.0) == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_intervals_are_said_as_well_as_drawn() -> None:
    drawn = intervals("Differences", "clicks", [Interval(name="a < b", low=-0.1, value=0.2, high=0.5)])
    assert "a &lt; b 0.2, -0.1 to 0.5" in drawn
    ET.fromstring(drawn)  # noqa: S314 - our own
    endless = intervals("Differences", "x", [Interval(name="a", low=-math.inf, value=math.nan, high=math.inf)])
    assert "nan" not in endless.split("aria-label")[1].split('"', 2)[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.5, "0.5"), (1234.0, "1,234"), (0.012345, "0.01235"), (math.nan, "–"), (12.0, "12"), (100.0, "100")],
)
def test_numbers_are_told_short(value: float, text: str) -> None:
    assert told(value) == text
