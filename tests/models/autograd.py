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
from models.optimiser import state_shapes
from models.zoo import ZOO

FOLDER = Path(__file__).parent / "golden"
CASES = {"one": (3, 1), "few": (12, 8), "many": (40, 33)}
"""Case → (length of the open axes, batch)."""
LARGE = ("sequence-attention", "sequence-gru")
"""Only the second case is stored of these."""
LR = 0.3


def example(architecture: Architecture, axis: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Random weights, inputs, labels; named as in the graphs."""
    dice = np.random.default_rng(seed)

    def shaped(shape: tuple[int | str, ...]) -> tuple[int, ...]:
        return tuple(axis if isinstance(side, str) else side for side in shape)

    # Deep graphs with large weights saturate, and float32 then has no 1e-5 left to compare.
    spread = 0.2 if architecture.name in LARGE else 0.7
    feeds: dict[str, np.ndarray] = {
        tensor.name: dice.normal(0, spread, shaped(tensor.shape)).astype(np.float32)
        for tensor in architecture.parameters
    }
    for rows in architecture.inputs:
        if rows.recent:
            feeds[rows.name] = dice.integers(0, axis + 1, shaped((batch, rows.columns or 1))).astype(np.float32)
        elif rows.columns is None:
            feeds[rows.name] = dice.integers(0, items_of(architecture, axis), batch)
        else:
            feeds[rows.name] = dice.normal(0, 1, shaped((batch, rows.columns))).astype(np.float32)
    feeds["label"] = dice.integers(0, 2, batch).astype(np.float32)
    trained = {tensor.name: shaped(tensor.shape) for tensor in architecture.trained()}
    for name, shape in state_shapes(architecture.optimiser, trained).items():
        # Steps are whole, squares are positive; both as if some steps had been made.
        drawn = dice.normal(0, 0.3, shape)
        feeds[name] = np.asarray(3.0 if name.endswith(".steps") else drawn**2 + 0.01, np.float32)
    return feeds


def items_of(architecture: Architecture, axis: int) -> int:
    """How many candidates there are: the open axis, or the first side of what the candidates index."""
    return axis if architecture.axes() else int(architecture.parameters[0].shape[0])


def reference(architecture: Architecture, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`score`, `loss` and `{parameter}.next` from PyTorch's autograd."""
    import torch

    weights: dict[str, Any] = {
        tensor.name: torch.tensor(feeds[tensor.name], requires_grad=tensor.step > 0)
        for tensor in architecture.parameters
    }
    inputs = {rows.name: torch.tensor(feeds[rows.name]) for rows in architecture.inputs}
    logit = architecture.forward(weights, inputs)
    label = torch.tensor(feeds["label"])
    loss = {
        "bce": lambda: torch.nn.functional.binary_cross_entropy_with_logits(logit, label),
        "mse": lambda: torch.nn.functional.mse_loss(logit, label),
        "distance": lambda: -torch.dot(label, logit) / len(label),
    }[architecture.loss]()
    loss.backward()
    stored = {"score": torch.sigmoid(logit) if architecture.task == "probability" else logit, "loss": loss}
    for tensor in architecture.parameters:
        weight = weights[tensor.name]
        if weight.grad is None:
            stored[f"{tensor.name}.next"] = weight
            continue
        stored |= _optimised(architecture, tensor.name, weight.grad + tensor.decay * weight, feeds)
        stored[f"{tensor.name}.next"] = weight - LR * tensor.step * stored.pop("move")
    return {name: value.detach().numpy() for name, value in stored.items()}


def _optimised(architecture: Architecture, name: str, slope: Any, feeds: dict[str, np.ndarray]) -> dict[str, Any]:
    """`move`, and the state afterwards, from the textbook."""
    import torch

    kept = {key.partition(".")[2]: torch.tensor(value) for key, value in feeds.items() if key.startswith(f"{name}.")}
    if architecture.optimiser == "sgd":
        return {"move": slope}
    if architecture.optimiser == "momentum":
        velocity = 0.9 * kept["velocity"] + slope
        return {"move": velocity, f"{name}.velocity.next": velocity}
    mean, steps = torch.lerp(slope, kept["mean"], 0.9), kept["steps"] + 1
    square = kept["square"] * 0.999 + slope**2 / 1000
    move = (mean / (1 - 0.9**steps)) / (torch.sqrt(square / (1 - 0.999**steps)) + 1e-7)
    return {"move": move, f"{name}.mean.next": mean, f"{name}.square.next": square, f"{name}.steps.next": steps}


def _is_stored(key: str) -> bool:
    """Squares and steps follow from the slope, which the mean tells."""
    return not key.endswith((".square.next", ".steps.next"))


def cases_of(name: str) -> tuple[str, ...]:
    """The cases that are stored of one model."""
    return ("few",) if name in LARGE else tuple(CASES)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in ZOO:
        architecture = zoo_module(name).ARCHITECTURE
        stored: dict[str, np.ndarray] = {}
        for seed, (case, (axis, batch)) in enumerate(CASES.items()):
            if case not in cases_of(name):
                continue
            feeds = example(architecture, axis, batch, seed)
            answer = reference(architecture, feeds)
            stored |= {f"{case}/feed/{key}": value for key, value in feeds.items()}
            stored |= {f"{case}/want/{key}": np.asarray(value) for key, value in answer.items() if _is_stored(key)}
        (FOLDER / f"{name}.npz").write_bytes(arrays.pack(stored))


if __name__ == "__main__":
    main()
