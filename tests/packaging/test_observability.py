"""Rules and dashboard for Prometheus and Grafana name metrics that exist, and Prometheus' own tool finds no fault."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator import families as of_coordinator
from edge_agent import families as of_agent

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packaging" / "observability"
FAMILIES = {family.name: family for family in (*of_agent.FAMILIES, *of_coordinator.FAMILIES)}
NAME = re.compile(r"\bedgeward_[a-z_]+\b")
SELECTOR = re.compile(r"\b(edgeward_[a-z_]+)\{([^}]*)\}")
BY = re.compile(r"by \(([^)]*)\) \((.*)")
ADDED = {"instance", "job", "le"}
"""Labels that Prometheus adds, and the histogram's own."""
# `tools/setup dev` puts it beside this Python where it is not installed.
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here; `tools/setup dev` fetches it")


def _expressions() -> Iterator[str]:
    for group in yaml.safe_load((FOLDER / "edgeward.rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    yield from (target["expr"] for panel in _panels() for target in panel.get("targets", []))


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "edgeward.dashboard.json").read_text())["panels"]
    return found


def _family(name: str) -> str:
    """The family of a series; a histogram has three."""
    bare = re.sub(r"_(bucket|count|sum)$", "", name)
    return bare if bare in FAMILIES and FAMILIES[bare].kind == "histogram" else name


def test_every_metric_that_is_asked_for_exists() -> None:
    named = {name for text in _expressions() for name in NAME.findall(text)}
    assert len(named) > 20
    assert {name for name in named if _family(name) not in FAMILIES} == set()


def test_every_label_that_is_asked_for_is_one_of_the_metrics() -> None:
    for text in _expressions():
        for name, selector in SELECTOR.findall(text):
            labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector))
            assert labels <= set(FAMILIES[_family(name)].labels) | ADDED, text
        for by, rest in BY.findall(text):
            known = {label for name in NAME.findall(rest) for label in FAMILIES[_family(name)].labels}
            assert {label.strip() for label in by.split(",")} <= known | ADDED, text


def test_counters_are_read_as_rates_and_gauges_are_not() -> None:
    for text in _expressions():
        for call, name in re.findall(r"\b(rate|increase|delta|deriv)\((edgeward_[a-z_]+)", text):
            rises = FAMILIES[_family(name)].kind in {"counter", "histogram"}
            assert rises == (call in {"rate", "increase"}), text


def test_panels_lie_beside_each_other_and_each_has_its_own_number() -> None:
    panels = _panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    for group in yaml.safe_load((FOLDER / "edgeward.rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert {"summary", "action"} <= set(rule["annotations"])
            assert "severity" in rule["labels"] or "severity" in rule["expr"]


@pytest.mark.parametrize("unit", ["edgeward-prometheus.service", "edgeward-textfile.service"])
def test_units_call_a_command_that_there_is(unit: str) -> None:
    (line,) = re.findall(r"^ExecStart=edge-agent (\w+) (.*)$", (FOLDER / unit).read_text(), flags=re.MULTILINE)
    from edge_agent.commands.group import main

    options = {option for parameter in main.commands[line[0]].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line[1])) <= options


@needs_promtool
@pytest.mark.parametrize(
    "words", [("check", "rules", "edgeward.rules.yml"), ("test", "rules", "edgeward.rules.test.yml")]
)
def test_promtool_finds_no_fault(words: tuple[str, ...]) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
