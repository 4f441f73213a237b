"""Arrays from strangers: any bytes are an array or a named refusal, and nothing is allocated on a header's word."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.lib import format as npy

from models.arrays import BESIDE_BYTES_MAX, beside, parted, read
from models.errors import BundleMalformed

GOOD = arrays.arrays(
    st.sampled_from([np.int8, np.float16, np.float32, np.int64]), arrays.array_shapes(max_dims=3, max_side=5)
)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


@given(GOOD)
def test_what_numpy_wrote_is_read_bit_for_bit(array: np.ndarray) -> None:
    again = read(_npy(array), "delta")
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


@given(GOOD, st.data())
def test_any_damage_is_an_array_or_a_named_refusal(array: np.ndarray, data: st.DataObject) -> None:
    raw = bytearray(_npy(array))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        read(bytes(raw[:cut]), "delta")
    except BundleMalformed as error:
        assert "delta" in str(error)


def test_a_header_that_claims_terabytes_allocates_nothing() -> None:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "|i1", "fortran_order": False, "shape": (10**13,)})
    with pytest.raises(BundleMalformed, match="do not fill"):
        read(buffer.getvalue(), "delta")


def test_pickled_objects_are_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(BundleMalformed):
        read(buffer.getvalue(), "delta")


@given(
    st.dictionaries(st.text(max_size=5), GOOD, max_size=3), st.dictionaries(st.text("abc", max_size=3), st.integers())
)
def test_arrays_beside_other_values_are_told_apart_again(named: dict[str, np.ndarray], values: dict[str, int]) -> None:
    small = beside(named)
    assert small is not None
    files, rest = parted({**values, **small})
    assert rest == values
    assert {n: read(raw, n).tobytes() for n, raw in files.items()} == {n: a.tobytes() for n, a in named.items()}


def test_what_only_calls_itself_an_array_is_neither_array_nor_value() -> None:
    assert parted({"npy.delta": 3, "npy.": "x", "delta": b""}) == ({}, {"delta": b""})


def test_arrays_that_are_large_together_do_not_go_beside_other_values() -> None:
    half = np.zeros(BESIDE_BYTES_MAX // 2, np.int8)
    assert beside({"one": half, "two": half}) is not None
    assert beside({"one": half, "two": half, "three": half[:1]}) is None
