"""From a bundle's file to a model that scores."""

from pathlib import Path
from typing import Literal

from edge_agent.infer.model import LoadedModel, Runner
from models.bundle import Bundle, open_bundle

Backend = Literal["onnx", "tflite"]


def load_model(path: Path, backend: Backend = "onnx") -> LoadedModel:
    """Open a bundle on one backend, warmed up. A file that was never probed belongs in the probe process first.

    Args:
        path: the `.edgeward` file.
        backend: which of its artefacts runs.
    Raises:
        ModelError: malformed, tampered, forbidden graph, or the backend is missing; see `models.errors`.
    """
    return model_of(open_bundle(path), backend)


def model_of(bundle: Bundle, backend: Backend = "onnx") -> LoadedModel:
    """`load_model` for a bundle at hand.

    Raises:
        ModelError: forbidden graph, or the backend is missing; see `models.errors`.
    """
    weights = bundle.weights()
    # Copies, so that the whole file's bytes are not held for the sake of a few numbers.
    personal = {p.name: weights[p.name].copy() for p in bundle.spec.of_share("personal")}
    for array in personal.values():
        array.setflags(write=False)
    model = LoadedModel(
        spec=bundle.spec,
        catalogue=bundle.catalogue(),
        personal=personal,
        path=str(bundle.path),
        sha256=bundle.sha256,
        run=_runner(bundle, backend),
        warm_start=bundle.warm_start(),
    )
    model.warm_up()
    return model


def _runner(bundle: Bundle, backend: Backend) -> Runner:
    # Each runtime costs tens of MB and most of the start-up time: only the one in use is imported.
    if backend == "tflite":
        from edge_agent.infer import tflite_backend

        return tflite_backend.open_runner(bundle)
    from edge_agent.infer import onnx_backend

    return onnx_backend.open_runner(bundle)
