"""An old version's folder is taken up: nothing is lost, nothing is done twice, and the way back is refused by name."""

from pathlib import Path

import pytest

from tests.packaging import old_home, upgrade


@pytest.mark.slow
def test_an_upgraded_agent_goes_on_where_the_old_one_stopped(tmp_path: Path) -> None:
    try:
        found = upgrade.measure(upgrade.OLD, tmp_path, "iotcore")
    except FileNotFoundError as error:
        pytest.skip(f"this checkout's history is too short: {error}")
    assert (found["lost"], found["repeated"]) == (0, 0)
    assert found["schema"][0] < found["schema"][1]
    assert found["ledger_entries"][1] >= found["ledger_entries"][0] > 0
    assert found["old_decision_explained"]
    assert found["copy_goes_on"]
    assert found["downgrade_refused"], found["refusal"]
    assert found["untouched_by_the_refusal"]


@pytest.mark.slow
def test_a_coordinators_home_of_an_old_version_is_read_whole(tmp_path: Path) -> None:
    try:
        old = upgrade.export(upgrade.OLD, tmp_path / "old")
    except FileNotFoundError as error:
        pytest.skip(f"this checkout's history is too short: {error}")
    old_home.write(old, tmp_path / "home")
    assert old_home.read(tmp_path / "home") == {
        "devices": {"home-1": 2**63 - 7},
        "enrolled": ["home-1", "home-2"],
        "wanted": (3, {"context": "1.0.1"}),
        "round": {"state": "published", "asked": 4, "reports": 3, "refused": 1, "bytes_up": 1000, "seconds": 2.5},
        "result": "1.0.1",
        "published": [("context", "1.0.0")],
    }
    assert old_home.read_back(old, tmp_path / "home") == "1 3 1", "tables were added, none was changed"
