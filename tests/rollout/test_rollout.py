"""Bad versions on real agents: halted in their first cohort, everybody back, nobody else touched."""

from pathlib import Path

import pytest

from tests.rollout.__main__ import BAD, held
from tests.rollout.story import tell


@pytest.mark.timeout(600)
def test_bad_versions_are_halted_on_real_agents_and_no_decision_fails(tmp_path: Path) -> None:
    """Four agents here; twelve with `make rollout-test`."""
    told = tell(tmp_path, 4, 4.0, BAD)
    assert told["failed_decisions"] == 0
    assert {name: one["guard"] for name, one in told["rollouts"].items()} == {
        "slow": "latency",
        "worse": "reward",
        "crash": "devices",
    }
    assert held(told), told
