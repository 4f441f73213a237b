"""Applying a bundle's calibration: the same arithmetic where it is fitted and where it is served."""

import numpy as np
from numpy.typing import NDArray

from models.spec import Calibration

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_TINY = 1e-7


def logits(scores: NDArray[np.floating], task: str) -> F64:
    """z as the spec defines it: the score of a rank model, the logit of a probability model's score; float64."""
    z = scores.astype(np.float64)
    if task == "probability":
        z = np.clip(z, _TINY, 1.0 - _TINY)
        z = np.log(z) - np.log1p(-z)
    return z


def apply(scores: F32, task: str, calibration: Calibration) -> F32:
    """The probabilities that a calibration makes of scores.

    Args:
        scores: float32 (n,): logits for task `rank`, in [0, 1] for `probability`.
        task: `rank` or `probability`.
    Returns:
        float32 (n,), each in [0, 1], in the order of `scores`. Method `none` leaves probabilities as they are and puts
        logits through a sigmoid.
    """
    if calibration.method == "none" and task == "probability":
        return np.clip(scores, np.float32(0.0), np.float32(1.0))
    z = logits(scores, task)
    match calibration.method:
        case "isotonic":
            return np.interp(z, calibration.knots, calibration.levels).astype(np.float32)
        case "platt":
            z = calibration.scale * z + calibration.offset
        case "temperature":
            z = z / calibration.temperature
    return sigmoid(z).astype(np.float32)


def sigmoid(z: F64) -> F64:
    """1 / (1 + e^-z), float64; tanh does not overflow, exp(-z) does."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))
