"""Strategies on a fleet whose devices want different things: the device's real code, the coordinator's real code.

Each device holds a quadratic, ½ · aᵢ · ‖w - bᵢ‖², with its own steepness aᵢ and its own optimum bᵢ. The best shared
point is Σ aᵢ·bᵢ / Σ aᵢ. With many local steps the average of the devices drifts towards the mean of the bᵢ instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from coordinator.aggregate import Report
from coordinator.strategies.clusters import models_of
from coordinator.strategies.combine import Occasion, combine
from coordinator.strategies.optimisers import State
from coordinator.strategies.scaffold import control_of
from coordinator.strategies.settings import Strategy, chosen
from edge_agent.learn.personalised import best_of, copies, correction_of, next_control
from edge_agent.learn.trainer import Rows, Schedule, Step, train
from edge_agent.learn.update import dequantise, make_update
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT

F32 = NDArray[np.float32]
SPEC = open_bundle(CONTEXT).spec
LR, STEPS, DIMENSIONS = 0.1, 10, 3
ROWS = {"u": Rows(None, {"x": np.ones((4, 1), np.float32)}, np.ones(4, np.float32))}


@dataclass
class Home:
    """One device."""

    steep: float
    optimum: F32
    control: dict[str, F32] = field(default_factory=dict)
    copy: dict[str, dict[str, F32]] = field(default_factory=dict)
    residual: dict[str, F32] = field(default_factory=dict)

    @property
    def step(self) -> Step:
        def step(
            weights: Mapping[str, F32], _inputs: object, _label: object, lr: float
        ) -> tuple[dict[str, F32], float]:
            off = weights["w"] - self.optimum
            loss = 0.5 * self.steep * float((off**2).sum())
            return {**weights, "w": np.asarray(weights["w"] - lr * self.steep * off, np.float32)}, loss

        return step

    def loss(self, w: F32) -> float:
        return 0.5 * self.steep * float(((w - self.optimum) ** 2).sum())


def _fleet(count: int = 8, seed: int = 0) -> list[Home]:
    dice = np.random.default_rng(seed)
    return [Home(float(dice.uniform(0.2, 4.0)), dice.normal(0, 3, DIMENSIONS).astype(np.float32)) for _ in range(count)]


def _best(homes: list[Home]) -> F32:
    total = sum(home.steep for home in homes)
    return np.asarray(sum(home.steep * home.optimum for home in homes) / total, np.float32)


def _round(
    homes: list[Home], asked: list[int], shared: dict[str, F32], state: State, strategy: Strategy, number: int
) -> tuple[dict[str, F32], State]:
    """One round, as learner and server do it, without the wire."""
    schedule = Schedule(epochs=STEPS, lr=LR, batch=4, negatives=0)
    device = strategy.preset.device
    if device == "scaffold":
        schedule = Schedule(epochs=1, lr=LR, batch=4, negatives=0, steps=int(strategy["steps"]))
    control = control_of(state, shared)
    models = models_of(state, shared, int(strategy["clusters"]), 1.0, 0) if device == "ifca" else [shared]
    reports = []
    for one in asked:
        home, dice = homes[one], np.random.default_rng([number, one])
        own: dict[str, dict[str, F32]] = {"u": {}}
        model = best_of(home.step, SPEC, models, own, ROWS, 0, schedule, [one, number]) if len(models) > 1 else 0
        begin = models[model]
        correction = correction_of(control, home.control) if device == "scaffold" else None
        made = train(home.step, SPEC, begin, own, ROWS, 0, schedule, dice, correction=correction)
        update, home.residual = make_update(begin, made.shared, home.residual, 100.0, 0.0, dice)
        if device == "scaffold":
            moved = {name: dequantise(update.delta[name], update.scale[name]) for name in begin}
            home.control = next_control(home.control, control, moved, schedule.steps, LR)
        if device == "ditto":
            home.copy, _ = copies(home.step, SPEC, begin, home.copy, own, ROWS, 0, schedule, strategy["pull"], dice)
        reports.append(
            Report(
                delta=update.delta,
                scales=update.scale,
                examples=4,
                loss_before=made.loss_before,
                loss_after=made.loss_after,
                cluster=model,
            )
        )
    return combine(strategy, shared, reports, state, Occasion(number=number, rounds=100, lr=LR, devices=len(homes)))


def _run(homes: list[Home], strategy: Strategy, rounds: int, asked: int = 0) -> tuple[dict[str, F32], State]:
    shared: dict[str, F32] = {"w": np.zeros(DIMENSIONS, np.float32)}
    state: State = {}
    dice = np.random.default_rng(7)
    for number in range(1, rounds + 1):
        some = sorted(dice.choice(len(homes), asked, replace=False).tolist()) if asked else list(range(len(homes)))
        shared, state = _round(homes, some, shared, state, strategy, number)
    return shared, state


def test_fedavg_drifts_where_devices_differ_and_scaffold_does_not() -> None:
    drifted, _ = _run(_fleet(), chosen("fedavg"), 60)
    corrected, _ = _run(_fleet(), chosen("scaffold", {"steps": STEPS}), 60)
    best = _best(_fleet())
    assert np.linalg.norm(drifted["w"] - best) > 0.1
    assert np.linalg.norm(corrected["w"] - best) < 0.01


def test_scaffold_holds_when_a_round_asks_half_of_the_fleet() -> None:
    best = _best(_fleet())
    apart = {}
    for name in ("fedavg", "scaffold"):
        options = {"steps": STEPS} if name == "scaffold" else {}
        shared, _ = _run(_fleet(), chosen(name, options), 300, asked=4)
        apart[name] = float(np.linalg.norm(shared["w"] - best))
    assert apart["scaffold"] < 0.25 * apart["fedavg"]


def test_the_fleets_control_variate_is_the_mean_of_the_devices() -> None:
    """Though no device sends its own."""
    homes = _fleet()
    _, state = _run(homes, chosen("scaffold", {"steps": STEPS}), 9)
    mean = np.mean([home.control["w"] for home in homes], axis=0)
    np.testing.assert_allclose(state["control/w"], mean, atol=1e-4)


@pytest.mark.parametrize("pull", [0.0, 0.5, 5.0])
def test_dittos_copies_lie_between_what_a_device_wants_and_what_all_share(pull: float) -> None:
    """The point that a step of gradient and a step of pull leave where it is; (a·b + λ·w) / (a + λ) for small steps."""
    homes = _fleet()
    shared, _ = _run(homes, chosen("ditto", {"pull": pull}), 80)
    plain, _ = _run(_fleet(), chosen("fedavg"), 80)
    np.testing.assert_allclose(shared["w"], plain["w"], atol=1e-5)  # the copies change nothing for the others
    for home in homes:
        kept, held = 1.0 - LR * home.steep, 1.0 - LR * pull
        wanted = (held * LR * home.steep * home.optimum + LR * pull * shared["w"]) / (1.0 - kept * held)
        np.testing.assert_allclose(home.copy["u"]["w"], wanted, atol=0.01)
    if pull == 0.0:
        assert all(home.loss(home.copy["u"]["w"]) < 1e-4 for home in homes)


def test_clusters_find_the_two_groups_that_one_model_cannot_serve() -> None:
    dice = np.random.default_rng(3)
    centres = [np.full(DIMENSIONS, -4.0), np.full(DIMENSIONS, 4.0)]
    homes = [Home(1.0, (centres[n % 2] + dice.normal(0, 0.2, DIMENSIONS)).astype(np.float32)) for n in range(8)]
    strategy = chosen("ifca", {"clusters": 2, "spread": 1.0})
    _, state = _run(homes, strategy, 15)
    found = sorted(float(state[f"model/{n}/w"].mean()) for n in range(2))
    np.testing.assert_allclose(found, [-4.0, 4.0], atol=0.3)
    assert sorted(state["sizes"].tolist()) == [4.0, 4.0]
    one, _ = _run(homes, chosen("fedavg"), 15)
    assert abs(float(one["w"].mean())) < 0.5
