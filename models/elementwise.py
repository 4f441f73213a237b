"""What numpy, torch and tensorflow all have, under one name each, so that one `forward` serves all three."""

from importlib import import_module
from types import ModuleType
from typing import Any


def exp(x: Any) -> Any:
    """e^x, elementwise."""
    return _library(x).exp(x)


def log(x: Any) -> Any:
    """Natural logarithm, elementwise."""
    return _library(x).log(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent, elementwise."""
    return _library(x).tanh(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), elementwise, without overflow."""
    library = _library(x)
    return library.sigmoid(x) if hasattr(library, "sigmoid") else 0.5 * (1.0 + library.tanh(0.5 * x))


def total(x: Any) -> Any:
    """The sum over the last axis, which goes away."""
    return import_module("tensorflow").reduce_sum(x, -1) if _root(x) == "tensorflow" else x.sum(-1)


def rows_at(table: Any, index: Any) -> Any:
    """`table[index]` along the first axis. TensorFlow's own `[]` would let numbers outside the table through."""
    return import_module("tensorflow").gather(table, index) if _root(table) == "tensorflow" else table[index]


def softmax(x: Any) -> Any:
    """Over the last axis. Masked places hold a large negative number, not infinity."""
    weight = exp(x - _largest(x))
    return weight / total(weight)[..., None]


def as_index(x: Any) -> Any:
    """Whole numbers in float32 as int64, such as the row numbers of a `sequence` feature."""
    return x.astype("int64") if _root(x) == "numpy" else _cast(x, "int64")


def as_float(x: Any) -> Any:
    """Integers or truth values as float32."""
    return x.astype("float32") if _root(x) == "numpy" else _cast(x, "float32")


def _largest(x: Any) -> Any:
    """Of the last axis, kept as an axis of one; subtracted, it changes nothing but keeps exp finite."""
    match _root(x):
        case "torch":
            return x.detach().amax(-1, keepdim=True)
        case "tensorflow":
            return import_module("tensorflow").reduce_max(x, axis=-1, keepdims=True)
    return x.max(-1)[..., None]


def _cast(x: Any, dtype: str) -> Any:
    library = import_module(_root(x))
    return x.to(getattr(library, dtype)) if _root(x) == "torch" else library.cast(x, dtype)


def _library(x: Any) -> ModuleType:
    root = _root(x)
    return import_module("tensorflow.math") if root == "tensorflow" else import_module(root)


def _root(x: Any) -> str:
    return type(x).__module__.partition(".")[0]
