"""Named tensors as one vector and back, in the order of the spec: what a round sends instead of many small objects."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import SpecInvalid
from models.spec import Parameter

Scalar = TypeVar("Scalar", bound=np.generic)


def size_of(parameters: Sequence[Parameter]) -> int:
    """How many numbers the parameters hold together."""
    return sum(prod(parameter.shape) for parameter in parameters)


def join(parameters: Sequence[Parameter], tensors: Mapping[str, NDArray[Scalar]]) -> NDArray[Scalar]:
    """The tensors end to end, each in C order, in the order of `parameters`; shape (size_of(parameters),).

    Raises:
        SpecInvalid: names or shapes are not those of `parameters`.
    """
    if set(tensors) != {parameter.name for parameter in parameters} or not parameters:
        raise SpecInvalid(
            f"{sorted(tensors)} were given, {[p.name for p in parameters]} are declared",
            hint="pass each declared parameter once",
        )
    for parameter in parameters:
        if tensors[parameter.name].shape != parameter.shape:
            raise SpecInvalid(
                f"`{parameter.name}` has shape {tensors[parameter.name].shape}, declared is {parameter.shape}",
                hint="pass the declared shapes",
            )
    return np.concatenate([tensors[parameter.name].reshape(-1) for parameter in parameters])


def split(parameters: Sequence[Parameter], vector: NDArray[Scalar]) -> dict[str, NDArray[Scalar]]:
    """The tensors again, as views of `vector`.

    Raises:
        SpecInvalid: the vector is not as long as the parameters together.
    """
    if vector.shape != (size_of(parameters),):
        raise SpecInvalid(
            f"a vector of shape {vector.shape} does not hold {size_of(parameters)} numbers",
            hint="both sides must use the same version of the bundle",
        )
    tensors: dict[str, NDArray[Scalar]] = {}
    start = 0
    for parameter in parameters:
        end = start + prod(parameter.shape)
        tensors[parameter.name] = vector[start:end].reshape(parameter.shape)
        start = end
    return tensors
