"""Scores to probabilities that mean what they say, where the bundle says how."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.calibration import apply
from models.spec import Spec

F32 = NDArray[np.float32]


def calibrated(scores: F32, spec: Spec) -> F32:
    """The graph's scores through the bundle's calibration; as they are when it declares none.

    Args:
        scores: float32 (n,): logits for task `rank`, in [0, 1] for `probability`; NaN stays NaN.
    Returns:
        float32 (n,), in the order of `scores`, on the scale that `scale_of` names.
    """
    return scores if spec.calibration.method == "none" else apply(scores, spec.task, spec.calibration)


def scale_of(spec: Spec) -> Literal["rank", "probability"]:
    """What calibrated scores are: probabilities once there is a calibration, else the task's own."""
    return spec.task if spec.calibration.method == "none" else "probability"
