"""A few power cuts in the middle of an update; `python -m tests.attack.powercut` does a hundred."""

from pathlib import Path

import pytest

from tests.attack.powercut import run

pytestmark = pytest.mark.attack


def test_after_a_power_cut_the_old_or_the_new_version_is_whole(tmp_path: Path) -> None:
    found = run(3, 7, tmp_path)
    assert found["faults"] == []
    assert found["whole"] == 3
