"""What a bundle costs on the machine that asks: bytes, memory, and the time of a prediction and of a training step."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import golden
from models.bundle import Bundle
from models.session import Predictor, TrainStep

BLOCKS, CALLS = 5, 100


class Cost(Struct, frozen=True, kw_only=True):
    """Of one bundle, here and now, on onnxruntime with one thread."""

    bytes: int
    """Of the file."""
    weights_bytes: int
    """Of the weights in memory, float32."""
    resident_kib: int | None
    """What a process that runs models already grows by for this one; None where /proc is not."""
    rows: int
    """Rows of a prediction and of a step: those of the golden inputs."""
    predict_us: float
    train_step_us: float | None


def cost_of(bundle: Bundle) -> Cost:
    """Measure on the golden inputs; the fastest block of several counts."""
    stored, weights = golden.read_golden(bundle), bundle.weights()
    inputs = golden.predict_inputs(stored)
    # The first session of a process brings the runtime's own memory along; one more shows what this model adds.
    first = Predictor(bundle.read("predict.onnx"))
    first(weights, inputs)
    before = _resident_kib()
    predict = Predictor(bundle.read("predict.onnx"))
    predict(weights, inputs)
    after = _resident_kib()
    return Cost(
        bytes=bundle.size,
        weights_bytes=sum(value.nbytes for value in weights.values()),
        resident_kib=None if before is None or after is None else max(0, after - before),
        rows=len(next(iter(inputs.values()))),
        predict_us=_fastest(lambda: predict(weights, inputs)),
        train_step_us=_train_step_us(bundle, weights, inputs, stored),
    )


def lines(cost: Cost) -> list[str]:
    """The same in words, one measure a line."""
    found = [
        f"{cost.bytes:,} bytes on disk and on the wire",
        f"{cost.weights_bytes:,} bytes of weights in memory",
        f"{cost.predict_us:.1f} µs a prediction of {cost.rows} rows",
    ]
    if cost.resident_kib is not None:
        found.insert(2, f"{cost.resident_kib:,} KiB more resident memory beside another model")
    if cost.train_step_us is not None:
        found.append(f"{cost.train_step_us:.1f} µs a training step of {cost.rows} rows")
    return found


def _train_step_us(
    bundle: Bundle,
    weights: Mapping[str, NDArray[np.float32]],
    inputs: Mapping[str, NDArray[np.generic]],
    stored: Mapping[str, NDArray[np.generic]],
) -> float | None:
    if "train_step.onnx" not in bundle.files:
        return None
    step = TrainStep(bundle.read("train_step.onnx"))
    label = np.asarray(stored["train/label"], np.float32)
    return _fastest(lambda: step(weights, inputs, label, 1e-4))


def _fastest(call: Callable[[], object]) -> float:
    """µs a call."""
    call()
    blocks = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        blocks.append(time.perf_counter() - start)
    return min(blocks) / CALLS * 1e6


def _resident_kib() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
