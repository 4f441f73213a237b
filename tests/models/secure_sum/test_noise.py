"""Noise that members add is exactly as wide as was stated, whoever vanishes, and no sum exists without it."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import SecureSumFailed
from models.secure_sum.discrete import MARGIN, discrete_gaussian
from models.secure_sum.graph import Plan
from models.secure_sum.noise import Noise, apartness, decode, encode, norm_bound, rounded, share_variance, spare_bits
from models.secure_sum.ring import Ring
from tests.models.secure_sum.party import coins, sum_in_secret

F64 = NDArray[np.float64]


def _ring(noise: Noise, size: int, members: int, bits: int = 10) -> Ring:
    narrow = Ring(bound=1.0, bits=bits, members_max=members)
    return Ring(bound=1.0, bits=bits, members_max=members, spare=spare_bits(noise, narrow, size))


def _chi_square(drawn: NDArray[np.int64], variance: float) -> tuple[float, int]:
    """The statistic over the cells that expect 20 or more, and the number of cells."""
    reach = int(12 * math.sqrt(variance)) + 2
    weight = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    expected = weight / weight.sum() * len(drawn)
    counts = np.bincount(drawn + reach, minlength=2 * reach + 1)
    held = expected >= 20
    cells = np.append(counts[held], counts[~held].sum())
    wanted = np.append(expected[held], max(expected[~held].sum(), 1e-9))
    if wanted[-1] < 5:
        cells, wanted = cells[:-1], wanted[:-1]
    return float(((cells - wanted) ** 2 / wanted).sum()), len(cells)


@pytest.mark.parametrize("variance", [Fraction(1, 3), Fraction(1), Fraction(7, 2), Fraction(30)])
@pytest.mark.parametrize(("margin", "size"), [(MARGIN, 40_000), (0.9, 1_500)])
def test_what_is_drawn_has_the_probabilities_of_the_discrete_gaussian(
    variance: Fraction, margin: float, size: int
) -> None:
    """With a wide margin nearly every coin is decided in exact numbers: both ways draw the same."""
    found, cells = _chi_square(discrete_gaussian(variance, size, coins(11), margin), float(variance))
    assert found < cells + 6 * math.sqrt(2 * cells) + 6


@pytest.mark.parametrize("variance", [Fraction(10**6), Fraction(2**50, 3)])
def test_wide_noise_varies_as_stated(variance: Fraction) -> None:
    drawn = discrete_gaussian(variance, 40_000, coins(3)).astype(np.float64)
    assert float((drawn**2).mean()) == pytest.approx(float(variance), rel=5 * math.sqrt(2 / 40_000))
    assert abs(float(drawn.mean())) < 5 * math.sqrt(float(variance) / 40_000)


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(-1), Fraction(2**80)])
def test_a_variance_out_of_range_is_refused(variance: Fraction) -> None:
    with pytest.raises(ValueError, match="out of range"):
        discrete_gaussian(variance, 3, coins(0))


@settings(max_examples=60)
@given(
    st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=60), st.integers(2, 16), st.integers(0, 99), st.floats(0.1, 4.0)
)
def test_rounding_never_makes_a_vector_longer_than_what_is_accounted(
    values: list[float], bits: int, seed: int, bound: float
) -> None:
    ring = Ring(bound=bound, bits=bits, members_max=4)
    whole = rounded(np.array(values), ring, np.random.default_rng(seed))
    assert int(whole @ whole) <= norm_bound(ring, len(values))
    vector = np.array(values) * min(1.0, bound / max(float(np.linalg.norm(values)), 1e-300))
    assert np.abs(whole * ring.step - vector).max() <= ring.step * (1 + 1e-9)


def test_rounding_is_right_on_average() -> None:
    ring = Ring(bound=1.0, bits=6, members_max=4)
    vector = np.random.default_rng(1).normal(0, 0.05, 40)
    drawn = [rounded(vector, ring, np.random.default_rng(n)) * ring.step for n in range(3_000)]
    assert np.abs(np.mean(drawn, axis=0) - vector).max() < 5 * ring.step / 2 / math.sqrt(3_000)


@pytest.mark.parametrize(("gone", "kept"), [(0, 24), (3, 21), (6, 18)])
def test_the_sum_of_the_real_protocol_has_the_stated_noise_and_more_whoever_vanishes(gone: int, kept: int) -> None:
    size, noise = 6_000, Noise(multiplier=1.5, least=18)
    ring = _ring(noise, size, 24)
    dice = np.random.default_rng(5)
    plain = {one: dice.normal(0.0, 0.5 / math.sqrt(size), size) for one in range(24)}
    vectors = {one: encode(vector, noise, ring, dice, coins(900 + one)) for one, vector in plain.items()}
    heard = sum_in_secret(vectors, ring, Plan(degree=23, threshold=13), dict.fromkeys(range(gone), "masked"), seed=4)
    assert len(heard.included) == kept
    found = decode(heard.total, ring) - np.sum([plain[one] for one in heard.included], axis=0)
    # What one member can move the sum by, in real units; rounding adds at most a quarter step² a member.
    sensitivity = math.sqrt(norm_bound(ring, size)) * ring.step
    stated = (1.5 * sensitivity) ** 2
    expected = stated * kept / 18
    spread = 6 * math.sqrt(2 / size)
    assert expected * (1 - spread) <= float((found**2).mean()) <= expected * (1 + spread) + kept * ring.step**2 / 4
    assert float((found**2).mean()) >= stated * (1 - spread)
    assert sensitivity == pytest.approx(1.0, rel=0.02)  # rounding costs this much, and it is accounted


def test_noise_and_sum_fit_the_ring() -> None:
    """All members at the bound, in one coordinate and one direction."""
    size, noise = 50, Noise(multiplier=8.0, least=3)
    ring = _ring(noise, size, 9)
    most = np.zeros(size)
    most[0] = 1.0
    dice = np.random.default_rng(2)
    total = sum(encode(most, noise, ring, dice, coins(n)) for n in range(9))
    found = decode(np.asarray(total) & np.uint64(ring.mask), ring)
    wide = 8.0 * math.sqrt(norm_bound(ring, size)) * ring.step * math.sqrt(9 / 3)
    assert np.abs(found - 9 * most).max() < 6 * wide
    assert 2.0**ring.ring_bits * ring.step / 2 > 9 + 11 * wide


def test_noise_too_narrow_for_the_grid_is_refused() -> None:
    noise = Noise(multiplier=0.01, least=60)
    with pytest.raises(SecureSumFailed, match="too narrow"):
        encode(np.zeros(9), noise, Ring(bound=1.0, bits=4, members_max=64), np.random.default_rng(0), coins(0))


def test_a_vector_that_is_not_finite_is_refused() -> None:
    noise = Noise(multiplier=2.0, least=3)
    with pytest.raises(SecureSumFailed, match="not finite"):
        encode(np.array([np.nan]), noise, Ring(bound=1.0, bits=8, members_max=4), np.random.default_rng(0), coins(0))


def _sum_of_shares(variance: float, members: int, shift: int) -> F64:
    """P of the sum of `members` discrete Gaussians, moved by `shift`, over -reach..reach: by convolution."""
    reach = 400
    one = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    one /= one.sum()
    total = one
    for _ in range(members - 1):
        total = np.convolve(total, one)[reach:-reach]
    return np.roll(total, shift)


def test_the_exact_privacy_loss_of_the_shares_is_within_what_is_claimed() -> None:
    """One coordinate, one member moves the sum by all it may: δ from the probabilities themselves."""
    from coordinator.accountant import Spend, epsilon

    ring, noise, members = Ring(bound=1.0, bits=5, members_max=6), Noise(multiplier=2.0, least=5), 5
    shift = math.isqrt(norm_bound(ring, 1))
    variance = float(share_variance(noise, ring, 1))
    with_it, without = (_sum_of_shares(variance, members, by) for by in (shift, 0))
    assert apartness(share_variance(noise, ring, 1), 6) < 1e-12
    for delta in (1e-2, 1e-3, 1e-5):
        claimed = epsilon([Spend(noise_multiplier=2.0, rate=1.0, noise_by="devices")], delta, "rdp")
        exact = float(np.maximum(0.0, with_it - math.exp(claimed) * without).sum())
        assert exact <= delta
        # And the claim is no empty one: at half of ε the shares would not keep to δ.
        assert float(np.maximum(0.0, with_it - math.exp(claimed / 2) * without).sum()) > delta


@given(st.fractions(1, 100), st.integers(2, 1_000))
def test_shares_come_closer_to_one_discrete_gaussian_the_wider_they_are(variance: Fraction, members: int) -> None:
    near = [apartness(variance * factor, members) for factor in (1, 2, 4)]
    assert all(later <= earlier for earlier, later in pairwise(near))
