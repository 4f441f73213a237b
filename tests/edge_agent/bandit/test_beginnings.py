"""A policy that began with what a bundle brought tells its own rewards alone, also when rewards fade or scales move."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.decide.bandit.by_features import ARM, ByFeatures
from edge_agent.decide.bandit.by_item import ByItem
from edge_agent.decide.bandit.learner import learner_of
from firmware_configs.profile import LinUcb, SquareCb, Thompson
from models.warm_start import WarmStart

F64 = NDArray[np.float64]
K, D = 2, 4
SCALE = {"mean": np.array([1.0, -2.0]), "deviation": np.array([2.0, 0.5])}


def brought(seed: int, scale: dict[str, F64] = SCALE) -> WarmStart:
    """A beginning for the items a and b, in float32 as a bundle holds it."""
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(2, 30, D)).astype(np.float32)
    held = {
        "moments": np.einsum("nri,nrj->nij", rows, rows).astype(np.float32).astype(np.float64),
        "targets": rows.sum(axis=1).astype(np.float32).astype(np.float64),
        "weight": np.array([30.0, 30.0]),
        **scale,
    }
    return WarmStart(held, ("a", "b"))


class Home:
    """A device with a store, whose agent starts again after each reward."""

    def __init__(self, policy: LinUcb | SquareCb, prior: WarmStart | None) -> None:
        self.policy, self.prior = policy, prior
        self.rows: dict[str, bytes] = {}

    def learner(self) -> ByFeatures:
        found = learner_of(self.policy, K, self.rows.get, self.prior, signature=77)
        assert isinstance(found, ByFeatures)
        return found

    def live(self, seed: int, rewards: int) -> None:
        dice = np.random.default_rng(seed)
        for n in range(rewards):
            learner = self.learner()
            context = dice.normal(size=K).astype(np.float32)
            for key in learner.learn("ab"[n % 2], float(dice.random() < 0.4), context, 0.3, 1_000 * n):
                self.rows[key] = learner.pack(key)


@settings(max_examples=25)
@given(st.integers(0, 999), st.integers(1, 12), st.sampled_from([0.0, 5.0]))
def test_what_is_told_is_what_a_device_without_a_beginning_would_tell(seed: int, count: int, half_life: float) -> None:
    policy = LinUcb(half_life_rewards=half_life)
    empty = WarmStart(SCALE, ("a", "b"))
    told = []
    for prior in (brought(seed), empty):
        home = Home(policy, prior)
        home.live(seed, count)
        # Another version's beginning changes nothing of what was learned before.
        home.prior = brought(seed + 1) if prior is not empty else empty
        learner = home.learner()
        told.append([learner.arms.statistics(item, learner.clock) for item in "ab"[: min(count, 2)]])
    for one, other in zip(*told, strict=True):
        assert one.moments == pytest.approx(other.moments, abs=1e-6)
        assert one.targets == pytest.approx(other.targets, abs=1e-6)
        assert one.weight == pytest.approx(other.weight, abs=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 999), st.sampled_from([0.0, 4.0]), st.lists(st.booleans(), min_size=1, max_size=12))
def test_counts_are_told_without_what_was_brought(seed: int, half_life: float, outcomes: list[bool]) -> None:
    policy = Thompson(half_life_rewards=half_life)
    prior = WarmStart({"won": np.array([40.0, 2.0]), "missing": np.array([60.0, 8.0])}, ("a", "b"))
    told = []
    for start in (prior, None):
        rows: dict[str, bytes] = {}
        for n, won in enumerate(outcomes):
            learner = learner_of(policy, 0, rows.get, start)
            for key in learner.learn("ab"[(n + seed) % 2], float(won), None, 0.5, n):
                rows[key] = learner.pack(key)
        learner = learner_of(policy, 0, rows.get, prior)
        assert isinstance(learner, ByItem)
        told.append([number for item in ("a", "b", "c") for number in learner.counts.own(item)])
    assert told[0] == pytest.approx(told[1], abs=1e-9)


def test_a_version_that_declares_a_scale_goes_on_with_what_was_learned_without_one() -> None:
    home = Home(SquareCb(), None)
    home.live(1, 400)
    ask, own = np.array([0.7, -0.3], np.float32), np.array([0.3, 0.3], np.float32)
    before = home.learner().beliefs(("a", "b"), ask, own, own)
    home.prior = WarmStart({"mean": np.zeros(2), "deviation": np.array([0.5, 2.0])}, ("a", "b"))
    after = home.learner().beliefs(("a", "b"), ask, own, own)
    # The ridge weighs the directions otherwise on another scale; with 200 rewards an item that is little.
    assert after.mean == pytest.approx(before.mean, abs=0.02)
    # One item is rewarded and stored on the new scale, the other still lies there on the old one.
    learner = home.learner()
    for key in learner.learn("a", 1.0, ask, 0.3, 999_000):
        home.rows[key] = learner.pack(key)
    mixed = home.learner().beliefs(("a", "b"), ask, own, own)
    assert mixed.mean[1] == pytest.approx(after.mean[1], abs=1e-12)
    assert mixed.mean[0] > after.mean[0]
    # And back to none of the bundle's: what was learned on its scale still counts.
    home.prior = WarmStart({"mean": np.ones(2), "deviation": np.ones(2)}, ("a", "b"))
    assert home.learner().beliefs(("a", "b"), ask, own, own).mean == pytest.approx(mixed.mean, abs=0.02)


def test_a_regression_stored_before_beginnings_were_kept_is_read() -> None:
    home = Home(LinUcb(), None)
    home.live(3, 4)
    packed = home.rows[ARM + "a"]
    assert packed[0] == 0x99, "nine parts, as ever, where a bundle brought nothing"
