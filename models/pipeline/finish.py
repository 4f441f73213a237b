"""The second half of a pipeline: calibration, smaller weights, measures, the card, the signature."""

from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from models import calibrate, datasets, evaluate, held_out
from models.bundle import Bundle, open_bundle, write_bundle
from models.calibration import apply
from models.errors import PipelineInvalid
from models.pipeline.files import Files
from models.pipeline.run import Asked, Step
from models.pipeline.training import RATINGS, SOURCES, Training, as_json, build_from, folder_of, typed
from models.session import Predictor
from models.spec import Calibration
from models.stored import Storage

F32 = NDArray[np.float32]
BUNDLE, FIGURES = "bundle.edgeward", "figures.json"
CALIBRATED = held_out.TABULAR
"""Models whose rows have a probability to be wrong about; a ranking of sampled candidates has none."""
MEASURES = {
    "accuracy": evaluate.accuracy,
    "f1": evaluate.f1,
    "auc": evaluate.auc,
    "log_loss": evaluate.log_loss,
    "ece": evaluate.ece,
}


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sign.settings]."""

    key: str
    """Ed25519 private key, PKCS#8 PEM; relative to the config."""


class Words(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[card.settings]."""

    note: str = ""
    """A paragraph for whoever reads the card."""


def calibrator(method: calibrate.Method) -> Step:
    """A step that fits `method` on the last quarter of the training rows, by a model trained on the first three."""

    def step(files: Files, asked: Asked) -> Files:
        model = asked.config.model
        if model not in CALIBRATED:
            raise PipelineInvalid(
                f"[calibrate] {method}: {model} is not fitted to probabilities of rows",
                hint=f"use `default`; calibration is for {', '.join(CALIBRATED)}",
            )
        early = early_and_late(files, model)
        epochs = asked.config.train.settings.get("epochs", 0)
        inner = build_from(early, asked, Training(epochs=int(epochs)))
        score, label = scores_of_test_rows({**early, **inner})
        found = calibrate.fit(method, score, label, _opened(inner).spec.task)
        return {BUNDLE: _rewritten(_opened(files), found, "")}

    return step


CALIBRATIONS: dict[str, Step] = {
    "temperature": calibrator("temperature"),
    "platt": calibrator("platt"),
    "isotonic": calibrator("isotonic"),
}


def early_and_late(files: Files, model: str) -> dict[str, bytes]:
    """The training rows alone: three quarters to learn from, the last quarter in the place of the test rows."""
    train, test = (f"data/{name}" for name in SOURCES[model])
    lines = files[train].decode().splitlines(keepends=True)
    head, rows = (lines[:1], lines[1:]) if model == "propensity" else ([], lines)
    if model == "propensity":
        at = head[0].strip().split(",").index("timestamp")
        rows.sort(key=lambda line: line.split(",")[at])
    cut = len(rows) * 3 // 4
    kept = {name: content for name, content in files.items() if name.startswith("data/")}
    return {**kept, train: "".join(head + rows[:cut]).encode(), test: "".join(head + rows[cut:]).encode()}


def scores_of_test_rows(files: Files) -> tuple[F32, F32]:
    """The graph's own scores of the test rows, and their labels; both (n,)."""
    bundle = _opened(files)
    with folder_of(files) as folder, datasets.looked_for_in(folder / "data"):
        inputs, label = held_out.rows(bundle)
    return Predictor(bundle.read("predict.onnx"))(bundle.weights(), inputs), label


def float16(files: Files, asked: Asked) -> Files:
    """Weights in 16 bits."""
    return _smaller(files, asked, "float16")


def int8(files: Files, asked: Asked) -> Files:
    """Weights in 8 bits."""
    return _smaller(files, asked, "int8")


def _smaller(files: Files, asked: Asked, storage: Storage) -> Files:
    from models.quantise import quantise

    del asked
    with folder_of(files) as folder, datasets.looked_for_in(folder / "data"):
        ratings = folder / RATINGS if RATINGS in files else None
        made = quantise(open_bundle(folder / BUNDLE), storage, folder / "small.edgeward", ratings)
        return {BUNDLE: made.path.read_bytes()}


def evaluated(files: Files, asked: Asked) -> Files:
    """Measures on the test rows, before and after calibration; models of interactions keep those of their build."""
    figures = msgspec.json.decode(files[FIGURES])
    if asked.config.model in CALIBRATED:
        score, label = scores_of_test_rows(files)
        spec = _opened(files).spec
        for name, calibration in (("graph", Calibration()), ("served", spec.calibration)):
            probability = apply(score, spec.task, calibration)
            figures[name] = {key: measure(probability, label) for key, measure in MEASURES.items()}
    return {FIGURES: as_json(figures)}


def card(files: Files, asked: Asked) -> Files:
    """What the pipeline did, added to the card: steps, seed, calibration before and after."""
    config, bundle, figures = asked.config, _opened(files), msgspec.json.decode(files[FIGURES])
    lines = [
        "\n## Pipeline\n",
        f"Made by `edge-models train`, seed {config.seed}: "
        + ", ".join(
            f"{name} {config.stage(name).use}" for name in ("data", "features", "train", "calibrate", "quantise")
        )
        + ".",
    ]
    if "served" in figures:
        lines += ["", "| on the test rows | graph | served |", "|---|--:|--:|"]
        lines += [f"| {key} | {figures['graph'][key]:.5f} | {figures['served'][key]:.5f} |" for key in MEASURES]
    if bundle.spec.calibration.method != "none":
        method = bundle.spec.calibration.method
        lines += ["", f"Calibration ({method}) was fitted on the last quarter of the training rows, scored by a model"]
        lines += ["that was trained on the first three quarters."]
    note = typed("card", asked.settings, Words).note
    lines += ["", note] if note else []
    return {BUNDLE: _rewritten(bundle, bundle.spec.calibration, "\n".join(lines) + "\n")}


def signed(files: Files, asked: Asked) -> Files:
    """A detached Ed25519 signature over the bundle's bytes; the same key and bundle give the same signature.

    The registry's TUF roles sign again on publishing: this one says who built it.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    where = typed("sign", asked.settings, Key).key
    try:
        key = load_pem_private_key(read_key(asked)["key"], password=None)
    except (ValueError, TypeError) as error:
        raise PipelineInvalid(f"[sign] {where} is no private key: {error}", hint=_MAKE_KEY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PipelineInvalid(f"[sign] {where} is not an Ed25519 key", hint=_MAKE_KEY)
    return {"signature": key.sign(files[BUNDLE])}


_MAKE_KEY = "openssl genpkey -algorithm ed25519 -out model.key"


def read_key(asked: Asked) -> dict[str, bytes]:
    """The key's file, when the stage signs.

    Raises:
        PipelineInvalid: it cannot be read.
    """
    if asked.config.sign.use != "ed25519":
        return {}
    path = asked.folder / typed("sign", asked.settings, Key).key
    try:
        return {"key": path.read_bytes()}
    except OSError as error:
        raise PipelineInvalid(f"[sign] {path} cannot be read: {error.strerror}", hint=_MAKE_KEY) from error


def _opened(files: Files) -> Bundle:
    with folder_of({BUNDLE: files[BUNDLE]}) as folder:
        return open_bundle(folder / BUNDLE)


def _rewritten(bundle: Bundle, calibration: Calibration, more: str) -> bytes:
    """The bundle with another calibration and more in its card."""
    files = {name: bundle.read(name) for name in bundle.files}
    files["card.md"] += more.encode()
    with folder_of({}) as folder:
        return write_bundle(Path(folder) / BUNDLE, replace(bundle.spec, calibration=calibration), files).read_bytes()
