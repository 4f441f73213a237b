"""How far a step moves each tensor, round by round: `PATTERN=FACTOR@FIRST-LAST`."""

import math
from collections.abc import Sequence

from msgspec import Struct

from coordinator.errors import StrategyRefused

FACTOR_MAX, LAYERS_MAX, PATTERN_MAX, ROUNDS_MAX = 10.0, 64, 64, 10_000
"""As devices bound them; a round beyond that would be refused by every one."""


class Layer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a schedule."""

    pattern: str
    """Of tensor names, with `*` for anything."""
    factor: float
    """0: frozen; 1: as the bundle says."""
    first: int = 1
    last: int = ROUNDS_MAX


def read_layer(word: str) -> Layer:
    """A line such as `item_*=0.1`, or `item_*=0@1-5` for the first five rounds.

    Raises:
        StrategyRefused: it is none, or out of its bounds.
    """
    pattern, equals, rest = word.partition("=")
    text, _, span = rest.partition("@")
    first, dash, last = span.partition("-")
    try:
        layer = Layer(
            pattern=pattern.strip(),
            factor=float(text),
            first=int(first) if first else 1,
            last=int(last) if last else (int(first) if first and not dash else ROUNDS_MAX),
        )
    except ValueError:
        equals = ""
        layer = Layer(pattern="", factor=0.0)
    if not equals or not 0 < len(layer.pattern) <= PATTERN_MAX or not 1 <= layer.first <= layer.last <= ROUNDS_MAX:
        raise StrategyRefused(f"`{word}` is no layer", hint="PATTERN=FACTOR, or PATTERN=FACTOR@FIRST-LAST by rounds")
    if not math.isfinite(layer.factor) or not 0.0 <= layer.factor <= FACTOR_MAX:
        raise StrategyRefused(f"a factor of {layer.factor:g} is out of range", hint=f"0 (frozen) to {FACTOR_MAX:g}")
    return layer


def at(layers: Sequence[Layer], number: int) -> list[Layer]:
    """Those that hold in a round, in their order: on a device the first that fits a tensor counts."""
    return [layer for layer in layers if layer.first <= number <= layer.last]
