"""`python -m tests.benchmarks.trainstep --json`: a training step on onnxruntime against the same in eager PyTorch.

The same weights, batch and optimiser on one thread each, in one process, in alternating blocks; the fastest block of
each side counts, because on a shared machine the others measure the neighbours. `ratio` = onnxruntime ÷ PyTorch.
Floor F7: at most 2, the aim is 0.5. PyTorch (the [build] extra) must be installed.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from models.architecture import Architecture
from models.build import GRAPHS, Builder, zoo_module
from models.optimiser import owner
from models.session import TrainStep
from models.zoo import ZOO
from tests.models.autograd import example

ITEMS = 1_682
BLOCKS, SECONDS = 7, 0.25
LR = 1e-3


def training(builder: Builder) -> tuple[Architecture, int]:
    """The architecture and the batch that its build trains with."""
    given: Any = builder
    return builder.ARCHITECTURE, given.TRAIN.batch if hasattr(given, "TRAIN") else given.sequence.TRAIN.batch


def on_onnxruntime(name: str, architecture: Architecture, feeds: dict[str, np.ndarray]) -> Callable[[], None]:
    """One step that goes on from the last, state included."""
    step = TrainStep((GRAPHS / name / "train_step.onnx").read_bytes())
    inputs = {rows.name: feeds[rows.name] for rows in architecture.inputs}
    now = {key: value for key, value in feeds.items() if owner(key) in step.names}

    def run() -> None:
        nonlocal now
        now, _ = step(now, inputs, feeds["label"], LR)

    return run


def in_pytorch(architecture: Architecture, feeds: dict[str, np.ndarray]) -> Callable[[], None]:
    """The same step as people write it: autograd and torch.optim."""
    import torch

    torch.set_num_threads(1)
    weights = {t.name: torch.tensor(feeds[t.name], requires_grad=t.step > 0) for t in architecture.parameters}
    inputs = {rows.name: torch.tensor(feeds[rows.name]) for rows in architecture.inputs}
    label = torch.tensor(feeds["label"])
    groups = [{"params": [weights[t.name]], "lr": LR * t.step, "weight_decay": t.decay} for t in architecture.trained()]
    optimiser = {
        "sgd": lambda: torch.optim.SGD(groups),
        "momentum": lambda: torch.optim.SGD(groups, momentum=0.9),
        "adam": lambda: torch.optim.Adam(groups, eps=1e-7),
    }[architecture.optimiser]()

    def run() -> None:
        optimiser.zero_grad()
        logit = architecture.forward(weights, inputs)
        if architecture.loss == "bce":
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, label)
        else:
            loss = -(label * logit).mean()
        loss.backward()
        optimiser.step()

    return run


def block(run: Callable[[], None]) -> float:
    """µs a step over about SECONDS."""
    steps, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS:
        run()
        steps += 1
    return spent / steps * 1e6


def compared(name: str) -> dict[str, float | int | str]:
    """Both sides of one model."""
    architecture, batch = training(zoo_module(name))
    feeds = example(architecture, ITEMS, batch, seed=0)
    sides = on_onnxruntime(name, architecture, feeds), in_pytorch(architecture, feeds)
    for run in sides:
        run()
    blocks = [[block(run) for run in sides] for _ in range(BLOCKS)]
    ours, theirs = (min(column) for column in zip(*blocks, strict=True))
    return {
        "batch": batch,
        "optimiser": architecture.optimiser,
        "onnxruntime_us": round(ours, 1),
        "pytorch_us": round(theirs, 1),
        "ratio": round(ours / theirs, 3),
        "ratio_median": round(float(np.median([a / b for a, b in blocks])), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    as_json = parser.parse_args().json
    models = {name: compared(name) for name in ZOO}
    for name, found in models.items():
        if not as_json:
            print(f"{name:<20} {found}")
    ratios = [float(found["ratio"]) for found in models.values()]
    result = {
        "models": models,
        "ratio_max": max(ratios),
        "items": ITEMS,
        "versions": {name: version(name) for name in ("numpy", "onnxruntime", "torch")},
        "python": platform.python_version(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
