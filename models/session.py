"""The one place that imports onnxruntime and opens its sessions, and drives `train_step.onnx`."""

import os
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from models.errors import GraphForbidden
from models.optimiser import owner

# From 1.32 on, importing onnxruntime makes a device id in the user's cache and sends facts about the machine to its
# maker. Switching it off by a call after the import is too late, so the variable is set before it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

F32 = NDArray[np.float32]
Array = NDArray[np.generic]

# onnxruntime's exceptions have no common root below Exception.
FAILURES = (
    native.EngineError,
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NotImplemented,
    native.RuntimeException,
    RuntimeError,
    ValueError,
)


def open_session(graph: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session whose results repeat: fixed threads, sequential, deterministic kernels.

    Args:
        graph: an ONNX model without external data.
        threads: intra-operator threads; 1 is fastest for the zoo's sizes.
    Raises:
        GraphForbidden: onnxruntime does not take the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except FAILURES as error:
        raise GraphForbidden(f"onnxruntime refuses the graph: {error}", hint="export it again for opset 18") from error


def runner(session: onnxruntime.InferenceSession) -> Callable[[list[str], Mapping[str, Array]], list[Array]]:
    """(outputs wanted, feeds by name) → outputs, past the session's own checks where that can be done.

    `InferenceSession.run` compares the names of the feeds and asks about graphics cards each time: 5 of the 15 µs of a
    call of the zoo's size. The runtime beneath names what is missing by itself.
    """
    bare = getattr(session, "_sess", None)
    if bare is None:
        return session.run  # type: ignore[no-any-return]
    run = bare.run
    return lambda wanted, feeds: run(wanted, feeds, None)


class Predictor:
    """`predict.onnx`: weights and inputs in, scores out."""

    def __init__(self, graph: bytes) -> None:
        self._session = open_session(graph)

    def __call__(self, weights: Mapping[str, F32], inputs: Mapping[str, Array]) -> F32:
        """Scores, float32 (n,), for n rows of inputs."""
        (score,) = self._session.run(["score"], {**weights, **inputs})
        return np.asarray(score, dtype=np.float32)


class TrainStep:
    """`train_step.onnx`: one step of an optimiser on a batch.

    Attributes:
        names: the parameters, in the order in which weights go in and come out.
        state: what the optimiser remembers beside them, such as `w.velocity`; empty for plain gradient descent.
    """

    def __init__(self, graph: bytes) -> None:
        self._session = open_session(graph)
        self._outputs = [output.name for output in self._session.get_outputs()]
        after = [name.removesuffix(".next") for name in self._outputs if name != "loss"]
        self.names = tuple(name for name in after if owner(name) == name)
        self.state = tuple(name for name in after if owner(name) != name)

    def __call__(
        self, weights: Mapping[str, F32], inputs: Mapping[str, Array], label: F32, lr: float
    ) -> tuple[dict[str, F32], float]:
        """Weights and optimiser state after the step, and the loss before it.

        Args:
            weights: every parameter, and the state that the step before gave; state that is missing starts from zeros.
            inputs: by name, B rows each.
            label: float32 (B,).
            lr: step size; the graph scales it per parameter.
        """
        state = {name: weights[name] if name in weights else _zeros(name, weights) for name in self.state}
        now = {name: weights[name] for name in self.names}
        feeds = {**now, **state, **inputs, "label": label, "lr": np.array(lr, np.float32)}
        values = dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))
        after = {name: values[f"{name}.next"] for name in (*self.names, *self.state)}
        return after, float(values["loss"])


def _zeros(state: str, weights: Mapping[str, F32]) -> F32:
    return np.zeros(() if state.endswith(".steps") else weights[owner(state)].shape, np.float32)
