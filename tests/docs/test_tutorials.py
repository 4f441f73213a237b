"""A reader who types what a tutorial shows gets what it says."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.docs.tutorial import PAGES, ROOT, Block, Played, blocks, fault, kinds, mosquitto, play

FAST = ("fleet", "officer")
SLOW = ("engineer",)
NEEDS_MOSQUITTO = {"fleet"}


def text_of(page: str) -> str:
    return (PAGES / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_block_of_a_tutorial_does_what_the_page_says(page: str, tmp_path: Path) -> None:
    if page in NEEDS_MOSQUITTO and not mosquitto():
        pytest.skip("mosquitto and its clients are not installed")
    chosen = [block for block in blocks(text_of(page)) if not block.install]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    played = play(chosen, tmp_path / "reader", ROOT, {"PATH": path})
    assert [fault(one) for one in played if fault(one)] == []
    assert len(played) == len(chosen)


def test_every_tutorial_is_tried() -> None:
    assert sorted(path.stem for path in PAGES.iterdir()) == sorted({*FAST, *SLOW})


@pytest.mark.parametrize("page", [*FAST, *SLOW])
def test_nothing_in_a_tutorial_looks_like_a_command_and_is_not_run(page: str) -> None:
    assert set(kinds(text_of(page))) <= {"sh", "text"}


def _said(printed: str, *shown: str) -> str:
    return fault(Played(Block(1, "true\n", False, shown), printed, 1.0))


def test_what_is_shown_must_have_been_printed_in_this_order() -> None:
    assert _said("one\ntwo\nthree\n", "one", "…", "three") == ""
    assert "should have said `one`" in _said("two\none\n", "two", "one", "one")
    assert "should have said `three`" in _said("one\ntwo\n", "three")


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), min_size=1, max_size=6))
def test_what_was_printed_fits_itself_and_whatever_is_left_out_of_it(lines: list[str]) -> None:
    printed = "\n".join(lines)
    assert _said(printed, *lines) == ""
    assert _said(printed, lines[0][:1] + "…", *lines[1:]) == ""
    assert _said(printed, *(["…"] * len(lines))) == ""


def test_a_block_that_fails_ends_the_tutorial_and_is_named(tmp_path: Path) -> None:
    made = blocks("```sh\necho begun\n```\n\n```sh\nsleep 60 &\nfalse\n```\n\n```sh\necho never\n```\n")
    played = play(made, tmp_path / "reader", tmp_path, {})
    assert [fault(one) == "" for one in played] == [True, False]
    assert "line 5" in fault(played[1])


def test_a_reader_begins_with_an_empty_home(tmp_path: Path) -> None:
    (block,) = blocks("```sh\nls -A ~\necho $HOME\n```\n```text\n…/reader/home\n```\n")
    assert [fault(one) for one in play([block], tmp_path / "reader", tmp_path, {})] == [""]
