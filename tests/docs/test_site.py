"""The site: every page is on it, every link leads somewhere, nothing comes from elsewhere, the reference is whole."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.reference import WORDS
from firmware_configs.rules import ALL
from tests.docs.site import build
from tools.site import commands, errors, pages, reference
from tools.site.__main__ import laid

ROOT = Path(__file__).parents[2]
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return laid()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


def _in_nav(entry: object) -> list[str]:
    if isinstance(entry, dict):
        return [name for value in entry.values() for name in _in_nav(value)]
    if isinstance(entry, list):
        return [name for value in entry for name in _in_nav(value)]
    return [str(entry)]


def test_every_page_is_in_the_table_of_contents(texts: dict[str, str]) -> None:
    listed = _in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    written = {name for name in texts if name.endswith(".md") and not re.match(r"adr/\d", name)}
    assert written - set(listed) == set(), "a new page: give it a line in `nav` of mkdocs.yml"
    assert sorted(listed) == sorted(written), "a page that is gone, or listed twice"


def test_every_decision_is_in_the_list_of_decisions(texts: dict[str, str]) -> None:
    records = {name.removeprefix("adr/") for name in texts if re.match(r"adr/\d", name)}
    assert records == set(re.findall(r"\((\d{4}-[^)]+\.md)\)", texts["adr/index.md"]))


def test_the_site_builds_without_a_broken_link(site: Path, texts: dict[str, str]) -> None:
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    wanted = {name.replace("README.md", "index.md").replace(".md", ".html") for name in texts if name.endswith(".md")}
    assert wanted - built == set()


class _Asked(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in {"canonical", "next", "prev"}:
            return
        self.found += [value for name, value in attrs if value and (tag, name) in FETCHED]


def test_a_reader_of_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        asked = _Asked()
        asked.feed(path.read_text(encoding="utf-8"))
        assert [url for url in asked.found if re.match(r"(https?:)?//", url)] == [], path.name
    for path in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]+", path.read_text(encoding="utf-8")) == [], path.name


@pytest.mark.parametrize("program", commands.PROGRAMS)
def test_the_reference_has_every_command_and_every_option(program: str) -> None:
    page = commands.page(program)
    for words, command in commands.walk(commands.PROGRAMS[program], (program,)):
        section = page.partition(f"\n## {' '.join(words[1:])}\n")[2].partition("\n## ")[0]
        assert section, words
        options = [name for param in command.params for name in param.opts if name.startswith("--")]
        hidden = {name for param in command.params if getattr(param, "hidden", False) for name in param.opts}
        assert [name for name in options if name not in section and name not in hidden] == [], words


def test_the_reference_has_every_error_once() -> None:
    page = errors.page()
    codes = [kind.code for module in errors.MODULES for kind in errors.classes(module.__name__)]
    assert len(codes) > 100
    assert [code for code in codes if page.count(f"| `{code}` |") != 1] == []


def test_the_reference_says_how_the_usual_error_is_mended() -> None:
    row = next(line for line in errors.page().splitlines() if line.startswith("| `AGT601`"))
    assert "check network and broker.url" in row


def test_every_payload_has_its_keys_in_the_reference() -> None:
    page = reference.pages()["reference/topics.md"]
    for _, _, payload, _ in reference.TOPICS:
        if payload.isalpha():
            word = next(one for one in WORDS if one.__name__ == payload)
            section = page.partition(f"\n## {payload}\n")[2].partition("\n## ")[0]
            assert [key for key in word.__struct_fields__ if f"| `{key}` |" not in section] == []


def test_every_rule_of_the_auditor_has_a_section() -> None:
    page = reference.pages()["reference/rules.md"]
    assert [rule.code for rule in ALL if f"\n## {rule.code}: " not in page] == []


TITLES = {"fleet.md": "The fleet", "playbooks/incident.md": "Incident", "adr/0042-x.md": "0042. X"}


def test_what_a_page_names_by_its_path_becomes_a_link() -> None:
    assert pages.linked("see `docs/fleet.md`.", "time.md", TITLES) == "see [The fleet](fleet.md)."
    assert pages.linked("see docs/fleet.md.", "playbooks/x.md", TITLES) == "see [The fleet](../fleet.md)."
    assert pages.linked("if so, incident.md", "playbooks/x.md", TITLES) == "if so, [Incident](incident.md)"
    assert pages.linked("(ADR 0042)", "time.md", TITLES) == "([ADR 0042](adr/0042-x.md))"


@pytest.mark.parametrize(
    "text",
    [
        "```\ndocs/fleet.md\n```",
        "# docs/fleet.md",
        "[a](docs/fleet.md)",
        "`docs/gone.md`",
        "ADR 9999",
        "a/docs/fleet.md",
    ],
)
def test_what_is_no_mention_of_a_page_stays_as_it_is(text: str) -> None:
    assert pages.linked(text, "time.md", TITLES) == text


@settings(max_examples=40)
@given(st.text(max_size=80), st.text(max_size=80))
def test_code_is_never_touched(before: str, inside: str) -> None:
    code = "```sh\n" + inside.replace("`", "") + " docs/fleet.md\n```"
    made = pages.linked(before.replace("`", "") + "\n" + code + "\n", "time.md", TITLES)
    assert code in made
