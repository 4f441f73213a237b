"""From a zoo model's draft to a bundle: spec, golden outputs, card, archive. Needs no torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import arrays, cost
from models.architecture import Architecture
from models.bundle import open_bundle, write_bundle
from models.card import Card, Figure, render_card
from models.errors import BuildUnavailable, DatasetInvalid
from models.golden import make_golden
from models.spec import Calibration, Input, Parameter, Spec, Train

F32 = NDArray[np.float32]
GRAPHS = Path(__file__).parent / "zoo" / "graphs"


class Options(Struct, frozen=True, kw_only=True):
    """What `edge-models build` was asked for."""

    version: str = "1.0.0"
    seed: int = 0
    epochs: int = 0
    """0: the model's own default."""
    ratings: Path | None = None
    """Interactions to learn from; None: the data that ships with the project."""
    licence: str = ""
    """Of the ratings, when they are given."""
    users: frozenset[str] = frozenset()
    """Only these people are learned from; empty: all."""
    exclude_users: frozenset[str] = frozenset()
    """These people are not learned from; they measure how the model does on strangers."""
    graphs: Path = GRAPHS
    measured_on: str = ""
    """Name of this machine: time and memory are measured and written into the card; empty: they are not."""

    def given(self, name: str) -> Path:
        """The file of interactions.

        Raises:
            DatasetInvalid: none was given, and no data that may ship says who did what when.
        """
        if self.ratings is None:
            raise DatasetInvalid(
                f"{name} learns from what people did when, and no data that may ship says so",
                hint=f"edge-models build {name} --ratings FILE, one `user,item,rating,time` a line",
            )
        return self.ratings

    def learns_from(self, user: str) -> bool:
        """Whether this person is one of those to learn from."""
        return user not in self.exclude_users and (not self.users or user in self.users)

    def graph(self, name: str, file: str) -> bytes:
        """One committed graph.

        Raises:
            BuildUnavailable: it was never exported.
        """
        path = self.graphs / name / file
        try:
            return path.read_bytes()
        except OSError as error:
            raise BuildUnavailable(
                f"{path} cannot be read: {error.strerror}",
                hint=f"run `edge-models export {name}` (needs the [build] extra)",
            ) from error


class Draft(Struct, frozen=True, kw_only=True):
    """A trained model, not yet a bundle. `example` and `label` are a few real rows for the golden outputs."""

    architecture: Architecture
    summary: str
    licence: str
    weights: dict[str, F32]
    inputs: tuple[Input, ...]
    train: Train
    calibration: Calibration
    example: dict[str, NDArray[np.generic]]
    label: F32
    card: Card
    needed_fields: tuple[str, ...] = ()
    catalogue: tuple[str, ...] = ()


class Built(Struct, frozen=True, kw_only=True):
    """A bundle on disk and what was measured while it was made."""

    path: Path
    figures: tuple[Figure, ...]


class Builder(Protocol):
    """What each module of the zoo offers."""

    ARCHITECTURE: Architecture

    def build(self, options: Options) -> Draft: ...

    def measure(self, weights: Mapping[str, F32], options: Options, /) -> float:
        """The headline figure on the held-out data, in percent; higher is better."""
        ...


def zoo_module(name: str) -> Builder:
    """The zoo's module of one model; `name` is one of ZOO."""
    from importlib import import_module

    return cast("Builder", import_module(f"models.zoo.{name.replace('-', '_')}"))


def build_bundle(name: str, options: Options, out: Path, command: str) -> Built:
    """Train, measure and write one bundle of the zoo.

    Args:
        name: one of ZOO.
        options: data, people, seed, version.
        out: the file, or an existing folder.
        command: recorded in the card, so that it can be made again.
    """
    draft = zoo_module(name).build(options)
    return Built(path=write_draft(draft, options, out, command), figures=draft.card.figures)


def write_draft(draft: Draft, options: Options, out: Path, command: str) -> Path:
    """The draft as a bundle; returns its path."""
    architecture = draft.architecture
    spec = Spec(
        format=1,
        name=architecture.name,
        version=options.version,
        task=architecture.task,
        licence=draft.licence,
        summary=draft.summary,
        inputs=draft.inputs,
        parameters=_parameters(draft),
        train=draft.train,
        calibration=draft.calibration,
        needed_fields=draft.needed_fields,
        catalogue=bool(draft.catalogue),
    )
    graphs = ("predict.onnx", "train_step.onnx", *(["model.tflite"] if architecture.tflite else []))
    files = {file: options.graph(architecture.name, file) for file in graphs}
    files["weights.npz"] = arrays.pack(draft.weights)
    files["golden.npz"] = make_golden(
        files["predict.onnx"],
        files["train_step.onnx"],
        draft.weights,
        draft.example,
        draft.label,
        draft.train.lr,
    )
    files["card.md"] = render_card(draft.card, spec, options.seed, command) + _size(files, draft)
    if draft.catalogue:
        files["catalogue.txt"] = "".join(f"{item}\n" for item in draft.catalogue).encode()
    path = write_bundle(out, spec, files)
    if options.measured_on:
        _, *measured = cost.lines(cost.cost_of(open_bundle(path)))  # the first says the file's bytes, which now change
        heading = f"Measured on {options.measured_on}:\n\n"
        files["card.md"] += (heading + "".join(f"- {line}\n" for line in measured)).encode()
        write_bundle(path, spec, files)
    return path


def _size(files: Mapping[str, bytes], draft: Draft) -> bytes:
    """The card's section on cost; time and memory on a machine of yours: `edge-models inspect`."""
    weights = sum(value.nbytes for value in draft.weights.values())
    graphs = ", ".join(f"{name} {len(content):,}" for name, content in sorted(files.items()) if name != "card.md")
    backend = (
        "model.tflite predicts only; training runs on onnxruntime."
        if "model.tflite" in files
        else "There is no model.tflite: the length of the catalogue stays open, and TFLite takes fixed shapes."
    )
    return (
        f"\n## Cost\n\nBytes: {graphs}. Weights in memory: {weights:,} bytes. {backend} Time and memory "
        f"on your machine: `edge-models inspect`.\n\n"
    ).encode()


def rows_of(count: int, batch: int, dice: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """One epoch of shuffled row numbers, `batch` at a time."""
    order = dice.permutation(count)
    for start in range(0, count, batch):
        yield order[start : start + batch]


def rounded(value: float) -> str:
    """Three decimals, for sentences in cards."""
    return f"{value:.3f}"


def _parameters(draft: Draft) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name=tensor.name, shape=draft.weights[tensor.name].shape, share=tensor.share, init=tensor.init)
        for tensor in draft.architecture.parameters
    )
