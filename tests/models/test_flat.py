"""Parameters as one vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SpecInvalid
from models.flat import join, size_of, split
from models.spec import Parameter

SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(SHAPES, st.sampled_from([np.int8, np.float32]))
def test_what_was_joined_is_split_into_the_same_tensors(shapes: list[tuple[int, ...]], dtype: type) -> None:
    parameters = [Parameter(name=f"p{n}", shape=shape, share="shared") for n, shape in enumerate(shapes)]
    dice = np.random.default_rng(0)
    tensors = {p.name: dice.integers(-100, 100, p.shape).astype(dtype) for p in parameters}
    vector = join(parameters, tensors)
    again = split(parameters, vector)
    assert vector.dtype == dtype
    assert all(np.array_equal(again[name], value) for name, value in tensors.items())


def test_a_vector_of_another_length_is_refused() -> None:
    parameters = [Parameter(name="p", shape=(2, 3), share="shared")]
    assert size_of(parameters) == 6
    for wrong in (np.zeros(5), np.zeros(7), np.zeros((2, 3))):
        with pytest.raises(SpecInvalid):
            split(parameters, wrong)


def test_tensors_with_other_names_or_shapes_are_refused() -> None:
    parameters = [Parameter(name="p", shape=(2,), share="shared")]
    for wrong in ({"q": np.zeros(2)}, {"p": np.zeros(3)}, {}, {"p": np.zeros(2), "q": np.zeros(1)}):
        with pytest.raises(SpecInvalid):
            join(parameters, wrong)
