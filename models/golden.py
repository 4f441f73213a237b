"""Golden outputs: what the maker of a bundle saw, so that a device can see whether it sees the same.

golden.npz holds `predict/{input}` and `predict/score`; with a train step also `train/{input}`, `train/label`,
`train/lr`, `train/loss` and `step/{parameter}`, the L2 norm of what one step changed.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models import arrays
from models.bundle import Bundle
from models.errors import GoldenMismatch
from models.session import Predictor, TrainStep

F32 = NDArray[np.float32]
Array = NDArray[np.generic]

# Other processors round differently; a wrong graph or weight differs by far more.
RELATIVE = 1e-4
ABSOLUTE = 1e-5


def make_golden(
    predict: bytes,
    train_step: bytes | None,
    weights: Mapping[str, F32],
    inputs: Mapping[str, Array],
    label: F32,
    lr: float,
) -> bytes:
    """golden.npz for these graphs and weights.

    Args:
        predict: the ONNX graph that scores.
        train_step: the ONNX graph that learns, if there is one.
        weights: every parameter.
        inputs: a few real rows by input name; used for scoring and for one step.
        label: float32, one a row.
        lr: step size of the step.
    """
    stored: dict[str, Array] = {f"predict/{name}": rows for name, rows in inputs.items()}
    stored["predict/score"] = Predictor(predict)(weights, inputs)
    if train_step is not None:
        stored |= {f"train/{name}": rows for name, rows in inputs.items()}
        stored |= {"train/label": label, "train/lr": np.array(lr, np.float32)}
        stored |= train_outcome(train_step, weights, stored)
    return arrays.pack(stored)


def regolden(bundle: Bundle, weights: Mapping[str, F32]) -> bytes:
    """The bundle's golden.npz for other weights, on the same inputs."""
    old = read_golden(bundle)
    train = "train_step.onnx" in bundle.files
    return make_golden(
        bundle.read("predict.onnx"),
        bundle.read("train_step.onnx") if train else None,
        weights,
        predict_inputs(old),
        np.asarray(old.get("train/label", np.zeros(0)), np.float32),
        float(old.get("train/lr", np.float32(0.0))),
    )


def read_golden(bundle: Bundle) -> dict[str, Array]:
    """The arrays of golden.npz."""
    return arrays.unpack(bundle.read("golden.npz"), "golden.npz")


def predict_inputs(golden: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs stored for scoring, by name."""
    return _under(golden, "predict/", {"score"})


def train_outcome(train_step: bytes, weights: Mapping[str, F32], golden: Mapping[str, Array]) -> dict[str, Array]:
    """`train/loss` and `step/{parameter}` of one step on the stored batch."""
    inputs = _under(golden, "train/", {"label", "lr", "loss"})
    label = np.asarray(golden["train/label"], np.float32)
    step = TrainStep(train_step)
    after, loss = step(weights, inputs, label, float(golden["train/lr"]))
    norms = {f"step/{name}": np.array(np.linalg.norm(after[name] - weights[name]), np.float32) for name in step.names}
    return {"train/loss": np.array(loss, np.float32), **norms}


def compare(backend: str, got: Mapping[str, Array], stored: Mapping[str, Array]) -> None:
    """Nothing, when each result is the stored one but for rounding.

    Raises:
        GoldenMismatch: naming the result and the largest difference.
    """
    for name, value in got.items():
        want = stored.get(name)
        if want is None or want.shape != value.shape:
            raise GoldenMismatch(f"golden.npz has no {name} of shape {value.shape}", hint="build the bundle again")
        if not np.allclose(value, want, rtol=RELATIVE, atol=ABSOLUTE):
            worst = float(np.max(np.abs(np.asarray(value, np.float64) - np.asarray(want, np.float64))))
            raise GoldenMismatch(
                f"{backend} gives another {name} than the bundle's maker saw (off by up to {worst:.3g})",
                hint="keep the old bundle; if every bundle fails here, this machine's runtime is at fault",
            )


def _under(golden: Mapping[str, Array], prefix: str, without: set[str]) -> dict[str, Array]:
    names = (name.removeprefix(prefix) for name in golden if name.startswith(prefix))
    return {name: golden[prefix + name] for name in names if name not in without}
