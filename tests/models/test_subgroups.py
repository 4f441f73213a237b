"""Sums by group: what they say of gaps, what noise and few observations leave unknown, and what one device may add."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.subgroups import FALLBACK, Place, Shape
from models import evaluate, subgroups
from models.spec import Calibration
from models.subgroups import Gap

LIMITS = {"auc": 0.05, "calibration": 0.05, "exposure": 0.1}
LAMP = Place(name="lamp", items=("on", "off"))
SHAPE = Shape(segments=("night",), places=(LAMP,))
NONE = Calibration()


def _device(dice: np.random.Generator, blind: float, shown: float, count: int = 100) -> np.ndarray:
    """A device on which the model is worth less for those of the night, and `on` is shown to them more often.

    Args:
        blind: share of the night's scores that say nothing.
        shown: how much more often `on` is chosen for them.
    """
    group = (dice.random(count) < 0.5).astype(np.int64)  # 0: night, 1: other
    label = (dice.random(count) < 0.5).astype(np.float64)
    score = dice.normal(2.0 * (label - 0.5), 1.0)
    dull = (group == 0) & (dice.random(count) < blind)
    score[dull] = dice.normal(0.0, 1.0, int(dull.sum()))
    lit = dice.random(count) < 0.4 + shown * (group == 0)
    own = subgroups.quality(score.astype(np.float32), label, group, SHAPE, "rank", NONE)
    seen = [("lamp", "on" if on else "off", True, int(g)) for on, g in zip(lit, group, strict=True)]
    return subgroups.bounded(own, subgroups.exposure(seen, SHAPE), 20.0)


def _found(blind: float, shown: float, devices: int, noise: float, seed: int = 0) -> dict[str, Gap]:
    dice = np.random.default_rng(seed)
    total = np.sum([_device(dice, blind, shown) for _ in range(devices)], axis=0)
    total += dice.normal(0.0, noise, len(total)) if noise else 0.0
    return {gap.what: gap for gap in subgroups.gaps(total, SHAPE, noise, LIMITS, dice)}


def test_gaps_of_many_devices_are_found_also_under_noise() -> None:
    found = _found(blind=0.8, shown=0.3, devices=200, noise=20.0)
    assert found["auc"].verdict == "exceeds"
    assert found["auc"].between == ("other", "night")
    lit = found["exposure of on at lamp"]
    assert (lit.verdict, lit.between) == ("exceeds", ("night", "other"))
    assert lit.low <= 0.3 <= lit.high
    assert found["calibration"].verdict != "exceeds"


def test_no_gap_is_claimed_where_there_is_none_whatever_the_noise() -> None:
    claimed = [
        gap.what
        for seed in range(10)
        for noise in (0.0, 40.0, 400.0)
        for gap in _found(0.0, 0.0, 20, noise, seed).values()
        if gap.verdict == "exceeds"
    ]
    assert claimed == []
    assert all(gap.verdict == "within" for gap in _found(0.0, 0.0, 400, 0.0).values())
    assert {gap.verdict for gap in _found(0.8, 0.3, 4, 80.0).values()} == {"not known"}


def test_a_group_that_nobody_is_in_makes_no_gap() -> None:
    total = np.zeros(SHAPE.size)
    assert {gap.verdict for gap in subgroups.gaps(total, SHAPE, 0.0, LIMITS, np.random.default_rng(0))} == {"not known"}


def test_the_figures_of_a_group_are_those_of_its_examples() -> None:
    dice = np.random.default_rng(1)
    label = (dice.random(4_000) < 0.3).astype(np.float64)
    score = dice.normal(label, 1.0).astype(np.float32)
    shape = Shape(segments=("all",))
    own = subgroups.quality(score, label, np.zeros(4_000, np.int64), shape, "rank", NONE)
    found = subgroups.groups_of(subgroups.bounded(own, np.zeros(0), 1e9), shape)
    assert found["all"].mass == 4_000
    assert abs(found["all"].auc - evaluate.auc(score, label)) < 0.02  # a bin is one wide
    chance = 1.0 / (1.0 + np.exp(-score.astype(np.float64)))
    assert abs(found["all"].calibration - (chance.mean() - label.mean())) < 1e-4
    assert found["other"].mass == 0.0


def test_what_came_without_a_model_and_what_is_nobodys_item_is_told_apart() -> None:
    seen = [("lamp", "on", True, 0), ("lamp", "on", False, 0), ("lamp", "strange", True, 1), ("other", "on", True, 1)]
    total = np.concatenate([np.zeros(SHAPE.quality_size), subgroups.exposure(seen, SHAPE)])
    shares = subgroups.exposures_of(total, SHAPE)["lamp"]
    assert shares["night"] == {"on": 0.5, "off": 0.0, FALLBACK: 0.5}
    assert shares["other"] == {"on": 0.0, "off": 0.0, FALLBACK: 0.0}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(allow_nan=True, width=32), st.floats(0.0, 1.0), st.integers(0, 1)), max_size=40),
    st.lists(
        st.tuples(
            st.sampled_from(["lamp", "x"]), st.sampled_from(["on", "off", "y"]), st.booleans(), st.integers(0, 1)
        ),
        max_size=40,
    ),
    st.floats(0.5, 50.0),
)
def test_no_device_adds_more_than_the_norm_whatever_it_holds(
    rows: list[tuple[float, float, int]], seen: list[tuple[str, str, bool, int]], norm: float
) -> None:
    score, label, group = (np.array(part) for part in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    own = subgroups.quality(score.astype(np.float32), label, group.astype(np.int64), SHAPE, "rank", NONE)
    vector = subgroups.bounded(own, subgroups.exposure(seen, SHAPE), norm)
    assert vector.shape == (SHAPE.size,)
    assert np.linalg.norm(vector) <= norm * (1.0 + 1e-9)
    assert (vector >= 0.0).all()
