"""The same log in Open Bandit Pipeline gives the same values, to rounding.

obp 0.4.1 asks for torch and pandas at import, for the names of two types; stand-ins with those names are enough for its
numpy estimators, so neither is installed for this.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.offpolicy.confidence import Confidence, valued
from models.offpolicy.estimators import direct, doubly_robust, ips, snips
from tests.models.offpolicy.world import EVALUATED, RATES, lived_whole

TYPES = {"torch": "Tensor", "pandas": "DataFrame"}


@pytest.fixture(scope="module")
def obp() -> Iterator[Any]:
    """obp.ope.estimators, without the packages' own __init__ that import everything else."""
    spec = importlib.util.find_spec("obp")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("obp is not installed (fix: .venv/bin/pip install --no-deps obp==0.4.1)")
    pytest.importorskip("sklearn", reason="obp needs scikit-learn")
    folder = Path(next(iter(spec.submodule_search_locations)))
    before = dict(sys.modules)
    try:
        for name, kind in TYPES.items():
            if importlib.util.find_spec(name) is None:
                stand_in = types.ModuleType(name)
                setattr(stand_in, kind, type(kind, (), {}))
                sys.modules[name] = stand_in
        for name, path in (("obp", folder), ("obp.ope", folder / "ope")):
            package = types.ModuleType(name)
            package.__path__ = [str(path)]
            sys.modules[name] = package
        yield importlib.import_module("obp.ope.estimators")
    finally:
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in {"obp", *TYPES}:
                del sys.modules[name]


@pytest.mark.parametrize("seed", range(5))
def test_every_estimator_agrees_with_obp(obp: Any, seed: int) -> None:
    rounds, context, action = lived_whole(1_000, seed)
    assert rounds.fitted is not None
    given = {
        "reward": rounds.reward,
        "action": action,
        "pscore": rounds.logged,
        "action_dist": EVALUATED[context][:, :, None],
        "position": np.zeros(1_000, dtype=int),
    }
    modelled = {**given, "estimated_rewards_by_reg_model": RATES[context][:, :, None]}
    theirs = {
        "ips": obp.InverseProbabilityWeighting().estimate_policy_value(**given),
        "snips": obp.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**given),
        "dm": obp.DirectMethod().estimate_policy_value(**modelled),
        "dr": obp.DoublyRobust().estimate_policy_value(**modelled),
    }
    ours = {
        "ips": ips(rounds).value,
        "snips": snips(rounds).value,
        "dm": direct(rounds.fitted).value,
        "dr": doubly_robust(rounds, rounds.fitted).value,
    }
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_its_bootstrap_is_about_as_wide_as_ours(obp: Any) -> None:
    rounds, context, action = lived_whole(1_000, 12)
    theirs = obp.InverseProbabilityWeighting().estimate_interval(
        reward=rounds.reward,
        action=action,
        pscore=rounds.logged,
        action_dist=EVALUATED[context][:, :, None],
        position=np.zeros(1_000, dtype=int),
        n_bootstrap_samples=2_000,
        random_state=1,
    )
    ours = valued(ips(rounds), None, Confidence()).bootstrap
    low, high = sorted(value for name, value in theirs.items() if "CI" in name)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.01)
