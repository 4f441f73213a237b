"""`edge-agent rules test`: cases, expectations, coverage, and what a device has recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.commands.group import main
from edge_agent.errors import SettingsMalformed
from edge_agent.rehearsal import Covered
from edge_agent.shell import database
from edge_agent.shell.rehearse import read_cases, rehearse_cases
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.errors import UsageError
from firmware_configs.loader import parse
from tests.benchmarks.runner import BUNDLES
from tests.edge_agent.house import DEVICE, HOME, PROFILES, House

HOUSE = str(PROFILES / "home-gateway.toml")
DAYLIGHT = """
[[case]]
name = "no lamp by daylight"
placement = "presence"
fields = { light = 900.0 }
expect = { denied = ["lights-on"], allowed = ["lights-off"], fired = ["bright-enough"], stopped = false }

[[case]]
name = "a lamp in the dark"
placement = "presence"
fields = { light = 9.0 }
expect = { eligible = ["lights-off", "lights-on"], silent = ["bright-enough"] }
"""


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, ["rules", "test", HOUSE, *words])


def test_cases_that_come_out_as_expected_end_with_0_and_tell_coverage(tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(DAYLIGHT)
    ran = _run("--cases", str(path))
    assert ran.exit_code == 0, ran.output
    assert "ok   presence no lamp by daylight: 1 of 2 left" in ran.stdout
    assert "bright-enough (deny) true for 1: There is daylight enough." in ran.stdout
    found = json.loads(_run("--cases", str(path), "--json").stdout)
    (rule,) = found["rules"]
    counts = [rule[name] for name in ("true", "false", "failed", "changed", "remark")]
    assert (counts, found["failed"]) == ([1, 1, 0, 1, ""], 0)


def test_an_expectation_that_fails_ends_with_1_and_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    cases = [
        {"placement": "presence", "fields": {"light": 900.0}, "expect": {"allowed": ["lights-on"], "stopped": True}},
        {"placement": "presence", "fields": {}, "expect": {"boost": {"lights-on": 1.0}, "fired": ["bright-enough"]}},
    ]
    path.write_text("\n".join(map(json.dumps, cases)))
    ran = _run("--cases", str(path), "--brief")
    assert ran.exit_code == 1
    for told in (
        "lights-on is not allowed",
        "it was not stopped",
        "boost of lights-on: expected 1, found 0",
        "2 failed",
    ):
        assert told in ran.stdout
    assert "bright-enough (deny) failed for 1" in ran.stdout
    assert "<- never false" in ran.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", "[{}]"),
        ("c.jsonl", '{"placement": "presence", "light": 3}'),
        ("c.toml", "[[case]]\nplacement = 3\n"),
        ("c.toml", "nonsense ="),
    ],
)
def test_a_file_of_no_cases_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SettingsMalformed) as caught:
        read_cases(path)
    assert caught.value.hint


def test_a_placement_without_fixed_candidates_needs_items(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('[{"placement": "next-pick", "fields": {"item": "a"}}]')
    profile = parse(HOME).profile
    with pytest.raises(UsageError, match="no fixed candidates"):
        rehearse_cases(profile, read_cases(path))
    path.write_text('[{"placement": "next-pick", "fields": {"item": "a"}, "items": ["a", "b"]}]')
    assert rehearse_cases(profile, read_cases(path)).ran[0].eligible == ("b",)
    path.write_text('[{"placement": "nowhere"}]')
    with pytest.raises(UsageError, match="no placement"):
        rehearse_cases(profile, read_cases(path))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.sampled_from(["c.json", "c.jsonl", "c.toml"]))
def test_any_file_is_read_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    path = tmp_path_factory.mktemp("cases") / name
    path.write_text(text, encoding="utf-8", errors="ignore")
    try:
        read_cases(path)
    except SettingsMalformed as error:
        assert error.hint


def test_remarks_name_what_was_never_seen() -> None:
    rule: Any = {"placement": "p", "rule": "r", "effect": "deny"}
    assert Covered(**rule).remark == "never asked"
    assert Covered(**rule, false=3).remark == "never true"
    assert Covered(**rule, true=3).remark == "never false"
    assert Covered(**rule, failed=3).remark == "always failed"
    assert Covered(**rule, failed=3, true=1).remark == "never false"
    assert Covered(**rule, true=1, false=1).remark == ""


def test_what_a_device_has_recorded_is_asked_again_with_its_candidates_and_sessions(tmp_path: Path) -> None:
    house = House(record=True).everyone_agrees()
    for number, light in enumerate((900.0, 10.0, 850.0)):
        house.now += 60_000
        house.tell(house.reading(number, light=light), house.pick(number))
    store = Store(tmp_path / database.FILE, 16)
    writes = Writes()
    writes.add(house.effects)
    writes.meta["secret"] = b"s" * 32
    assert store.commit(writes, durable=False)
    store.close()
    settings_file = tmp_path / "agent.toml"
    bundles = [str(path) for name in ("affinity", "context") for path in BUNDLES.glob(f"{name}-*.edgeward")]
    settings_file.write_text(
        f"device = {json.dumps(DEVICE)}\nstate_dir = {json.dumps(str(tmp_path))}\nbundles = {bundles}\n"
    )
    ran = _run("--settings", str(settings_file), "--json")
    assert ran.exit_code == 0, ran.output + repr(ran.exception)
    rules = {rule["rule"]: rule for rule in json.loads(ran.stdout)["rules"]}
    assert [rules["bright-enough"][name] for name in ("true", "false", "failed", "changed")] == [2, 1, 0, 2]
    assert rules["not-the-same-again"]["true"] == 3
    assert rules["not-the-same-again"]["remark"] == "never false"
