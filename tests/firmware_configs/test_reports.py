"""What the auditor writes: text, JSON, SARIF, JUnit, annotations, lines, waivers, pictures."""

import datetime
import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import jsonschema
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs.cli import main
from firmware_configs.lineage import derive
from firmware_configs.loader import load
from firmware_configs.places import line_of
from firmware_configs.report import junit, picture, sarif
from firmware_configs.rules import ALL, Finding
from firmware_configs.rules.besides import BESIDES, EXPIRED
from firmware_configs.waivers import Waiver

ROOT = Path(__file__).parents[2]
HOME = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
SARIF = json.loads((ROOT / "tests" / "stored" / "sarif-schema-2.1.0.json").read_text())
TODAY = datetime.date(2026, 11, 29)
REASON = "Three flats share this broker, and the house has agreed."


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.toml"
    path.write_text(HOME.read_text().replace("k_min = 3", "k_min = 1"))
    return path


def test_a_finding_names_the_line_it_stands_on(bad: Path) -> None:
    found = json.loads(_run("check", bad, "--json").stdout)["findings"]
    own = next(finding for finding in found if finding["code"] == "DM202")
    assert bad.read_text().splitlines()[own["line"] - 1] == "k_min = 1"
    assert own["where"] == "egress[1].k_min"


def test_places_are_found_in_nested_tables_and_around_what_is_not_written() -> None:
    text = HOME.read_text()
    lines = text.splitlines()
    assert lines[line_of(text, "source[1].field[3].transform") - 1] == 'transform = { kind = "round", step = 5.0 }'
    assert lines[line_of(text, "placement[2].rule[0]") - 1] == "[[placement.rule]]"
    assert lines[line_of(text, "retention.user.sensor") - 1].startswith('"user.sensor"')
    told = lines[line_of(text, "egress[1].privacy.epsilon_max") - 1]
    assert told == "privacy = { clip_norm = 20.0, secret_sum = true }"
    assert line_of(text, "people.children") == 0


@given(st.text(), st.text())
def test_no_text_and_no_place_is_too_strange_to_look_for(text: str, where: str) -> None:
    assert 0 <= line_of(text, where) <= len(text.splitlines())


def test_a_waiver_with_a_reason_and_a_day_takes_a_finding_out_of_the_count(bad: Path) -> None:
    assert _run("check", bad).exit_code == 1
    done = _run("check", bad, "--ignore", "DM202", "--reason", REASON, "--until", "2099-01-31")
    assert done.exit_code == 0
    assert "waived" in done.stdout
    assert REASON in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--ignore", "DM202"),
        ("--ignore", "DM202", "--reason", "short", "--until", "2099-01-31"),
        ("--ignore", "DM202", "--reason", REASON),
        ("--ignore", "DM999", "--reason", REASON, "--until", "2099-01-31"),
        ("--select", "DM9"),
        ("--waivers", "nowhere.toml"),
    ],
)
def test_what_is_asked_for_in_a_wrong_way_exits_with_2_and_says_the_fix(bad: Path, words: tuple[str, ...]) -> None:
    done = _run("check", bad, *words)
    assert done.exit_code == 2
    assert "fix:" in done.stderr


def test_a_waiver_that_has_ended_counts_again_and_says_so(bad: Path) -> None:
    done = _run("check", bad, "--ignore", "DM202", "--reason", REASON, "--until", "2020-01-31", "--json")
    codes = [finding["code"] for finding in json.loads(done.stdout)["findings"] if not finding["waived"]]
    assert done.exit_code == 1
    assert {"DM202", EXPIRED} <= set(codes)


def test_a_waiver_file_is_read_and_its_wrong_keys_are_named(bad: Path, tmp_path: Path) -> None:
    path = tmp_path / "edge-audit.toml"
    entry = f'[[waiver]]\ncode = "DM202"\nreason = "{REASON}"\nuntil = 2099-01-31\nwhere = "egress[1].*"\n'
    path.write_text(entry)
    assert _run("check", bad, "--waivers", path).exit_code == 0
    path.write_text(entry.replace("where", "were"))
    done = _run("check", bad, "--waivers", path)
    assert done.exit_code == 2
    assert "were" in done.stderr


def test_a_waiver_covers_its_place_and_file_alone() -> None:
    finding = Finding(code="DM202", level="error", path="a/b.toml", where="egress[1].k_min", what="w", fix="f")
    other = Finding(code="DM202", level="error", path="a/b.toml", where="egress[2].k_min", what="w", fix="f")
    waiver = Waiver(code="DM202", reason=REASON, until=TODAY, path="b.toml", where="egress[1].k_min")
    assert [waiver.covers(one) for one in (finding, other)] == [True, False]


def test_selection_is_by_the_beginning_of_a_code(bad: Path) -> None:
    found = json.loads(_run("check", bad, "--select", "DM20", "--json").stdout)["findings"]
    assert {finding["code"] for finding in found} == {"DM202", "DM204"}


def test_sarif_says_rule_level_line_and_waiver(bad: Path) -> None:
    words = ("--ignore", "DM204", "--reason", REASON, "--until", "2099-01-31")
    told = json.loads(_run("check", bad, "--format", "sarif", *words).stdout)
    jsonschema.validate(told, SARIF)
    run = told["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {rule.code for rule in (*ALL, *BESIDES)}
    by_code = {result["ruleId"]: result for result in run["results"]}
    assert rules[by_code["DM202"]["ruleIndex"]]["id"] == "DM202"
    assert by_code["DM202"]["level"] == "error"
    assert by_code["DM202"]["locations"][0]["physicalLocation"]["region"]["startLine"] > 1
    assert REASON in by_code["DM204"]["suppressions"][0]["justification"]
    assert "suppressions" not in by_code["DM202"]


def test_a_code_host_gets_help_for_every_rule_and_a_place_to_read_the_law() -> None:
    rules = {rule["id"]: rule for rule in sarif.document([], "1")["runs"][0]["tool"]["driver"]["rules"]}
    for rule in rules.values():
        assert rule["fullDescription"]["text"] in rule["help"]["text"]
        assert "```toml" in rule["help"]["markdown"]
        assert rule["helpUri"].startswith("http")
    assert rules["DM117"]["helpUri"] == "http://data.europa.eu/eli/reg/2016/679/art_5/oj"
    assert rules["DM012"]["helpUri"] == "http://data.europa.eu/eli/reg/2016/679/rct_26/oj"


def test_junit_fails_what_counts_and_skips_what_does_not(bad: Path) -> None:
    done = _run("check", bad, HOME, "--format", "junit")
    suites = Xml.fromstring(done.stdout.encode())  # noqa: S314 - our own
    assert [suite.get("failures") for suite in suites] == ["1", "0"]
    assert [case.get("name") for case in suites[0] if case.find("failure") is not None] == ["DM202 egress[1].k_min"]


strange = st.text(st.characters(exclude_categories=["Cs"]))
findings = st.lists(
    st.builds(
        Finding,
        code=st.sampled_from(["DM001", "DM202", "DM000"]),
        level=st.sampled_from(["error", "warning", "note"]),
        path=strange.filter(bool),
        where=strange,
        what=strange,
        fix=strange,
        line=st.integers(0, 10_000),
        waived=strange,
    ),
    max_size=4,
)


@given(findings)
def test_whatever_a_finding_says_the_documents_can_be_read(found: list[Finding]) -> None:
    paths = list(dict.fromkeys(finding.path for finding in found))
    Xml.fromstring(junit.document(found, paths).encode())  # noqa: S314 - our own
    jsonschema.validate(json.loads(json.dumps(sarif.document(found, "1"))), SARIF)


def test_annotations_are_one_line_each(bad: Path) -> None:
    done = _run("check", bad, "--format", "github")
    lines = done.stdout.splitlines()
    assert all(line.startswith("::") for line in lines)
    assert any(line.startswith("::error file=") and ",line=" in line and "title=DM202" in line for line in lines)


def test_diff_fails_on_what_widens_and_not_on_what_narrows(bad: Path) -> None:
    done = _run("diff", HOME, bad, "--fail-on", "widen")
    assert done.exit_code == 1
    assert "an update is read over 1 device, before over 3 devices or more" in done.stdout
    assert _run("diff", bad, HOME, "--fail-on", "widen").exit_code == 0
    assert _run("diff", bad, HOME, "--fail-on", "any").exit_code == 1
    assert json.loads(_run("diff", HOME, HOME, "--json").stdout)["changes"] == []


def test_a_widened_version_needs_two_who_agree_and_say_why(bad: Path) -> None:
    def codes() -> set[str]:
        told = _run("check", bad, "--against", HOME, "--select", "DM60", "--json").stdout
        return {finding["code"] for finding in json.loads(told)["findings"]}

    assert codes() == {"DM602", "DM603"}
    text = bad.read_text().replace('version = "1.0.0"', 'version = "1.1.0"', 1)
    bad.write_text(f'{text}\n[approval]\nversion = "1.1.0"\npeople = ["one", "one"]\nreason = "{REASON}"\n')
    assert codes() == {"DM602"}
    bad.write_text(f'{text}\n[approval]\nversion = "1.1.0"\npeople = ["one", "two"]\nreason = "{REASON}"\n')
    assert codes() == set()


def test_the_picture_holds_every_node_and_marks_what_nothing_needs() -> None:
    profile = load(HOME).profile
    lineage = derive(profile)
    drawn = Xml.fromstring(picture.svg(lineage, "home"))  # noqa: S314 - our own
    titles = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}title")]
    for step in lineage.steps:
        assert step.source in titles
        assert step.target in titles
    assert "unused" not in picture.svg(lineage, "home").partition("</style>")[2].replace("Unused", "")
    page = picture.html(lineage, "<b>home</b>")
    assert "<b>home</b>" not in page


def test_out_writes_the_whole_file_and_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    out = tmp_path / "lineage.html"
    assert _run("lineage", HOME, "--format", "html", "--out", out).exit_code == 0
    assert out.read_text().startswith("<!doctype html>")
    done = _run("lineage", HOME, "--out", tmp_path / "nowhere" / "x.txt")
    assert done.exit_code == 2
    assert "fix:" in done.stderr


@pytest.mark.parametrize("rule", [*ALL, *BESIDES], ids=lambda rule: rule.code)
def test_every_rule_is_explained_with_its_examples(rule: object) -> None:
    code = rule.code  # type: ignore[attr-defined]
    told = _run("rules", code).stdout
    assert "This breaks it" in told
    assert json.loads(_run("rules", code, "--json").stdout)[0]["failing"]
