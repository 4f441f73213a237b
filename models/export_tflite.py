"""From an architecture to model.tflite. Needs tensorflow, which only the `[build]` extra brings.

The parameters are inputs, as in predict.onnx: the file holds no weights, so a round that changes them
changes no graph, and TensorFlow is needed once, by whoever changes the architecture.
"""

import os
import tempfile
from typing import Any

from models import tflite_graph
from models.architecture import Architecture
from models.errors import BuildUnavailable, GraphForbidden
from models.tflite import SIGNATURE


def export_tflite(architecture: Architecture) -> bytes:
    """The model with signature `infer`: parameters and inputs by name → `score`.

    Raises:
        BuildUnavailable: tensorflow is not installed.
        GraphForbidden: a named axis, or an operator outside the allowed builtins.
    """
    if architecture.axes():
        raise GraphForbidden(
            f"{architecture.name} leaves {architecture.axes()} open",
            hint="TFLite signatures take fixed parameter shapes only",
        )
    tf = _tensorflow()
    tf.experimental.numpy.experimental_enable_numpy_behavior()
    module = tf.Module()
    module.infer = tf.function(_infer(tf, architecture), input_signature=_signature(tf, architecture))
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.infer})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        raw = bytes(converter.convert())
    forbidden = tflite_graph.faults(raw)
    if forbidden:
        raise GraphForbidden(f"model.tflite uses {forbidden}", hint="write the forward function with simpler operators")
    return raw


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow
    except ImportError as error:
        raise BuildUnavailable(
            "exporting model.tflite needs tensorflow",
            hint="pip install 'edgeward[build]' (building bundles does not need it)",
        ) from error
    return tensorflow


def _infer(tf: Any, architecture: Architecture) -> Any:
    count = len(architecture.parameters)

    def infer(*values: Any) -> dict[str, Any]:
        weights = dict(zip((tensor.name for tensor in architecture.parameters), values[:count], strict=True))
        inputs = dict(zip((rows.name for rows in architecture.inputs), values[count:], strict=True))
        logit = architecture.forward(weights, inputs)
        return {"score": tf.sigmoid(logit) if architecture.task == "probability" else logit}

    return infer


def _signature(tf: Any, architecture: Architecture) -> list[Any]:
    dtypes = {"int64": tf.int64, "float32": tf.float32}
    parameters = [tf.TensorSpec(list(t.shape), tf.float32, t.name) for t in architecture.parameters]
    inputs = [
        tf.TensorSpec([None] if rows.columns is None else [None, rows.columns], dtypes[rows.dtype], rows.name)
        for rows in architecture.inputs
    ]
    return parameters + inputs
