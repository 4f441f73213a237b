"""From a bundle's file to a model that scores."""

from pathlib import Path
from typing import Literal

from edge_agent.infer.model import LoadedModel, Runner
from models.bundle import Bundle, open_bundle

Backend = Literal["onnx", "tflite"]


def load_model(path: Path, backend: Backend = "onnx") -> LoadedModel:
    """Open a bundle on one backend. A file that was never probed belongs in the probe process first.

    Args:
        path: the `.edgeward` file.
        backend: which of its artefacts runs.
    Raises:
        ModelError: malformed, tampered, forbidden graph, or the backend is missing; see `models.errors`.
    """
    bundle = open_bundle(path)
    weights = bundle.weights()
    for array in weights.values():
        array.setflags(write=False)
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    personal = {p.name: weights[p.name] for p in bundle.spec.of_share("personal")}
    return LoadedModel(
        spec=bundle.spec,
        catalogue=bundle.catalogue(),
        shared=shared,
        personal=personal,
        path=str(path),
        sha256=bundle.sha256,
        run=_runner(bundle, backend),
    )


def _runner(bundle: Bundle, backend: Backend) -> Runner:
    # Each runtime costs tens of MB and most of the start-up time: only the one in use is imported.
    if backend == "tflite":
        from edge_agent.infer import tflite_backend

        return tflite_backend.open_runner(bundle)
    from edge_agent.infer import onnx_backend

    return onnx_backend.open_runner(bundle)
