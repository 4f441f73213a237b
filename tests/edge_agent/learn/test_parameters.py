"""Tensors as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_agent.learn.parameters import pack, unpack

TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    max_size=4,
)


@given(TENSORS)
def test_what_is_packed_is_unpacked_bit_for_bit(tensors: dict[str, np.ndarray]) -> None:
    again = unpack(pack(tensors))
    assert set(again) == set(tensors)
    assert all(again[name].tobytes() == value.tobytes() for name, value in tensors.items())
    assert pack(again) == pack(tensors)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_and_nothing_else_happens(junk: bytes) -> None:
    try:
        unpack(junk)
    except ValueError:
        return


def test_a_shape_that_does_not_fit_its_data_is_refused() -> None:
    packed = pack({"w": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match=r".+"):
        unpack(packed.replace(b"\x91\x04", b"\x91\x05"))
