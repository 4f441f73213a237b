"""Ours makes of the same reports what Flower's own class makes of them."""

import gc
from collections.abc import Callable

import flwr.serverapp.strategy as flower
import numpy as np
import pytest
from flwr.serverapp.strategy import Strategy as FlowerStrategy
from flwr.supercore.task_identity import TaskIdentity

from coordinator import robust
from coordinator.aggregate import rows
from coordinator.errors import StrategyRefused
from coordinator.strategies.combine import Occasion, combine
from coordinator.strategies.names import PRESETS, PRIVATE, TREES
from coordinator.strategies.optimisers import State
from coordinator.strategies.settings import chosen
from tests.coordinator.strategies.fleet import flowers, reports, start

COUNT, ROUNDS, LR = 15, 5, 0.3
HOSTILE = 3
"""floor(0.2 · 15)"""

# Name → our options, Flower's object, and whether the reports weigh the same. Ours counts each device once wherever
# some may be hostile; Flower weighs the chosen by what they claim.
CASES: dict[str, tuple[dict[str, float], Callable[[], FlowerStrategy], bool]] = {
    "fedavg": ({}, flower.FedAvg, False),
    "fedprox": ({}, lambda: flower.FedProx(proximal_mu=0.01), False),
    "fedavgm": (
        {"momentum": 0.7, "server_lr": 0.5},
        lambda: flower.FedAvgM(server_learning_rate=0.5, server_momentum=0.7),
        False,
    ),
    "fedadagrad": ({}, flower.FedAdagrad, False),
    "fedadam": ({}, flower.FedAdam, False),
    "fedyogi": ({}, flower.FedYogi, False),
    "fedmedian": ({}, flower.FedMedian, False),
    "fedtrimmedavg": ({}, lambda: flower.FedTrimmedAvg(beta=0.2), False),
    "krum": ({}, lambda: flower.Krum(num_malicious_nodes=HOSTILE), False),
    "multikrum": (
        {},
        lambda: flower.MultiKrum(num_malicious_nodes=HOSTILE, num_nodes_to_select=COUNT - HOSTILE),
        True,
    ),
    "qfedavg": ({"q": 0.4}, lambda: flower.QFedAvg(client_learning_rate=LR, q=0.4), False),
    "bulyan": ({"hostile_share": 0.0}, lambda: flower.Bulyan(num_malicious_nodes=0), False),
}


@pytest.fixture(autouse=True)
def in_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's messages are made within a task of the SuperLink only."""
    for part in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, part, 1)
    # Flower collects garbage after each array that it reads; in a process full of tests that takes a second each.
    monkeypatch.setattr(gc, "collect", lambda *_: 0)


@pytest.mark.parametrize("name", CASES)
def test_five_rounds_of_the_same_reports_give_flowers_parameters(name: str) -> None:
    options, made, equal = CASES[name]
    ours, theirs = start(0), start(0)
    strategy, peer = chosen(name, options), made()
    state: State = {}
    for number in range(1, ROUNDS + 1):
        given = reports(COUNT, number, equal=equal)
        ours, state = combine(strategy, ours, given, state, Occasion(number=number, rounds=ROUNDS, lr=LR))
        theirs = flowers(peer, theirs, given, number)
        for key in ours:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-6 * ROUNDS, err_msg=f"{name} {number}")


def test_bulyan_is_flowers_wherever_both_choose_the_same_devices() -> None:
    """Ours chooses one after the other, each time among those that are left, as the paper says; Flower all at once."""
    shared, agreed = start(0), 0
    for seed in range(40):
        given = reports(COUNT, seed)
        updates = rows(shared, given)
        hostile = 2
        scores = robust.krum_scores(robust.squared_distances(updates), hostile)
        at_once = set(np.argsort(scores, kind="stable")[: COUNT - 2 * hostile].tolist())
        if set(robust.combine("bulyan", updates, hostile / COUNT + 1e-9).used) != at_once:
            continue
        agreed += 1
        ours, _ = combine(chosen("bulyan", {"hostile_share": hostile / COUNT + 1e-9}), shared, given, {}, Occasion())
        theirs = flowers(flower.Bulyan(num_malicious_nodes=hostile), shared, given, 1)
        for key in ours:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-6)
    assert agreed >= 3


def test_every_strategy_of_flower_is_here_by_its_name_or_refused_with_a_reason() -> None:
    others = {"Result", "Strategy"}
    for name in set(flower.__all__) - others:
        if name in TREES or name in PRIVATE:
            with pytest.raises(StrategyRefused) as caught:
                chosen(name)
            assert caught.value.hint
        else:
            assert chosen(name).preset.flower == name
    assert {preset.flower for preset in PRESETS.values() if preset.flower} <= set(flower.__all__)


def test_every_name_of_flower_that_is_computed_here_is_held_to_flower() -> None:
    assert {name for name, preset in PRESETS.items() if preset.flower} == set(CASES)
