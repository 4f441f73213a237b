"""`model.tflite` on LiteRT: the signature `infer` takes the same feeds as `predict.onnx`.

The signature runner of LiteRT resizes, allocates and copies every input at each call, weights included. Here the
weights are set once for a number of rows; a call sets what differs and runs (ADR 0010: 14 µs became 4).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.infer.model import F32, Array, Runner
from models.bundle import Bundle
from models.errors import FeedRefused, GraphForbidden
from models.tflite import FAILURES, SIGNATURE, open_interpreter

_HINT = "compare names, dtypes and shapes with bundle.toml"


def open_runner(bundle: Bundle) -> Runner:
    """A runner for the bundle's TFLite model, one thread.

    Raises:
        BackendMissing: no TFLite runtime is installed.
        BundleMalformed: the bundle has no model.tflite.
        GraphForbidden: the runtime refuses the file, or `infer` is not its main graph or takes other inputs.
    """
    return _Infer(bundle).score


class _Infer:
    """One interpreter, sized for `_rows` rows; what it holds of the weights is right between calls."""

    def __init__(self, bundle: Bundle) -> None:
        self._what = f"{bundle.spec.name} {bundle.spec.version}"
        self._weights: dict[str, Array] = dict(bundle.weights())
        self._interpreter = open_interpreter(bundle.read("model.tflite"))
        self._inputs = {given.name: (np.dtype(given.dtype), tuple(given.shape[1:])) for given in bundle.spec.inputs}
        self._at, self._score_at = self._places()
        self._rows = -1

    def _places(self) -> tuple[dict[str, int], int]:
        """Input name → tensor number; and the score's."""
        try:
            signature = self._interpreter.get_signature_runner(SIGNATURE)
            at = {name: int(about["index"]) for name, about in signature.get_input_details().items()}
            score_at = int(signature.get_output_details()["score"]["index"])
            main = {int(about["index"]) for about in self._interpreter.get_input_details()}
        except FAILURES as error:
            raise GraphForbidden(f"{self._what}: no usable signature: {error}", hint="convert it again") from error
        if set(at) != {*self._inputs, *self._weights} or main != set(at.values()):
            raise GraphForbidden(
                f"{self._what}: `{SIGNATURE}` takes {sorted(at)}, bundle.toml makes {sorted(self._inputs)}"
                " and the parameters",
                hint="convert it again, with the signature as the main graph",
            )
        return at, score_at

    def score(self, feeds: Mapping[str, Array]) -> F32:
        """Every input by name, and the parameters that differ → float32 (n,)."""
        own = [name for name in feeds if name not in self._inputs]
        try:
            self._size_for(self._checked(feeds, own))
            for name in feeds:
                self._set(name, feeds[name])
            self._interpreter.invoke()
            # A copy: the runtime's own buffer is overwritten by the next call.
            found = np.array(self._interpreter.get_tensor(self._score_at), dtype=np.float32)
            for name in own:
                self._set(name, self._weights[name])
        except FAILURES as error:
            self._rows = -1  # whatever it holds now is set again
            raise FeedRefused(f"{self._what} does not take these inputs: {error}", hint=_HINT) from error
        return found

    def _checked(self, feeds: Mapping[str, Array], own: list[str]) -> int:
        """The number of rows. The runtime resizes to whatever it is told, so shapes are judged here."""
        rows = -1
        for name, (dtype, rest) in self._inputs.items():
            value = feeds.get(name)
            if value is None or value.dtype != dtype or value.shape[1:] != rest or not value.ndim:
                got = "nothing" if value is None else f"{value.dtype} of shape {value.shape}"
                raise FeedRefused(f"{self._what}: input `{name}` must be {dtype} (n, *{rest}), got {got}", hint=_HINT)
            if rows not in {-1, len(value)}:
                raise FeedRefused(f"{self._what}: the inputs have {rows} and {len(value)} rows", hint=_HINT)
            rows = len(value)
        for name in own:
            want = self._weights.get(name)
            if want is None or want.dtype != feeds[name].dtype or want.shape != feeds[name].shape:
                raise FeedRefused(f"{self._what}: `{name}` is none of its inputs in name, dtype or shape", hint=_HINT)
        return rows

    def _size_for(self, rows: int) -> None:
        if rows == self._rows:
            return
        self._rows = -1
        for name, (_, rest) in self._inputs.items():
            self._interpreter.resize_tensor_input(self._at[name], [rows, *rest])
        self._interpreter.allocate_tensors()
        for name, value in self._weights.items():
            self._set(name, value)
        self._rows = rows

    def _set(self, name: str, value: Any) -> None:
        self._interpreter.set_tensor(self._at[name], value)
