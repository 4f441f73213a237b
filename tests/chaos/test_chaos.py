"""The week is the same for the same seed, has every fault in it, and a small fleet gets over it with whole books."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.apart import Clocks, lacking
from tests.chaos.faults import DAY_S, DAYS, ENDS, plan

FAULTS = {"cut", "fill", "leap", "kill", "forget", "broker-stop", "coordinator-kill", "rollout", "round"}


@pytest.mark.parametrize("seed", range(20))
def test_a_week_has_every_fault_in_it_and_each_comes_to_an_end(seed: int) -> None:
    week = plan(seed, 6, 2, 3.0)
    assert week == plan(seed, 6, 2, 3.0)
    assert week.counts().keys() == FAULTS
    assert [deed.at_s for deed in week.deeds] == sorted(deed.at_s for deed in week.deeds)
    slept = sum(deed.value for deed in week.deeds if deed.do == "sleep")
    assert slept + week.seconds == pytest.approx(DAYS * DAY_S, rel=0.08)
    for begins, ends in ENDS.items():
        for deed in week.deeds:
            after = [one for one in week.deeds if one.do == ends and one.at_s > deed.at_s]
            assert deed.do != begins or after or deed.at_s > week.seconds - 2 * 3.0


@pytest.mark.parametrize("agents", [6, 30])
@pytest.mark.parametrize("seed", range(10))
def test_in_the_evening_enough_devices_learn_together_that_some_may_be_cut(seed: int, agents: int) -> None:
    evening = plan(seed, agents, 2, 3.0).evening
    assert set(evening.cut) < set(evening.learners) <= set(range(agents))
    assert len(evening.learners) - len(evening.cut) >= 3, "fewer are no secret sum"
    assert evening.cut_s < evening.join_s


def test_another_seed_is_another_week() -> None:
    assert plan(1, 6, 2, 3.0).deeds != plan(2, 6, 2, 3.0).deeds


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (make setup-dev)")
def test_a_process_sees_the_clock_that_it_is_given_and_its_monotonic_one_goes_on(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path / "clocks", ["house"])
    clocks.leap("house", 40 * DAY_S)
    ask = "import time; time.sleep(0.01); print(time.time(), time.monotonic())"

    def told(device: str) -> tuple[float, float]:
        done = subprocess.run(
            [sys.executable, "-c", ask], env=clocks.environment(device), capture_output=True, check=True
        )
        wall, monotonic = map(float, done.stdout.split())
        return wall, monotonic

    world, house = told(""), told("house")
    assert house[0] - world[0] == pytest.approx(40 * DAY_S, abs=60)
    assert house[1] - world[1] == pytest.approx(0, abs=60)
    clocks.sleep(DAY_S)
    assert told("")[0] - world[0] == pytest.approx(DAY_S, abs=60)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.skipif(bool(lacking()), reason=f"needs {', '.join(lacking())}")
def test_six_agents_get_over_a_bad_week_and_the_books_are_whole(tmp_path: Path) -> None:
    """Thirty with `make chaos`."""
    command = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--agents",
        "6",
        "--wakes",
        "2",
        "--wake-s",
        "3",
        "--dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4_000:]
    told = json.loads(done.stdout)
    assert told["lost"] == told["bytes"]["undeclared"] == told["round"]["double_spent"] == 0
    assert told["bytes"]["updates"] > 0
    assert told["wrong_bundle"] == []
