"""`context` in five versions: the one that serves, a good one, a slow one, a worse one, and one that crashes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from models import arrays, golden
from models.bundle import open_bundle, write_bundle
from tests.edge_agent.shell import mutants as mutation
from tests.models.sample import parts, zoo_path

BASE = "1.0.1"
SIDE, TURNS = 2**15, 16
"""The base takes about a millisecond a call: sines of a row of numbers."""
SLOWER = 3
HUGE = 2**31 - 1
"""Rows of 64 zeros: half a terabyte, which no device has."""


class Version(NamedTuple):
    """What is wrong with it, in one word, and where it lies."""

    name: str
    version: str
    path: Path


def make(folder: Path) -> dict[str, Version]:
    """Write them all."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "base": with_graph(folder, BASE, lambda graph: _takes(graph, TURNS)),
        "slow": with_graph(folder, "1.1.0", lambda graph: _takes(graph, SLOWER * TURNS)),
        "worse": with_graph(folder, "1.2.0", lambda graph: _takes(graph, TURNS), _always_on),
        "crash": with_graph(folder, "1.3.0", lambda graph: mutation.fill_memory(graph, HUGE, 64)),
        "good": with_graph(folder, "1.4.0", lambda graph: _takes(graph, TURNS)),
    }
    return {name: Version(name, path.stem.rsplit("-", 1)[1], path) for name, path in made.items()}


def _takes(graph: mutation.Fields, turns: int) -> None:
    mutation.take_time(graph, SIDE, turns, b"out_bias")


def _always_on(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**weights, "out_bias": weights["out_bias"] + np.float32(30.0)}


def with_graph(
    folder: Path,
    version: str,
    change: Callable[[mutation.Fields], None],
    reweigh: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None,
) -> Path:
    spec, files = parts("context")
    model = mutation.fields_of(files["predict.onnx"])
    at = next(n for n, (key, _) in enumerate(model) if key >> 3 == 7)
    graph = mutation.fields_of(model[at][1])
    change(graph)
    model[at] = (model[at][0], mutation.message(graph))
    changed: Mapping[str, bytes] = {**files, "predict.onnx": mutation.message(model)}
    if reweigh is not None:
        bundle = open_bundle(zoo_path("context"))
        weights = reweigh(dict(bundle.weights()))
        changed = {
            **changed,
            "weights.npz": arrays.pack(weights),
            "golden.npz": golden.regolden(bundle, weights),
        }
    return write_bundle(folder, msgspec.structs.replace(spec, version=version), changed)
