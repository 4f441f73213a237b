"""A round may ask for the bundle's shared parameters within the device's bounds, and for nothing else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import RoundRefused
from edge_agent.learn.plan import Plan, read_plan, read_shared
from models import flat
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT

SPEC = open_bundle(CONTEXT).spec
SHARED = SPEC.of_share("shared")
ASKED: dict[str, Any] = {
    "bundle": "context",
    "version": "1.0.0",
    "names": [p.name for p in SHARED],
    "round": 1,
    "rounds": 2,
    "epochs": 1,
    "lr": 0.1,
    "batch": 16,
    "negatives": 0,
    "clip_norm": 1.0,
    "prox_mu": 0.0,
    "seed": 3,
}
VECTOR = np.arange(flat.size_of(SHARED), dtype=np.float32)


def _plan(**other: Any) -> Plan:
    return read_plan({**ASKED, **other}, "context", "1.0.0")


def test_a_plan_within_bounds_is_taken() -> None:
    (shared,) = read_shared(SPEC, _plan(), {"shared": VECTOR})
    assert {name: value.shape for name, value in shared.items()} == {p.name: p.shape for p in SHARED}


@pytest.mark.parametrize(
    "other",
    [
        {"epochs": 10_000},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"batch": 0},
        {"negatives": 51},
        {"clip_norm": 0.0},
        {"prox_mu": -1.0},
        {"round": 0},
        {"seed": -1},
        {"run_this": "rm -rf /"},
        {"names": "all"},
        {"bundle": "affinity"},
        {"version": "2.0.0"},
    ],
)
def test_a_plan_beyond_the_devices_bounds_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(RoundRefused):
        _plan(**other)


def test_a_round_that_asks_for_personal_parameters_is_refused_by_name() -> None:
    plan = _plan(names=[*ASKED["names"], "offset"])
    with pytest.raises(RoundRefused, match="offset"):
        read_shared(SPEC, plan, {"shared": np.append(VECTOR, np.float32(0))})


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"shared": VECTOR, "personal": VECTOR},
        {"shared": VECTOR[:-1]},
        {"shared": VECTOR.astype(np.float64)},
        {"shared": np.full_like(VECTOR, np.nan)},
        {"shared": VECTOR.reshape(1, -1)},
    ],
)
def test_parameters_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(RoundRefused):
        read_shared(SPEC, _plan(), arrays)


JUNK = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


@given(st.dictionaries(st.sampled_from([*ASKED, "other"]), JUNK))
def test_whatever_is_asked_is_taken_or_refused_and_never_crashes(other: dict[str, Any]) -> None:
    try:
        plan = _plan(**other)
    except RoundRefused:
        return
    assert 1 <= plan.epochs <= 100
    assert np.isfinite(plan.lr)


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from(["hub", "doorbell", ""]))
def test_a_plan_for_other_devices_is_refused_with_the_reason(held: int, wanted: int, device_class: str) -> None:
    plan = _plan(classes=["hub", "gateway"], examples_min=wanted)
    fits = device_class == "hub" and held >= wanted
    if fits:
        plan.check_fit(device_class, held)
        return
    with pytest.raises(RoundRefused, match=r"the round is for (hub, gateway|devices with \d+)"):
        plan.check_fit(device_class, held)
