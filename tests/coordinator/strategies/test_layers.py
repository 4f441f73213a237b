"""Schedules by tensor and round."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import StrategyRefused
from coordinator.strategies import layers
from coordinator.strategies.layers import Layer, at, read_layer
from edge_agent.learn import plan


@pytest.mark.parametrize(
    ("word", "layer"),
    [
        ("item_*=0.1", Layer(pattern="item_*", factor=0.1)),
        ("item_*=0@1-5", Layer(pattern="item_*", factor=0.0, first=1, last=5)),
        ("bias=2@4", Layer(pattern="bias", factor=2.0, first=4, last=4)),
        ("bias=2@4-", Layer(pattern="bias", factor=2.0, first=4)),
    ],
)
def test_a_layer_is_read_as_it_is_written(word: str, layer: Layer) -> None:
    assert read_layer(word) == layer


@given(st.text(max_size=20) | st.from_regex(r"[a-z*]{0,4}=-?[0-9.]{0,4}@?[0-9]{0,3}-?[0-9]{0,3}", fullmatch=True))
def test_any_word_is_a_layer_within_the_devices_bounds_or_refused(word: str) -> None:
    try:
        layer = read_layer(word)
    except StrategyRefused as error:
        assert error.hint
        return
    assert 0.0 <= layer.factor <= plan.FACTOR_MAX
    assert 1 <= layer.first <= layer.last


def test_a_layer_holds_in_its_rounds_alone() -> None:
    held = [read_layer("a*=0@1-2"), read_layer("a=0.5@2-3")]
    assert [[one.factor for one in at(held, number)] for number in (1, 2, 3, 4)] == [[0.0], [0.0, 0.5], [0.5], []]


def test_the_coordinators_bounds_are_the_devices() -> None:
    assert (layers.FACTOR_MAX, layers.LAYERS_MAX) == (plan.FACTOR_MAX, plan.LAYERS_MAX)
