"""What leaves the device in a round: a difference, clipped, noised if the profile says so, in eight bits.

int8 with error feedback: what rounding, or sending only the largest numbers, took away is added to the next round's
difference.
Source: Seide et al. 2014, "1-bit stochastic gradient descent", section 2 (error feedback); Karimireddy et al. 2019;
Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with Memory", for top-k.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import sparse

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Update:
    """A packed update."""

    delta: dict[str, I8]
    scale: dict[str, float]
    """Tensor → what one step of its int8 is worth."""
    norm: float
    """L2 norm over all tensors before clipping; stays on the device."""
    clipped: bool
    positions: I64 | None = None
    """Which numbers, end to end, are sent; int64 ascending; None: all."""


def make_update(
    before: Mapping[str, F32],
    after: Mapping[str, F32],
    residual: Mapping[str, F32],
    clip_norm: float,
    noise_multiplier: float,
    dice: np.random.Generator,
    top_k: float = 0.0,
) -> tuple[Update, dict[str, F32]]:
    """The update of a round, and the residual to keep for the next.

    Args:
        before: shared parameters as the round sent them.
        after: the same after training.
        residual: what rounding took away last time; empty at first.
        clip_norm: L2 norm over the concatenation of all tensors that the update is scaled down to.
        noise_multiplier: standard deviation of the Gaussian noise on each coordinate, in units of `clip_norm`.
        dice: draws the noise; where there is some, seeded by nothing that anybody can know.
        top_k: share of the numbers to send, the largest of all tensors after noise; 0: all.
    Returns:
        The update, and residual float32 tensors of the parameters' shapes.

    The residual is added before clipping, so the norm of what leaves never exceeds `clip_norm` (plus noise and
    half a rounding step a coordinate).
    """
    difference = {
        name: np.asarray(after[name], np.float64) - before[name] + residual.get(name, np.float32(0.0))
        for name in before
    }
    norm = float(np.sqrt(sum(float((d * d).sum()) for d in difference.values())))
    shrink = min(1.0, clip_norm / norm) if norm > 0.0 else 1.0
    delta: dict[str, I8] = {}
    scale: dict[str, float] = {}
    left: dict[str, F32] = {}
    whole = {name: value * shrink for name, value in difference.items()}
    if noise_multiplier > 0.0:
        whole = {name: v + dice.normal(0.0, noise_multiplier * clip_norm, v.shape) for name, v in whole.items()}
    sent, positions = _largest(whole, top_k) if top_k else (whole, None)
    for name, value in whole.items():
        delta[name], scale[name] = quantise(sent[name])
        # Error feedback carries rounding and what was not sent: noise and clipping are there to stay.
        left[name] = np.asarray(value - dequantise(delta[name], scale[name]), np.float32)
    return Update(delta, scale, norm, shrink < 1.0, positions), left


def _largest(whole: dict[str, F64], share: float) -> tuple[dict[str, F64], I64]:
    """The tensors with all but the largest numbers set to 0, and where these stand."""
    vector = np.concatenate([value.reshape(-1) for value in whole.values()])
    positions = sparse.largest(vector, sparse.kept(len(vector), share))
    only = np.zeros_like(vector)
    only[positions] = vector[positions]
    sent, at = {}, 0
    for name, value in whole.items():
        sent[name] = only[at : at + value.size].reshape(value.shape)
        at += value.size
    return sent, positions


def quantise(value: NDArray[np.floating]) -> tuple[I8, float]:
    """Symmetric int8: value ≈ step · int8, with an error of at most half a step a coordinate.

    Returns:
        int8 of the same shape, and the step (float); a tensor of zeros has step 0.
    """
    largest = float(np.abs(value).max(initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return np.zeros(value.shape, np.int8), 0.0
    step = largest / 127.0
    return np.clip(np.rint(value / step), -127, 127).astype(np.int8), step


def dequantise(packed: I8, step: float) -> NDArray[np.float64]:
    """float64 of the same shape."""
    return packed.astype(np.float64) * step


def bucketed(count: int) -> int:
    """An example count as it may leave: the next lower power of two, so that one more event does not show."""
    return 1 << (max(1, count).bit_length() - 1)
