"""Whether a device should trust a bundle: form, hashes, operators, and the golden outputs on each backend.

The agent's probe process runs this before the agent opens anything, so a file that crashes a runtime crashes
the probe and nothing else.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from msgspec import Struct

from models import golden, tflite
from models.bundle import Bundle, open_bundle
from models.errors import GoldenMismatch, GraphForbidden, ModelError
from models.onnx_graph import read_graph
from models.optimiser import owner, state_shapes
from models.session import FAILURES, Array, Predictor, open_session
from models.spec import Spec

Backend = Literal["onnx", "tflite", "both"]
_DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a bundle."""

    code: str
    where: str
    """The file, or the bundle's own name."""
    what: str
    fix: str


def check_bundle(path: Path, backend: Backend = "both") -> list[Finding]:
    """Everything that is wrong with a bundle; an empty list means that this machine can run it.

    Args:
        path: the `.edgeward` file.
        backend: which artefacts must work here; `both` checks model.tflite only where the bundle has one.
    """
    try:
        bundle = open_bundle(path)
    except ModelError as error:
        return [_finding(path.name, error)]
    findings = _attempt("predict.onnx", lambda: _check_onnx(bundle, "predict.onnx", train=False))
    if "train_step.onnx" in bundle.files:
        findings += _attempt("train_step.onnx", lambda: _check_onnx(bundle, "train_step.onnx", train=True))
    if backend == "tflite" or (backend == "both" and "model.tflite" in bundle.files):
        findings += _attempt("model.tflite", lambda: tflite.check(bundle))
    if not findings and backend != "tflite":
        findings += _attempt("golden.npz", lambda: _check_golden(bundle))
    return findings


def _attempt(where: str, check: Callable[[], None]) -> list[Finding]:
    try:
        check()
    except ModelError as error:
        return [_finding(where, error)]
    return []


def _finding(where: str, error: ModelError) -> Finding:
    first = str(error).splitlines()[0]
    return Finding(code=error.code, where=where, what=first.removeprefix(f"[{error.code}] "), fix=error.hint)


def _check_onnx(bundle: Bundle, name: str, *, train: bool) -> None:
    raw = bundle.read(name)
    faults = read_graph(raw).faults
    if faults:
        raise GraphForbidden(
            "; ".join(faults), hint="export it with `edge-models export`, which allows only what devices run"
        )
    session = open_session(raw)
    got = {one.name: (_DTYPES.get(one.type, one.type), len(one.shape)) for one in session.get_inputs()}
    expected = _expected_inputs(bundle.spec, got, train=train)
    if got != expected:
        raise GraphForbidden(
            f"inputs are {got}, bundle.toml makes {expected}", hint="export the graph and build the bundle again"
        )
    state = [name for name in got if owner(name) != name]
    wanted = {"score"} if not train else {"loss", *(f"{name}.next" for name in (*_parameters(bundle.spec), *state))}
    found = {one.name for one in session.get_outputs()}
    if found != wanted:
        raise GraphForbidden(f"outputs are {sorted(found)}, expected {sorted(wanted)}", hint="export the graph again")


def _parameters(spec: Spec) -> dict[str, tuple[int, ...]]:
    return {p.name: p.shape for p in spec.parameters}


def _expected_inputs(spec: Spec, got: Collection[str], *, train: bool) -> dict[str, tuple[str, int]]:
    """Input name → (dtype, rank). A parameter that is never trained has no state: whole or not at all."""
    expected = {p.name: (str(p.dtype), len(p.shape)) for p in spec.parameters}
    expected |= {i.name: (str(i.dtype), len(i.shape)) for i in spec.inputs}
    if not train or spec.train is None:
        return expected
    remembered = {owner(name) for name in got if owner(name) != name}
    shapes = state_shapes(spec.train.optimiser, _parameters(spec))
    expected |= {name: ("float32", len(shape)) for name, shape in shapes.items() if owner(name) in remembered}
    return expected | {"label": ("float32", 1), "lr": ("float32", 0)}


def _check_golden(bundle: Bundle) -> None:
    stored = golden.read_golden(bundle)
    weights = bundle.weights()
    try:
        got: dict[str, Array] = {
            "predict/score": Predictor(bundle.read("predict.onnx"))(weights, golden.predict_inputs(stored))
        }
        if "train_step.onnx" in bundle.files:
            got |= golden.train_outcome(bundle.read("train_step.onnx"), weights, stored)
    except KeyError as error:
        raise GoldenMismatch(f"golden.npz lacks {error}", hint="build the bundle again") from error
    except FAILURES as error:
        raise GoldenMismatch(f"the graph fails on the golden inputs: {error}", hint="build the bundle again") from error
    golden.compare("onnxruntime", got, stored)
