"""A device in a faulty world keeps its promises, whatever the seed."""

import pytest

from tests.sim.world import live


@pytest.mark.parametrize("seed", range(64))
def test_a_device_keeps_its_promises_through_faults_and_settles_when_they_end(seed: int) -> None:
    books = live(seed)
    assert books.decisions > 0, f"replay: make sim SEED={seed}"


def test_the_same_seed_lives_the_same_life() -> None:
    assert live(7) == live(7)
