"""What context is worth: columns that hold the answer are worth something, noise is not, and gaps are named."""

from pathlib import Path

import numpy as np
import pytest

from models.bench import context
from models.zoo import spells
from tests.models.test_zoo_moment import events, rhythmic


@pytest.fixture(scope="module")
def report() -> context.Report:
    return context.run(None, ("occupancy",))


def test_light_is_worth_most_in_the_office(report: context.Report) -> None:
    office = {row.group: row for row in report.table if row.data == "occupancy"}
    assert office["light"].low > 0.0
    assert max(office.values(), key=lambda row: row.value).group == "light"


def test_what_no_data_has_is_named(report: context.Report) -> None:
    assert {"location cell", "device type"} <= set(report.not_measured)
    assert any("--ratings" in why for why in report.not_measured.values())


def test_an_interval_holds_its_value(report: context.Report) -> None:
    for row in report.table:
        assert row.low <= row.value <= row.high, row


def test_where_everybody_keeps_an_hour_the_hour_is_worth_most(tmp_path: Path) -> None:
    groups, label, test_label, interval = context._interactions(rhythmic(tmp_path / "rhythm.csv", people=30, days=12))
    everything = context._losses(groups, label, test_label)
    without = {name: parts for name, parts in groups.items() if name != "time of day"}
    low, _ = interval(context._losses(without, label, test_label) - everything)
    assert low > 0.0


def test_others_are_counted_in_the_hour_before_and_oneself_is_not() -> None:
    rows = [*events("a", 10.0), *events("b", 9.5, 9.9), *events("c", 30.0)]
    every = spells.of_ratings(rows)
    times = np.sort(np.array([row.time for row in rows]))
    first = int(np.flatnonzero((every.person == 0) & (every.at == 10.0 * 3_600))[0])
    assert context._others(times, every)[first] == 2.0
