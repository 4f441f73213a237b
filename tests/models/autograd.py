"""PyTorch's answer for one step of each zoo architecture, stored for machines without PyTorch.

    python -m tests.models.autograd        (needs the [build] extra; writes tests/models/golden/*.npz)

Written apart from `models.export` on purpose: ordinary `backward()`, PyTorch's own loss, a hand-written update.
"""

from pathlib import Path
from typing import Any

import numpy as np

from models import arrays
from models.architecture import Architecture
from models.build import zoo_module
from models.zoo import ZOO

FOLDER = Path(__file__).parent / "golden"
CASES = {"one": (3, 1), "few": (12, 8), "many": (40, 33)}
"""Case → (length of the open axes, batch)."""
LR = 0.3


def example(architecture: Architecture, axis: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Random weights, inputs, labels; named as in the graphs."""
    dice = np.random.default_rng(seed)

    def shaped(shape: tuple[int | str, ...]) -> tuple[int, ...]:
        return tuple(axis if isinstance(side, str) else side for side in shape)

    feeds: dict[str, np.ndarray] = {
        tensor.name: dice.normal(0, 0.7, shaped(tensor.shape)).astype(np.float32) for tensor in architecture.parameters
    }
    for rows in architecture.inputs:
        if rows.columns is None:
            feeds[rows.name] = dice.integers(0, axis, batch)
        else:
            feeds[rows.name] = dice.normal(0, 1, shaped((batch, rows.columns))).astype(np.float32)
    feeds["label"] = dice.integers(0, 2, batch).astype(np.float32)
    return feeds


def reference(architecture: Architecture, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`score`, `loss` and `{parameter}.next` from PyTorch's autograd."""
    import torch

    weights: dict[str, Any] = {
        tensor.name: torch.tensor(feeds[tensor.name], requires_grad=tensor.step > 0)
        for tensor in architecture.parameters
    }
    inputs = {rows.name: torch.tensor(feeds[rows.name]) for rows in architecture.inputs}
    logit = architecture.forward(weights, inputs)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(feeds["label"]))
    loss.backward()
    stored = {"score": torch.sigmoid(logit) if architecture.task == "probability" else logit, "loss": loss}
    for tensor in architecture.parameters:
        weight = weights[tensor.name]
        slope = 0.0 if weight.grad is None else weight.grad + tensor.decay * weight
        stored[f"{tensor.name}.next"] = weight - LR * tensor.step * slope
    return {name: value.detach().numpy() for name, value in stored.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in ZOO:
        architecture = zoo_module(name).ARCHITECTURE
        stored: dict[str, np.ndarray] = {}
        for seed, (case, (axis, batch)) in enumerate(CASES.items()):
            feeds = example(architecture, axis, batch, seed)
            answer = reference(architecture, feeds)
            stored |= {f"{case}/feed/{key}": value for key, value in feeds.items()}
            stored |= {f"{case}/want/{key}": value for key, value in answer.items()}
        (FOLDER / f"{name}.npz").write_bytes(arrays.pack(stored))


if __name__ == "__main__":
    main()
