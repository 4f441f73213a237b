"""Waivers: what they cover, and what is told of them when they end, cover nothing, or have no end in sight."""

import datetime
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from firmware_configs.cli import main
from firmware_configs.rules import Finding
from firmware_configs.rules.besides import EXPIRED, FAR, IDLE
from firmware_configs.waivers import AHEAD_DAYS, Waiver, waived
from tests.edge_agent.house import HOME

TODAY = datetime.date(2026, 11, 29)
REASON = "Three flats share this broker, and the house has agreed."
FINDING = Finding(code="DM202", level="error", path="a/b.toml", where="egress[1].k_min", what="w", fix="f")
WAIVER = Waiver(code="DM202", reason=REASON, until=TODAY, path="b.toml", where="egress[1].k_min")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.toml"
    path.write_text(HOME.replace("k_min = 3", "k_min = 1"))
    return path


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def _codes(findings: list[Finding]) -> list[str]:
    return [one.code for one in findings]


def test_a_waiver_holds_through_its_last_day_and_then_counts_again() -> None:
    assert [bool(one.waived) for one in waived([FINDING], [WAIVER], TODAY)] == [True]
    late = waived([FINDING], [WAIVER], TODAY + datetime.timedelta(days=1))
    assert [(one.code, bool(one.waived)) for one in late] == [("DM202", False), (EXPIRED, False)]


def test_a_waiver_that_covers_nothing_is_told() -> None:
    assert _codes(waived([], [WAIVER], TODAY)) == [IDLE]


def test_a_waiver_of_a_rule_that_did_not_run_or_of_another_file_is_not_called_idle() -> None:
    assert waived([], [WAIVER], TODAY, ran={"DM001"}) == []
    assert _codes(waived([], [WAIVER], TODAY, ran={"DM202"})) == [IDLE]
    assert waived([], [WAIVER], TODAY, files=["a/c.toml"]) == []
    assert _codes(waived([], [WAIVER], TODAY, files=["a/b.toml"])) == [IDLE]


def test_a_waiver_of_a_code_that_does_not_exist_is_told_whatever_ran() -> None:
    nonsense = Waiver(code="DM999", reason=REASON, until=TODAY)
    (told,) = waived([], [nonsense], TODAY, ran={"DM001"})
    assert "no rule that there is" in told.what


@pytest.mark.parametrize(("days", "codes"), [(AHEAD_DAYS, []), (AHEAD_DAYS + 1, [FAR])])
def test_a_waiver_that_ends_more_than_a_year_ahead_is_noted(days: int, codes: list[str]) -> None:
    far = Waiver(code="DM202", reason=REASON, until=TODAY + datetime.timedelta(days=days))
    told = waived([FINDING], [far], TODAY)
    assert _codes(told[1:]) == codes
    assert all(one.level == "note" for one in told[1:])


def test_selecting_other_rules_leaves_a_needed_waiver_alone(bad: Path, tmp_path: Path) -> None:
    path = tmp_path / "edge-audit.toml"
    path.write_text(f'[[waiver]]\ncode = "DM202"\nreason = "{REASON}"\nuntil = 2020-01-31\n')
    words = ("check", bad, "--waivers", path, "--json", "--select")
    assert json.loads(_run(*words, "DM001").stdout)["findings"] == []
    assert {one["code"] for one in json.loads(_run(*words, "DM202").stdout)["findings"]} == {"DM202", EXPIRED}


def test_codes_are_taken_in_small_letters_too(bad: Path) -> None:
    found = json.loads(_run("check", bad, "--select", "dm202", "--json").stdout)["findings"]
    assert [one["code"] for one in found] == ["DM202"]
    assert _run("check", bad, "--ignore", "dm202", "--reason", REASON, "--until", "2099-01-31").exit_code == 0
    assert _run("rules", "dm001").stdout == _run("rules", "DM001").stdout


def test_one_reason_is_not_taken_for_many_rules(bad: Path) -> None:
    done = _run("check", bad, "--ignore", "DM2", "--reason", REASON, "--until", "2099-01-31")
    assert done.exit_code == 2
    assert "--ignore takes whole codes" in done.stderr
