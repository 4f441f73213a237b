"""A run's strategy goes together with what else is asked for, or is refused with the reason."""

from typing import Any

import pytest

from coordinator.errors import StrategyRefused
from coordinator.shell.choosing import strategy_of
from coordinator.shell.request import Request
from coordinator.strategies.names import NAMES, PRESETS


def _asked(**given: Any) -> Request:
    return Request(bundle="context", **given)


@pytest.mark.parametrize("name", NAMES)
def test_sums_that_nobody_looks_into_go_with_every_strategy_of_means_and_no_other(name: str) -> None:
    for protected in ({"secret_sum": True}, {"epsilon_max": 8.0}):
        if PRESETS[strategy_of(_asked(strategy=name)).name].single:
            with pytest.raises(StrategyRefused, match="single"):
                strategy_of(_asked(strategy=name, **protected))
        else:
            strategy_of(_asked(strategy=name, **protected))


def test_flowers_class_names_are_names() -> None:
    assert strategy_of(_asked(strategy="FedAdam", options={"server_lr": 0.5})).name == "fedadam"
    assert strategy_of(_asked(strategy="fedadam", options={"server_lr": 0.5}))["server_lr"] == 0.5


def test_the_options_that_came_first_are_options_of_their_strategies() -> None:
    assert strategy_of(_asked(strategy="fedprox", prox_mu=0.3))["prox_mu"] == 0.3
    assert strategy_of(_asked(strategy="krum", hostile_share=0.1))["hostile_share"] == 0.1


def test_a_rule_goes_with_an_optimiser_and_not_with_another_rule() -> None:
    strategy_of(_asked(strategy="fedadam", rule="multi-krum"))
    with pytest.raises(StrategyRefused, match="both say"):
        strategy_of(_asked(strategy="krum", rule="median"))
    with pytest.raises(StrategyRefused, match="single reports"):
        strategy_of(_asked(rule="median", epsilon_max=8.0))


def test_a_control_variate_needs_whole_updates() -> None:
    with pytest.raises(StrategyRefused, match="whole update"):
        strategy_of(_asked(strategy="scaffold", random_k=0.5, secret_sum=True))
