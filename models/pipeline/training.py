"""The first half of a pipeline: source data, what of it is shown, and the zoo's own training."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from models import datasets
from models.build import Options, build_bundle
from models.datasets import find, read_ratings
from models.errors import DatasetInvalid, PipelineInvalid
from models.pipeline.files import Files, unfold
from models.pipeline.run import Asked
from models.zoo import FROM_RATINGS

RATINGS = "data/ratings.csv"
SOURCES: dict[str, tuple[str, ...]] = {
    "context": ("occupancy/datatraining.txt", "occupancy/datatest.txt"),
    "segment": ("open-bandit/bts/men.csv", "open-bandit/random/men.csv"),
    "propensity": ("open-bandit/bts/men.csv", "open-bandit/random/men.csv"),
}
"""Model → the data that ships with the project, which it is built from."""
T = TypeVar("T", bound=Struct)


class Interactions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[data.settings] of models of interactions."""

    ratings: str
    """File, relative to the config."""
    licence: str = ""


class Active(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[features.settings] of `active`."""

    interactions_min: int = 5
    """People and items with fewer are left out, people first."""


class Without(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[features.settings] of `without`."""

    fields: tuple[str, ...]
    """Fields that tell nothing: their values are shuffled among the rows. For ablations of `context`."""


class Training(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[train.settings]."""

    epochs: int = 0
    """0: the model's own."""
    users: tuple[str, ...] = ()
    exclude_users: tuple[str, ...] = ()


def typed(stage: str, settings: Mapping[str, object], kind: type[T]) -> T:
    """Settings as a struct.

    Raises:
        PipelineInvalid: an unknown key, a missing one, or a wrong type.
    """
    try:
        return msgspec.convert(dict(settings), kind)
    except msgspec.ValidationError as error:
        raise PipelineInvalid(f"[{stage}.settings]: {error}", hint="see docs/models.md") from error


def data(files: Files, asked: Asked) -> Files:
    """The source data, as it is."""
    del files
    return sources(asked)


def sources(asked: Asked) -> dict[str, bytes]:
    model = asked.config.model
    if model in FROM_RATINGS and not (model == "affinity" and not asked.settings):
        given = typed("data", asked.settings, Interactions)
        path = asked.folder / given.ratings
        read_ratings(path)  # what is wrong with it is said here, line by line
        return {RATINGS: datasets.read_text(path).encode(), "data/licence": given.licence.encode()}
    found: dict[str, bytes] = {}
    for name in SOURCES.get(model, SOURCES["propensity"]):
        source = find(name)
        if source is None:
            raise DatasetInvalid(f"{name} was not found", hint="set EDGEWARD_DATA to the folder that holds it")
        found[f"data/{name}"] = datasets.read_text(source).encode()
    return found


def everything(files: Files, asked: Asked) -> Files:
    """All rows and columns, as the model declares them."""
    del files, asked
    return {}


def active(files: Files, asked: Asked) -> Files:
    """People and items with enough interactions."""
    least = typed("features", asked.settings, Active).interactions_min
    if RATINGS not in files:
        raise PipelineInvalid("[features] `active` is for interactions", hint="use `default` for this model")
    with folder_of(files) as folder:
        rows = read_ratings(folder / RATINGS)
    for field in ("user", "item"):
        counts: dict[str, int] = {}
        for row in rows:
            counts[getattr(row, field)] = counts.get(getattr(row, field), 0) + 1
        rows = [row for row in rows if counts[getattr(row, field)] >= least]
    if not rows:
        raise PipelineInvalid(f"nobody has {least} interactions", hint="lower interactions_min")
    return {RATINGS: "".join(f"{r.user}\t{r.item}\t{r.rating:g}\t{r.time!r}\n" for r in rows).encode()}


def without(files: Files, asked: Asked) -> Files:
    """Rows in which some fields tell nothing."""
    from models.zoo.context import FIELDS

    hidden = set(typed("features", asked.settings, Without).fields)
    if asked.config.model != "context" or not hidden <= set(FIELDS):
        raise PipelineInvalid(
            f"[features] `without` hides fields of `context` ({', '.join(FIELDS)}), not {sorted(hidden)}",
            hint="use `default` for this model",
        )
    names = SOURCES["context"]
    tables = [np.array([line.split(",") for line in files[f"data/{name}"].decode().split()], float) for name in names]
    columns = [at for at, field in enumerate(FIELDS) if field in hidden]
    dice = np.random.default_rng(asked.config.seed)
    for table in tables:
        # Shuffled, not constant: the column keeps its spread, by which the model scales it.
        table[:, columns] = table[dice.permutation(len(table))][:, columns]
    return {
        f"data/{name}": "".join(f"{','.join(f'{value:g}' for value in row)}\n" for row in table).encode()
        for name, table in zip(names, tables, strict=True)
    }


def train(files: Files, asked: Asked) -> Files:
    """The zoo's own training, on the files of the steps before."""
    settings = typed("train", asked.settings, Training)
    return build_from(files, asked, settings)


def build_from(files: Files, asked: Asked, settings: Training) -> Files:
    """A bundle and its figures, trained on `files`."""
    with folder_of(files) as folder, datasets.looked_for_in(folder / "data"):
        options = Options(
            version=asked.config.version,
            seed=asked.config.seed,
            epochs=settings.epochs,
            ratings=folder / RATINGS if RATINGS in files else None,
            licence=files.get("data/licence", b"").decode(),
            users=frozenset(settings.users),
            exclude_users=frozenset(settings.exclude_users),
        )
        made = build_bundle(asked.config.model, options, folder, f"edge-models train {asked.config.model}.toml")
        figures = [msgspec.to_builtins(figure) for figure in made.figures]
        return {"bundle.edgeward": made.path.read_bytes(), "figures.json": as_json({"build": figures})}


@contextmanager
def folder_of(files: Files) -> Iterator[Path]:
    """The files in a folder of their own, which goes away."""
    with tempfile.TemporaryDirectory(prefix="edgeward-train-") as name:
        unfold(files, Path(name))
        yield Path(name)


def as_json(document: Any) -> bytes:
    """Indented, UTF-8."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
