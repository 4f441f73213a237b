"""The bundle's second artefact, `model.tflite`: its signature `infer` must give the golden outputs too.

The runtime is an extra. It is found under the name that the board has: ai-edge-litert, or tflite-runtime.
"""

import struct
from importlib import import_module
from typing import Any

import numpy as np

from models import tflite_graph
from models.bundle import Bundle
from models.errors import BackendMissing, GraphForbidden

SIGNATURE = "infer"

# What a runtime or the schema's reader raises on bytes that are no model.
FAILURES = (
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
)


def check(bundle: Bundle) -> None:
    """Load model.tflite and compare its scores with the golden ones.

    Raises:
        BackendMissing: no TFLite runtime is installed.
        BundleMalformed: the bundle has no model.tflite.
        GraphForbidden: an operator that devices do not run, or the runtime refuses the file.
        GoldenMismatch: other scores than onnxruntime's.
    """
    # Brings onnxruntime along, which a TFLite device does not need.
    from models import golden

    raw = bundle.read("model.tflite")
    stored = golden.read_golden(bundle)
    feeds = {**bundle.weights(), **golden.predict_inputs(stored)}
    try:
        forbidden = tflite_graph.faults(raw)
        if forbidden:
            raise GraphForbidden("; ".join(forbidden), hint="convert with TFLITE_BUILTINS only")
        infer = open_infer(raw)
        score = infer(**{name: feeds[name] for name in infer.get_input_details()})["score"]
    except FAILURES as error:
        raise GraphForbidden(
            f"the TFLite runtime refuses the file: {error}", hint="convert and build it again"
        ) from error
    golden.compare("TFLite", {"predict/score": np.asarray(score)}, stored)


def open_interpreter(raw: bytes) -> Any:
    """An interpreter of a model.tflite, one thread.

    Raises:
        BackendMissing: no TFLite runtime is installed.
        GraphForbidden: the runtime refuses the file.
    """
    interpreter_class = _interpreter_class()
    try:
        return interpreter_class(model_content=raw, num_threads=1)
    except FAILURES as error:
        raise GraphForbidden(
            f"the TFLite runtime refuses the file: {error}", hint="convert and build it again"
        ) from error


def open_infer(raw: bytes) -> Any:
    """The signature `infer` of a model.tflite: call it with the feeds by name.

    Raises:
        BackendMissing: no TFLite runtime is installed.
        GraphForbidden: the runtime refuses the file.
    """
    interpreter = open_interpreter(raw)
    try:
        return interpreter.get_signature_runner(SIGNATURE)
    except FAILURES as error:
        raise GraphForbidden(
            f"the TFLite runtime refuses the file: {error}", hint="convert and build it again"
        ) from error


def _interpreter_class() -> Any:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return import_module(module).Interpreter
        except ImportError:
            continue
    raise BackendMissing(
        "no TFLite runtime is installed", hint="pip install 'edgeward[tflite]', or set backend = \"onnx\""
    )
