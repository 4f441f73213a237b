"""The clipping norm follows a quantile, by a count whose noise is in the budget; the path is part of a run's state."""

from pathlib import Path

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given
from hypothesis import strategies as st

from coordinator import clipping
from coordinator.accountant import Budget, Spend, epsilon
from coordinator.aggregate import Report
from coordinator.clipping import Adaptive
from coordinator.errors import BudgetInvalid
from coordinator.rounds import Round
from coordinator.shell import clip_path
from coordinator.shell.checkpoint import Checkpoint, load, save
from coordinator.shell.grid import Replies
from coordinator.shell.job import Job, Private
from coordinator.shell.round import Gathered
from coordinator.shell.secret_grid import Summed

MEDIAN = Adaptive(quantile=0.5, learning_rate=0.2, count_noise=5.0)


def _job(clip_norm: float, noise_by: str = "coordinator", devices: int = 100) -> Job:
    private = Private(
        population="homes",
        budget=Budget(epsilon=8.0, delta=1e-5),
        noise_multiplier=1.0,
        rate=1.0,
        devices=devices,
        adaptive=MEDIAN,
        noise_by=noise_by,  # type: ignore[arg-type]
    )
    return Job(
        home="",
        key="r",
        bundle="",
        rounds=9,
        minimum_reports=1,
        epochs=1,
        lr=0.1,
        batch=1,
        negatives=0,
        clip_norm=clip_norm,
        private=private,
    )


def _report(norm: float, clip_norm: float) -> Report:
    return Report(delta={}, scales={}, examples=1, loss_before=0.0, loss_after=0.0, within=norm <= clip_norm)


def _reports(norms: np.ndarray, clip_norm: float) -> Gathered:
    replies = Replies(reports=tuple(_report(float(one), clip_norm) for one in norms))
    return Gathered(row=Round(run="r", number=1), replies=replies)


def test_update_and_count_together_cost_what_the_round_is_entered_with() -> None:
    """Two Gaussian releases, as dp-accounting composes them: the update's, and the count's, which one moves by ½."""
    alone = clipping.vector_multiplier(1.0, MEDIAN)
    both = dp_accounting.ComposedDpEvent(
        [dp_accounting.GaussianDpEvent(alone), dp_accounting.GaussianDpEvent(2.0 * MEDIAN.count_noise)]
    )
    said = PLDAccountant().compose(both).get_epsilon(1e-5)
    assert epsilon([Spend(noise_multiplier=1.0, rate=1.0)], 1e-5) == pytest.approx(said, rel=1e-3)
    assert alone > 1.0


@given(st.floats(0.3, 20.0), st.floats(0.5, 100.0), st.floats(0.01, 100.0))
def test_one_noise_on_the_vector_with_its_count_is_the_noise_of_each(noise: float, count: float, clip: float) -> None:
    adaptive = Adaptive(quantile=0.5, learning_rate=0.2, count_noise=count)
    if noise**-2 <= (2 * count) ** -2 * (1 + 1e-9):
        with pytest.raises(BudgetInvalid, match="costs more"):
            clipping.vector_multiplier(noise, Adaptive(quantile=0.5, learning_rate=0.2, count_noise=noise / 2.1))
        return
    weight = clipping.count_weight(clip, noise, adaptive)
    sigma = noise * np.hypot(clip, weight)
    assert sigma == pytest.approx(clipping.vector_multiplier(noise, adaptive) * clip, rel=1e-9)
    assert sigma / (2 * weight) == pytest.approx(count, rel=1e-9)


@pytest.mark.parametrize("start", [0.05, 50.0])
@pytest.mark.parametrize("quantile", [0.3, 0.8])
def test_the_norm_comes_to_the_quantile_from_far_below_and_above(start: float, quantile: float) -> None:
    dice = np.random.default_rng(4)
    norms = dice.lognormal(0.0, 0.5, 2_000)
    adaptive = Adaptive(quantile=quantile, learning_rate=0.2, count_noise=100.0)
    norm = start
    for _ in range(120):
        within = float((norms <= norm).mean() + dice.normal(0.0, adaptive.count_noise) / len(norms))
        norm = clipping.next_norm(norm, within, adaptive)
    assert norm == pytest.approx(float(np.quantile(norms, quantile)), rel=0.15)


def test_the_path_of_the_norm_is_in_the_state_and_a_resumed_run_goes_on_from_its_end(tmp_path: Path) -> None:
    norms = np.full(100, 3.0)
    state: clip_path.State = {"momentum": np.ones(2)}
    for _ in range(3):
        job = clip_path.as_clipped(_job(1.0), state)
        state = clip_path.after(job, state, {"momentum": np.ones(2)}, _reports(norms, job.clip_norm))
    path = state["clip_norm"]
    assert path[0] == 1.0
    assert len(path) == 4
    assert (np.diff(path) > 0).all()  # all updates are above it
    digest = save(tmp_path / "now.npz", Checkpoint(shared={}, state=state))
    held = load(tmp_path / "now.npz", digest)
    assert clip_path.as_clipped(_job(1.0), held.state).clip_norm == path[-1]
    assert set(held.state) == {"momentum", "clip_norm"}


def test_the_count_is_noised_and_unbiased() -> None:
    """70 of 100 within: the mean of many noised shares is 0.7, and they vary by the stated noise."""
    found = _reports(np.r_[np.zeros(70), np.full(30, 9.0)], 1.0)
    job = _job(1.0)
    shares = []
    for _ in range(3_000):
        after = clip_path.after(job, {}, {}, found)["clip_norm"][-1]
        shares.append(0.5 - np.log(after) / 0.2)
    assert np.mean(shares) == pytest.approx(0.7, abs=5 * 0.05 / np.sqrt(3_000))
    assert np.std(shares) == pytest.approx(5.0 / 100, rel=0.1)


def test_the_count_of_a_secret_sum_is_its_last_number() -> None:
    """8 of 10 within; the devices' noise is in it already, so nothing more is added."""
    job = _job(2.0, "devices", 10)
    weight = clipping.count_weight(2.0, 1.0, MEDIAN)
    summed = Summed(total=np.array([0.3, 8 * weight - 2 * weight]), members=10, refusals=(), bytes_up=0, bytes_down=0)
    found = Gathered(row=Round(run="r", number=1), summed=summed)
    after = clip_path.after(job, {}, {}, found)["clip_norm"]
    assert after[-1] == pytest.approx(2.0 * np.exp(-0.2 * (0.8 - 0.5)))
    assert clip_path.without_count(job, summed.total).tolist() == [0.3]
