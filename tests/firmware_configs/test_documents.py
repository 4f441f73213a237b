"""Documents from a profile: everything that it says is in them, and what it cannot know is marked as open."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from firmware_configs import profile as p
from firmware_configs.cli import main
from firmware_configs.commands.write import DOCUMENTS
from firmware_configs.loader import load
from firmware_configs.reference_profile import REFERENCE
from firmware_configs.report import pages, wording
from firmware_configs.report.documents import KINDS, OPEN
from firmware_configs.report.pages import Bullets, Heading, Page, Paragraph, Table
from firmware_configs.rules import words

ROOT = Path(__file__).parents[2]
HOME = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
PROFILE = load(HOME).profile


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", []  # type: str, list[str]

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the library calls it so
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def _read(page: Page) -> _Text:
    reader = _Text()
    reader.feed(pages.html(page))
    return reader


def test_every_document_of_the_command_is_written() -> None:
    assert set(DOCUMENTS) == set(KINDS)


@pytest.mark.parametrize("kind", ["record", "notice", "dpia"])
def test_no_purpose_field_or_egress_is_left_out(kind: str) -> None:
    text = _read(KINDS[kind](REFERENCE, [])).text
    for purpose in REFERENCE.purpose:
        assert purpose.text in text
    for source in REFERENCE.source:
        for field in source.field:
            assert field.name.replace("_", " ") in text
    if kind == "notice":
        for egress in REFERENCE.egress:
            assert wording.KINDS[egress.kind][0] in text


def test_the_schedule_names_every_category_with_its_days() -> None:
    text = _read(KINDS["retention"](REFERENCE, [])).text
    for category, kept in REFERENCE.retention.items():
        assert category in text
        assert wording.days(kept.days) in text


def test_what_a_profile_does_not_say_is_marked_as_open_and_what_it_says_is_not() -> None:
    assert OPEN in _read(KINDS["notice"](PROFILE, [])).text
    told = _read(KINDS["notice"](REFERENCE, [])).text
    assert OPEN not in told
    for part in (REFERENCE.controller.name, REFERENCE.controller.contact, REFERENCE.controller.authority):
        assert part in told


def test_the_label_says_by_which_kinds_of_egress_a_category_leaves() -> None:
    page = KINDS["label"](PROFILE, [])
    table = next(part for part in page.parts if isinstance(part, Table))
    leaves = {row[4]: row[2] for row in table.rows}
    assert "update" in leaves["improve-models and personalise"]
    assert leaves["comfort"] == "decision"


def test_the_assessment_lists_what_the_auditor_finds() -> None:
    wrong = msgspec.structs.replace(
        PROFILE, egress=tuple(msgspec.structs.replace(egress, k_min=1) for egress in PROFILE.egress)
    )
    assert "DM202" in _read(KINDS["dpia"](wrong, [])).text
    assert "DM202" not in _read(KINDS["dpia"](PROFILE, [])).text


def test_the_notice_is_easy_to_read() -> None:
    assert words.lix(_read(KINDS["notice"](REFERENCE, [])).text) < 45


def test_notices_say_that_things_are_tried_out_only_where_they_are() -> None:
    quiet = msgspec.structs.replace(
        REFERENCE,
        placement=tuple(
            msgspec.structs.replace(place, experiment=None, policy=p.Best()) for place in REFERENCE.placement
        ),
    )
    assert "treated differently" in _read(KINDS["notice"](REFERENCE, [])).text
    assert "treated differently" not in _read(KINDS["notice"](quiet, [])).text


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
parts = st.one_of(
    st.builds(Heading, texts, st.integers(2, 3)),
    st.builds(Paragraph, texts),
    st.builds(Bullets, st.lists(texts, min_size=1, max_size=3).map(tuple)),
    st.lists(st.tuples(texts, texts), max_size=3).map(lambda rows: Table(("a", "b"), tuple(rows))),
)
ALLOWED = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "ul", "li", "div"}
ALLOWED |= {"table", "thead", "tbody", "tr", "th", "td"}


@given(st.builds(Page, title=texts, parts=st.lists(parts, max_size=4).map(tuple)))
def test_whatever_a_profile_says_stays_text(page: Page) -> None:
    assert set(_read(page).tags) <= ALLOWED
    written = MarkdownIt("commonmark").enable("table").render(pages.markdown(page))
    assert "<a " not in written
    assert "<img" not in written
    assert "<script" not in written.lower()
    assert not re.search(r"<(em|strong|code|blockquote|pre)>", written)


def test_markdown_and_json_come_from_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(main, ["write", "record", str(HOME)]).stdout.startswith("# Record of processing: home-gateway")
    assert json.loads(run(main, ["write", "label", str(HOME), "--json"]).stdout)["title"] == "Data safety: home-gateway"
    out = tmp_path / "notice.html"
    assert run(main, ["write", "notice", str(HOME), "--out", str(out)]).exit_code == 0
    assert out.read_text().startswith("<!doctype html>")
    assert run(main, ["write", "poem", str(HOME)]).exit_code == 2
