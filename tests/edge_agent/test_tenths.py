"""A window's place in a device's own reference: even while nothing changes, whatever the values are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.shift_tests import KolmogorovSmirnov, Psi
from edge_agent.tenths import tenths
from firmware_configs.fleet_drift import TENTHS


def _watched(kind: type[Psi] | type[KolmogorovSmirnov], usual: list[float], now: list[float]) -> list[float] | None:
    test = kind(1_000_000, len(usual), len(now))
    for value in [*usual, *now]:
        test.add(value)
    return tenths(test.counts)


def _draw(seed: int, mean: float, count: int) -> list[float]:
    return [float(one) for one in np.random.default_rng(seed).normal(mean, 1.0, count)]


@pytest.mark.parametrize("kind", [Psi, KolmogorovSmirnov])
def test_nothing_changes_and_each_tenth_holds_a_tenth(kind: type[Psi] | type[KolmogorovSmirnov]) -> None:
    found = _watched(kind, _draw(1, 20.0, 5_000), _draw(2, 20.0, 5_000))
    assert found == pytest.approx([0.1] * TENTHS, abs=0.02)


@pytest.mark.parametrize("kind", [Psi, KolmogorovSmirnov])
def test_what_rises_gathers_in_the_last_tenths(kind: type[Psi] | type[KolmogorovSmirnov]) -> None:
    found = _watched(kind, _draw(1, 20.0, 5_000), _draw(2, 21.5, 1_000))
    assert found is not None
    assert found[-1] > 0.5
    assert found[0] < 0.01


def test_values_that_are_often_alike_change_nothing_while_they_stay_as_frequent() -> None:
    usual = [0.0] * 700 + [1.0] * 300
    assert _watched(Psi, usual, [0.0] * 70 + [1.0] * 30) == pytest.approx([0.1] * TENTHS, abs=1e-9)
    assert _watched(Psi, usual, [1.0] * 100) == pytest.approx([0.0] * 7 + [1 / 3] * 3)
    assert _watched(Psi, usual, [-5.0] * 100) == pytest.approx([1.0] + [0.0] * 9)


def test_nothing_is_told_before_a_whole_window() -> None:
    test = Psi(1_000_000, 100, 50)
    assert tenths(test.counts) is None
    for value in _draw(1, 0.0, 149):
        test.add(value)
    assert tenths(test.counts) is None
    test.add(0.0)
    assert tenths(test.counts) is not None


def test_what_was_stored_before_a_window_was_kept_is_read_and_tells_nothing() -> None:
    test = Psi(1_000_000, 100, 50)
    test.restore(b"\x94\x91\xca\x00\x00\x00\x00\x92\x01\x01\x92\x00\x00\xc0")
    assert tenths(test.counts) is None


@settings(deadline=None, max_examples=100)
@given(
    usual=st.lists(st.integers(-3, 3).map(float), min_size=50, max_size=80),
    now=st.lists(st.floats(-10, 10, allow_nan=False), min_size=20, max_size=40),
)
def test_shares_are_shares_whatever_comes(usual: list[float], now: list[float]) -> None:
    found = _watched(Psi, usual, now)
    assert found is not None
    assert sum(found) == pytest.approx(1.0)
    assert min(found) >= 0.0
    # One device moves a sum by no more than this, before it is scaled to the norm.
    assert np.linalg.norm(found) <= 1.0 + 1e-9
