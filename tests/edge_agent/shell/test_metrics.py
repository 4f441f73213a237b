"""`edge-agent metrics` and what `explain` adds: read from a real database."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.commands.group import main
from edge_agent.shell import database
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from tests.edge_agent.shop import HOUR_MS, Shop, metric, outcome

TIME = metric("time", '{ kind = "time-to", outcomes = ["purchase"], window_s = 3600.0 }', upper=3_600.0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A device's folder, and a decision that two thirds of a purchase were credited to."""
    shop = Shop(outcome('{ kind = "time-decay", half_life_s = 600.0 }', 'paths = "channel"'), TIME).agree("u")
    shop.event("kiosk", "u")
    shop.now += 600_000
    made = shop.event("app", "u")
    shop.buys("u", amount=30.0)
    shop.pass_time(2 * HOUR_MS)
    folder = tmp_path_factory.mktemp("state")
    store = Store(folder / database.FILE, 16)
    writes = Writes()
    writes.add(shop.effects)
    assert store.commit(writes, durable=False)
    store.close()
    return folder, made


def run(folder: Path, *words: str) -> Result:
    ran = CliRunner().invoke(main, [*words, "--state-dir", str(folder)])
    assert ran.exit_code == 0, ran.output
    return ran


def test_metrics_are_told_by_group(told: tuple[Path, str]) -> None:
    found = json.loads(run(told[0], "metrics", "--json").stdout)
    groups = {group["placement"]: group for group in found["groups"]["time"]}
    assert (groups["feed"]["mean"], groups["front"]["mean"]) == (0.0, 600.0)
    (paths,) = found["paths"]
    assert paths["paths"] == [{"path": ["display", "app"], "conversions": 1, "nulls": 0, "value": 30.0}]


def test_words_hold_the_same(told: tuple[Path, str]) -> None:
    words = run(told[0], "metrics").stdout
    assert "time (time-to, clipped to 0 … 3600)" in words
    assert "by Kaplan-Meier" in words
    assert "display > app: 1 of 1" in words


def test_explain_tells_what_was_credited(told: tuple[Path, str]) -> None:
    folder, made = told
    words = run(folder, "explain", made).stdout
    assert "67% of it is credited to this (time-decay): reward 0.4" in words
    found = json.loads(run(folder, "explain", made, "--json").stdout)
    assert [one["metric"] for one in found["outcomes"]] == ["reward", "time"]


def test_without_observations_it_says_where_to_look(tmp_path: Path) -> None:
    Store(tmp_path / database.FILE, 16).close()
    assert "is there a [[metric]] in the profile" in run(tmp_path, "metrics").stdout
