"""Quantised weights come back close, in fewer bytes, and a bundle of them is a bundle like any other."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from models import arrays
from models.bundle import open_bundle, with_weights
from models.check import check_bundle
from models.cli import main
from models.errors import SpecInvalid
from models.quantise import POINTS_MAX, quantise
from models.stored import packed, restored, storage_of
from models.zoo import SHIPPED
from tests.models.sample import zoo_path

WEIGHTS = arrays_of.arrays(
    np.float32, arrays_of.array_shapes(max_dims=3, max_side=40), elements=st.floats(-1e3, 1e3, width=32)
)


@settings(max_examples=80, deadline=None)
@given(WEIGHTS)
def test_int8_is_off_by_half_a_step_at_most(weight: np.ndarray) -> None:
    again = restored(packed({"w": weight}, "int8"))
    assert list(again) == ["w"]
    assert (again["w"].dtype, again["w"].shape) == (np.float32, weight.shape)
    step = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)), initial=0.0) / 127.0
    if weight.ndim == 1:
        step = np.abs(weight).max(initial=0.0) / 127.0
    assert (np.abs(again["w"] - weight) <= 0.5001 * step + 1e-30).all()


@settings(max_examples=80, deadline=None)
@given(WEIGHTS)
def test_float16_is_off_by_a_thousandth_at_most(weight: np.ndarray) -> None:
    again = restored(packed({"w": weight}, "float16"))["w"]
    np.testing.assert_allclose(again, weight, rtol=1e-3, atol=1e-7)


def test_a_large_table_takes_about_a_quarter() -> None:
    table = {"w": np.random.default_rng(0).normal(size=(2_000, 32)).astype(np.float32)}
    sizes = [len(arrays.pack(packed(table, storage))) for storage in ("float32", "float16", "int8")]
    assert sizes[1] < 0.51 * sizes[0]
    assert sizes[2] < 0.26 * sizes[0]


def test_numbers_too_large_for_float16_are_refused_by_name() -> None:
    with pytest.raises(SpecInvalid, match="'w'"):
        packed({"w": np.array([1e6], np.float32)}, "float16")


def test_int8_without_its_scale_is_not_taken_for_weights() -> None:
    found = {"w": np.zeros((2, 40), np.int8)}
    assert restored(found)["w"].dtype == np.int8
    assert restored({**found, "w.scale": np.zeros(3, np.float32)})["w"].dtype == np.int8


@pytest.mark.parametrize("storage", ["int8", "float16"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_quantised_bundle_passes_the_check_and_says_what_it_lost(name: str, storage: str, tmp_path: Path) -> None:
    made = quantise(open_bundle(zoo_path(name)), "int8" if storage == "int8" else "float16", tmp_path)
    assert check_bundle(made.path) == []
    bundle = open_bundle(made.path)
    assert bundle.storage == storage_of(arrays.unpack(bundle.read("weights.npz"), "w")) == storage
    assert made.figure_before is not None
    assert made.figure_after is not None
    assert made.figure_before - made.figure_after < POINTS_MAX
    assert f"Weights in {storage}" in bundle.read("card.md").decode()


def test_a_round_on_a_quantised_bundle_keeps_its_small_steps(tmp_path: Path) -> None:
    bundle = open_bundle(quantise(open_bundle(zoo_path("affinity")), "int8", tmp_path).path)
    shared = {p.name: bundle.weights()[p.name] + np.float32(1e-4) for p in bundle.spec.of_share("shared")}
    after = open_bundle(with_weights(bundle, shared, "1.1.0", tmp_path, "a round"))
    assert after.storage == "float32"
    for name, value in shared.items():
        np.testing.assert_array_equal(after.weights()[name], value)


def test_what_is_quantised_is_not_quantised_again(tmp_path: Path) -> None:
    once = quantise(open_bundle(zoo_path("affinity")), "int8", tmp_path / "once.edgeward")
    with pytest.raises(SpecInvalid, match="int8 already"):
        quantise(open_bundle(once.path), "float16", tmp_path / "twice.edgeward")


def test_the_command_refuses_to_overwrite_its_own_bundle(tmp_path: Path) -> None:
    path = tmp_path / zoo_path("affinity").name
    path.write_bytes(zoo_path("affinity").read_bytes())
    refused = CliRunner().invoke(main, ["quantise", "--int8", str(path), "--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "the bundle itself" in refused.output
    done = CliRunner().invoke(
        main, ["quantise", "--float16", str(path), "--out", str(tmp_path / "b.edgeward"), "--json"]
    )
    assert done.exit_code == 0
    assert '"storage":"float16"' in done.output
