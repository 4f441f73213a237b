"""Comparisons from sums are what people's own numbers give, with CUPED and with shares that change."""

from collections.abc import Sequence

import numpy as np
import pytest

from firmware_configs import profile as p
from models.experiments import sums
from models.experiments.allocation import propose
from models.experiments.analysis import Analysis, analyse, declared
from models.experiments.effects import effect

HALF = {0: [0.5, 0.5]}


def _table(arm: np.ndarray, z: np.ndarray, w: np.ndarray, arms: int = 2) -> sums.F64:
    table = np.zeros((arms, 6))
    for a in range(arms):
        own = arm == a
        table[a] = own.sum(), z[own].sum(), (z[own] ** 2).sum(), w[own].sum(), (w[own] ** 2).sum(), (z * w)[own].sum()
    return table


def _people(n: int, seed: int, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    arm, w = dice.integers(0, 2, n), dice.random(n) - 0.5
    return arm, np.clip(0.8 * w + dice.normal(0, 0.1, n) + lift * arm - lift / 2, -0.5, 0.5), w


def test_with_even_shares_the_effect_is_the_difference_of_means() -> None:
    arm, z, w = _people(5_000, 0, 0.05)
    found = effect({0: _table(arm, z, np.zeros_like(w))}, HALF, [-1.0, 1.0], 0)
    assert found is not None
    assert found.value == pytest.approx(z[arm == 1].mean() - z[arm == 0].mean())
    plain = z[arm == 1].var() / (arm == 1).sum() + z[arm == 0].var() / (arm == 0).sum()
    assert found.variance / found.people == pytest.approx(plain, rel=0.05)
    assert found.reduction == 0.0


def test_cuped_takes_away_what_was_known_before() -> None:
    arm, z, w = _people(5_000, 1, 0.05)
    found = effect({0: _table(arm, z, w)}, HALF, [-1.0, 1.0], 0)
    assert found is not None
    slopes = [np.cov(w[arm == a], z[arm == a])[0, 1] for a in (0, 1)]
    variances = [w[arm == a].var(ddof=1) for a in (0, 1)]
    sizes = [(arm == a).sum() - 1 for a in (0, 1)]
    theta = np.dot(slopes, sizes) / np.dot(variances, sizes)
    adjusted = z - theta * w
    assert found.value == pytest.approx(adjusted[arm == 1].mean() - adjusted[arm == 0].mean())
    assert found.reduction == pytest.approx(np.corrcoef(w, z)[0, 1] ** 2, abs=0.03)


def test_drift_while_shares_change_does_not_pass_for_an_effect() -> None:
    dice = np.random.default_rng(3)
    n, tables, naive = 20_000, {}, [[], []]
    shares = {0: [0.8, 0.2], 1: [0.2, 0.8]}
    for number, level in ((0, -0.3), (1, 0.3)):
        arm = (dice.random(n) < shares[number][1]).astype(int)
        z = np.clip(level + dice.normal(0, 0.05, n), -0.5, 0.5)
        tables[number] = _table(arm, z, np.zeros(n))
        for a in (0, 1):
            naive[a].append(z[arm == a])
    found = effect(tables, shares, [-1.0, 1.0], 0)
    assert found is not None
    deviation = (found.variance / found.people) ** 0.5
    assert abs(found.value) < 4 * deviation
    assert np.concatenate(naive[1]).mean() - np.concatenate(naive[0]).mean() > 0.3


def test_shares_under_which_an_arm_had_no_chance_do_not_count_for_it() -> None:
    arm, z, w = _people(1_000, 4)
    table = _table(arm, z, w)
    only_control = _table(np.zeros(1_000, int), z, w)
    with_more = effect({0: table, 1: only_control}, {**HALF, 1: [1.0, 0.0]}, [-1.0, 1.0], 0)
    assert with_more == effect({0: table}, HALF, [-1.0, 1.0], 0)


def test_an_arm_with_nobody_has_no_effect_and_one_without_events_is_not_certain() -> None:
    empty = np.zeros((2, 6))
    assert effect({0: empty}, HALF, [-1.0, 1.0], 0) is None
    few = np.array([[10.0, -5.0, 2.5, 0, 0, 0], [10.0, -5.0, 2.5, 0, 0, 0]])
    found = effect({0: few}, HALF, [-1.0, 1.0], 0)
    assert found is not None
    assert found.variance > 0.1


ARMS = (p.Arm(name="control"), p.Arm(name="good"), p.Arm(name="bad"))
METRICS = (
    p.ExperimentMetric(name="reward"),
    p.ExperimentMetric(name="wait", role="guard", better="lower", upper=10.0, margin=0.5),
)
LIMITS = p.Adaptive(people_min=100, step_max=0.2, share_max=0.8, control_min=0.1)
TRIAL = p.Experiment(name="x", arms=ARMS, metric=METRICS, adaptive=LIMITS)


def _trial(rates: Sequence[float], waits: Sequence[float], each: int = 3_000, seed: int = 0) -> sums.Tables:
    dice = np.random.default_rng(seed)
    table = np.zeros((len(rates), 11))
    for arm, (rate, wait) in enumerate(zip(rates, waits, strict=True)):
        for _ in range(each):
            outcomes = [
                sums.centred(float(dice.random() < rate), METRICS[0]),
                sums.centred(dice.normal(wait, 1.0), METRICS[1]),
            ]
            table[arm] += sums.row(outcomes, [])
    return {0: table}


def _analysis(rates: Sequence[float], waits: Sequence[float], each: int = 3_000) -> Analysis:
    return analyse(TRIAL, _trial(rates, waits, each), {0: declared(TRIAL)})


def test_a_winner_is_promoted_and_a_loser_pruned_in_bounded_steps() -> None:
    found = _analysis([0.2, 0.3, 0.1], [3.0, 3.0, 3.0])
    assert "good vs control is better in reward" in found.verdict
    shares = declared(TRIAL)
    for _ in range(10):
        proposal = propose(TRIAL, found, shares)
        assert sum(proposal.shares) == pytest.approx(1.0)
        assert max(abs(new - old) for new, old in zip(proposal.shares, shares, strict=True)) <= 0.4 + 1e-6
        assert proposal.shares[1] - shares[1] <= 0.2 + 1e-6
        assert shares[2] - proposal.shares[2] <= 0.2 + 0.2 + 1e-6
        assert proposal.shares[0] >= 0.1 - 1e-6
        shares = list(proposal.shares)
    assert shares == pytest.approx([0.2, 0.8, 0.0])


def test_harm_to_a_guard_ends_an_arm_at_once_whatever_it_wins() -> None:
    found = _analysis([0.2, 0.4, 0.2], [3.0, 5.0, 3.0])
    assert [one.state for one in found.comparisons if one.contrast == "good vs control"] == ["better", "harmed"]
    proposal = propose(TRIAL, found, declared(TRIAL))
    assert proposal.shares == pytest.approx([2 / 3, 0.0, 1 / 3], abs=1e-5)


def test_too_few_people_move_nothing() -> None:
    found = _analysis([0.0, 1.0, 0.0], [3.0, 3.0, 3.0], each=60)
    assert propose(TRIAL, found, declared(TRIAL)).reasons == ()


def test_a_mismatch_is_the_verdict_and_moves_nothing() -> None:
    tables = _trial([0.2, 0.3, 0.1], [3.0, 3.0, 3.0])
    tables[0][1] *= 0.8
    found = analyse(TRIAL, tables, {0: declared(TRIAL)})
    assert found.mismatched
    assert found.verdict.startswith("do not read the result")
    assert propose(TRIAL, found, declared(TRIAL)).reasons == ()


def test_noise_for_privacy_widens_intervals_and_raises_no_alarm() -> None:
    tables = _trial([0.2, 0.2, 0.2], [3.0, 3.0, 3.0])
    exact = analyse(TRIAL, tables, {0: declared(TRIAL)})
    dice, alarms, claims = np.random.default_rng(5), 0, 0
    for _ in range(100):
        noisy = {0: tables[0] + 40.0 * dice.normal(size=tables[0].shape)}
        found = analyse(TRIAL, noisy, {0: declared(TRIAL)}, 40.0)
        alarms += found.mismatched
        claims += any(one.state in {"better", "worse", "harmed"} for one in found.comparisons)
        assert (
            found.comparisons[0].high - found.comparisons[0].low > exact.comparisons[0].high - exact.comparisons[0].low
        )
    assert (alarms, claims) == (0, 0)


def test_effects_of_factors_are_found_and_confounded_ones_named() -> None:
    factors = tuple(p.Factor(name=n, levels=(p.Level(name=f"{n}-low"), p.Level(name=f"{n}-high"))) for n in "abc")
    trial = p.Experiment(name="y", factors=factors, generators=("c = a*b",))
    from firmware_configs import designs

    made = designs.arms(trial)
    dice = np.random.default_rng(6)
    table = np.zeros((len(made), 6))
    for n, arm in enumerate(made):
        rate = 0.3 + (0.2 if "a-high" in arm.name else 0.0)
        for _ in range(2_000):
            table[n] += sums.row([sums.centred(float(dice.random() < rate), trial.metric[0])], [])
    found = analyse(trial, {0: table}, {0: declared(trial)})
    states = {one.contrast: (one.state, one.aliases) for one in found.comparisons}
    assert states["a"] == ("better", ("b*c",))
    assert states["b"][0] == states["c"][0] == "no difference yet"
    assert next(one for one in found.comparisons if one.contrast == "a").value == pytest.approx(0.2, abs=0.03)
    assert "or this is b*c" in found.verdict
