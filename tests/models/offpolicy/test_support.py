"""A reader is told when the log cannot carry an estimate."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.offpolicy.estimators import Rounds
from models.offpolicy.support import cautions, support
from tests.models.offpolicy.world import lived


def _codes(rounds: Rounds, clip: float | None = None) -> set[str]:
    return {caution.code for caution in cautions(rounds, support(rounds, clip), clip)}


def test_a_log_that_covers_the_policy_raises_no_doubt() -> None:
    rounds = lived(5_000, 1)
    found = support(rounds)
    assert _codes(rounds) == set()
    assert found.weight_mean == pytest.approx(1.0, abs=0.05)
    assert 1_000 < found.effective_rounds < 5_000


def test_the_logs_own_policy_counts_every_round() -> None:
    rounds = lived(500, 2)
    own = msgspec.structs.replace(rounds, evaluated=rounds.logged)
    assert support(own).effective_rounds == pytest.approx(500)


def test_actions_that_the_log_never_takes_are_told() -> None:
    rounds = lived(5_000, 3)
    blind = msgspec.structs.replace(rounds, evaluated=0.6 * rounds.evaluated, uncovered=np.full(5_000, 0.4))
    assert _codes(blind) == {"uncovered", "weights-off"}


def test_wrong_propensities_show_in_the_mean_weight() -> None:
    rounds = lived(5_000, 4)
    assert "weights-off" in _codes(msgspec.structs.replace(rounds, logged=np.minimum(1.0, 1.5 * rounds.logged)))


def test_one_round_that_carries_the_estimate_is_told() -> None:
    logged = np.full(200, 0.5)
    logged[0] = 0.001
    rounds = Rounds(reward=np.ones(200), logged=logged, evaluated=np.full(200, 0.5))
    assert {"heavy-round", "few-effective-rounds"} <= _codes(rounds)
    assert "heavy-round" not in _codes(rounds, clip=5.0)
    assert "clipped" in _codes(rounds, clip=5.0)


def test_nothing_in_common_is_all_there_is_to_say() -> None:
    rounds = Rounds(reward=np.ones(9), logged=np.full(9, 0.5), evaluated=np.zeros(9))
    assert _codes(rounds) == {"no-overlap"}


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=50))
def test_effective_rounds_lie_between_one_and_all(evaluated: list[float]) -> None:
    count = len(evaluated)
    rounds = Rounds(reward=np.zeros(count), logged=np.full(count, 0.5), evaluated=np.array(evaluated))
    assert 1.0 - 1e-9 <= support(rounds).effective_rounds <= count + 1e-9
