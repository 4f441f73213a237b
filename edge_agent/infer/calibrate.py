"""Scores to probabilities that mean what they say."""

import numpy as np

from edge_agent.infer.model import F32
from models.spec import Calibration

_TINY = 1e-7


def calibrate(scores: F32, task: str, calibration: Calibration) -> F32:
    """Apply the bundle's calibration.

    Args:
        scores: float32 (n,): logits for task `rank`, in [0, 1] for `probability`.
        task: `rank` or `probability`.
        calibration: as the bundle declares it.
    Returns:
        float32 (n,), each in [0, 1], in the order of `scores`. Method `none` leaves probabilities as they are
        and puts logits through a sigmoid.
    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines".
    """
    if calibration.method == "none" and task == "probability":
        return np.clip(scores, np.float32(0.0), np.float32(1.0))
    scale, offset = (calibration.scale, calibration.offset) if calibration.method == "platt" else (1.0, 0.0)
    z = scores.astype(np.float64)
    if task == "probability":
        z = np.clip(z, _TINY, 1.0 - _TINY)
        z = np.log(z) - np.log1p(-z)
    # tanh does not overflow, exp(-z) does.
    return (0.5 * (1.0 + np.tanh(0.5 * (scale * z + offset)))).astype(np.float32)
