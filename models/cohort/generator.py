"""The generator of a cohort, and its file: a canonical archive of `card.json` and `arrays.npz`.

It holds distributions over many people and nothing of one: the card says from what data, of how many people, and what
was promised of their privacy.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from models import archive, arrays
from models.cohort.following import PLACES, Following
from models.cohort.households import SIZES_MAX, Households
from models.cohort.rhythm import COUNT_BINS, DAY_BINS, GAP_BINS, WEEKS_MAX, Rhythm
from models.cohort.scores import DIMENSIONS_MAX, LENGTH_MAX, Learning, Scores
from models.cohort.tastes import Tastes
from models.errors import BundleMalformed, GeneratorInvalid
from models.limits import CATALOGUE_MAX, ITEM_BYTES_MAX

F64 = NDArray[np.float64]
SUFFIX = ".cohort"
FORMAT = 4
"""1 knew topics and pairs only, 2 no rank of a model, 3 no groups of items."""
AGAIN = "fit it again: edge-models cohort fit --help"
TOPICS_MAX, KINDS_MAX, VALUES_MAX = 200, 32, 40
VALUE_MAX = 1e4
"""Of a model's numbers, so that scores stay finite in float32."""
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a generator may learn: its capacity, and the numbers of people below which nothing is told."""

    by: Literal["topics", "model"] = "topics"
    """What items are drawn by: topics and pairs of items, or the scores of a trained model."""
    topics: Annotated[int, Meta(ge=1, le=TOPICS_MAX)] = 16
    kinds: Annotated[int, Meta(ge=1, le=KINDS_MAX)] = 4
    k_min: Annotated[int, Meta(ge=1, le=1_000)] = 8
    """People who must have gone from one item to another, or have touched an item, for it to be told apart."""
    balanced: Annotated[int, Meta(ge=0, le=20)] = 4
    """Times that the items' weights are set right by a pilot cohort."""
    learning: Learning = Learning()
    """Of the model, where items are drawn by one."""
    seed: Annotated[int, Meta(ge=0)] = 0


class GeneratorCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a generator was made of."""

    format: Annotated[int, Meta(ge=1)]
    data: str
    """Name of the file that it was fitted on."""
    data_sha256: str
    first: str
    """Day of the first interaction, ISO 8601, UTC."""
    last: str
    people: Annotated[int, Meta(ge=1)]
    interactions: Annotated[int, Meta(ge=1)]
    households: bool
    """Whether the data said who lives with whom."""
    settings: Settings
    privacy: str
    """The claim, in words."""
    command: str
    edgeward: str


class Topics(Struct, frozen=True, kw_only=True):
    """Items by topics, and by pairs of what people went on to."""

    tastes: Tastes
    following: Following


class Generator(Struct, frozen=True, kw_only=True):
    """Everything that people are drawn from."""

    card: GeneratorCard
    catalogue: tuple[str, ...]
    source: Topics | Scores
    """What items are drawn from, as `card.settings.by` says."""
    rhythm: Rhythm
    households: Households
    values: F64
    """(values,) that ratings take, rising."""
    rating: F64
    """(items, values), rows sum to 1."""
    leaning: float
    """Standard deviation over people of how far they tilt ratings, in nats a unit of rating."""


_TOPICS = {
    "topics": ("tastes", 2),
    "mixture": ("tastes", 2),
    "start": ("following", 1),
    "follower": ("following", 1),
    "weight": ("following", 1),
    "ways": ("following", 1),
}
_MODEL = {
    "embedding": ("scores", 2),
    "bias": ("scores", 1),
    "place": ("scores", 2),
    "liking": ("scores", 2),
    "spread": ("scores", 2),
}
_BOTH = {
    "share": ("rhythm", 1),
    "count": ("rhythm", 2),
    "sittings": ("rhythm", 2),
    "gap": ("rhythm", 2),
    "pause": ("rhythm", 2),
    "hour": ("rhythm", 2),
    "weekday": ("rhythm", 2),
    "week": ("rhythm", 1),
    "size": ("households", 1),
    "values": ("", 1),
    "rating": ("", 2),
}
_ARRAYS = {"topics": {**_TOPICS, **_BOTH}, "model": {**_MODEL, **_BOTH}}
"""Name → part of the generator, and rank; by what items are drawn from."""
_NUMBERS = ("begins", "alike", "leaning")


class _Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    card: GeneratorCard
    catalogue: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=ITEM_BYTES_MAX)], ...],
        Meta(min_length=1, max_length=CATALOGUE_MAX),
    ]
    begins: float
    alike: Share
    leaning: Annotated[float, Meta(ge=0.0, le=100.0)]


def pack(generator: Generator) -> bytes:
    """The file's bytes: the same generator gives the same."""
    document = _Document(
        card=generator.card,
        catalogue=generator.catalogue,
        begins=generator.rhythm.begins,
        alike=generator.households.alike,
        leaning=generator.leaning,
    )
    found: dict[str, NDArray[Any]] = {}
    source = generator.source
    topics = isinstance(source, Topics)
    parts = {"rhythm": generator.rhythm, "households": generator.households, "": generator, "scores": source}
    if isinstance(source, Topics):
        parts |= {"tastes": source.tastes, "following": source.following}
    for name, (part, _) in _ARRAYS["topics" if topics else "model"].items():
        array = getattr(parts[part], name)
        found[name] = array.astype(np.int64 if name in {"start", "follower"} else np.float32)
    return archive.pack({"card.json": msgspec.json.encode(document), "arrays.npz": arrays.pack(found)})


def unpack(raw: bytes, what: str) -> Generator:
    """The generator of a file's bytes.

    Raises:
        GeneratorInvalid: it is none, or its parts do not fit together.
    """
    try:
        files = archive.unpack(raw, what, 2)
        document = msgspec.json.decode(files["card.json"], type=_Document)
        found = arrays.unpack(files["arrays.npz"], what)
    except KeyError as error:
        raise GeneratorInvalid(f"{what} has no {error}", hint=AGAIN) from error
    except (BundleMalformed, msgspec.MsgspecError, UnicodeDecodeError) as error:
        said = error.what if isinstance(error, BundleMalformed) else str(error)
        raise GeneratorInvalid(f"{what}: {said}", hint=AGAIN) from error
    if document.card.format != FORMAT:
        raise GeneratorInvalid(f"{what} has format {document.card.format}, this version reads {FORMAT}", hint=AGAIN)
    if why := _fault(document, found):
        raise GeneratorInvalid(f"{what}: {why}", hint=AGAIN)
    parts: dict[str, dict[str, Any]] = {}
    for name, (part, _) in _ARRAYS[document.card.settings.by].items():
        parts.setdefault(part, {})[name] = _again(name, found[name])
    source: Topics | Scores
    if document.card.settings.by == "topics":
        source = Topics(tastes=Tastes(**parts["tastes"]), following=Following(**parts["following"]))
    else:
        source = Scores(**parts["scores"])
    return Generator(
        card=document.card,
        catalogue=document.catalogue,
        source=source,
        rhythm=Rhythm(begins=document.begins, **parts["rhythm"]),
        households=Households(alike=document.alike, **parts["households"]),
        leaning=document.leaning,
        **parts[""],
    )


def read(path: Path) -> Generator:
    """The generator of a file.

    Raises:
        GeneratorInvalid: it cannot be read, or is none.
    """
    try:
        raw = archive.read_limited(path)
    except BundleMalformed as error:
        raise GeneratorInvalid(error.what, hint=error.hint) from error
    return unpack(raw, path.name)


def _again(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """float32 as they are stored, rows that are shares summing to 1 in float64 again."""
    if array.dtype == np.int64:
        return array
    wide = array.astype(np.float64)
    if name in _SHARES:
        wide = wide / wide.sum(axis=-1, keepdims=True)
    return wide


_SHARES = frozenset(
    {"topics", "ways", "share", "count", "sittings", "gap", "pause", "hour", "weekday", "week", "size", "rating"}
)


def _fault(document: _Document, found: dict[str, NDArray[Any]]) -> str:
    """Why the parts do not fit together; empty when they do."""
    known = _ARRAYS[document.card.settings.by]
    if set(found) != set(known):
        return f"arrays {sorted(set(found) ^ set(known))} are missing or too many"
    for name, (part, rank) in known.items():
        array = found[name]
        whole = name in {"start", "follower"}
        if array.ndim != rank or array.dtype != (np.int64 if whole else np.float32):
            return f"array {name} is {array.dtype} of rank {array.ndim}"
        if not whole and not np.isfinite(array).all():
            return f"array {name} holds what is no number"
        if not whole and name != "values" and part != "scores" and (array < 0.0).any():
            return f"array {name} holds a negative share"
        if name in _SHARES and (not array.size or not np.allclose(array.astype(np.float64).sum(-1), 1.0, atol=1e-3)):
            return f"shares of {name} do not sum to 1"
    return _misfit(document, found)


def _misfit(document: _Document, found: dict[str, NDArray[Any]]) -> str:
    items, kinds, values = len(document.catalogue), len(found["share"]), len(found["values"])
    shapes: dict[str, tuple[int, ...]] = {
        "count": (kinds, COUNT_BINS),
        "sittings": (kinds, COUNT_BINS),
        "gap": (kinds, GAP_BINS),
        "pause": (kinds, DAY_BINS),
        "hour": (kinds, 24),
        "weekday": (kinds, 7),
        "size": (SIZES_MAX,),
        "rating": (items, values),
    }
    if document.card.settings.by == "topics":
        topics, pairs = len(found["topics"]), len(found["follower"])
        shapes |= {"topics": (topics, items), "mixture": (kinds, topics), "start": (items + 1,), "weight": (pairs,)}
        shapes |= {"ways": (1 + PLACES,)}
    else:
        wide, length = found["embedding"].shape[1], len(found["place"])
        shapes |= {"embedding": (items, wide), "bias": (items,), "place": (length, wide), "liking": (kinds, wide)}
        shapes |= {"spread": (wide, wide)}
    for name, shape in shapes.items():
        if found[name].shape != shape:
            return f"array {name} has the shape {found[name].shape}, not {shape}"
    if len(set(document.catalogue)) != items:
        return "an item stands in the catalogue twice"
    if not 1 <= kinds <= KINDS_MAX or not 1 <= values <= VALUES_MAX:
        return f"{kinds} kinds, {values} values of ratings"
    if len(found["week"]) > WEEKS_MAX or not abs(document.begins) < 1e12:
        return "weeks, or the beginning, are out of range"
    return (_no_topics if document.card.settings.by == "topics" else _no_model)(items, found)


def _no_topics(items: int, found: dict[str, NDArray[Any]]) -> str:
    start, follower = found["start"], found["follower"]
    if start[0] != 0 or start[-1] != len(follower) or (np.diff(start) < 0).any():
        return "the followers of items do not stand in order"
    if len(follower) and (follower.min() < 0 or follower.max() >= items):
        return "a follower is not in the catalogue"
    if not 1 <= len(found["topics"]) <= TOPICS_MAX or not (found["mixture"] > 0.0).all():
        return "topics, or mixtures, are out of range"
    return ""


def _no_model(_items: int, found: dict[str, NDArray[Any]]) -> str:
    if not 1 <= found["embedding"].shape[1] <= DIMENSIONS_MAX or not 1 <= len(found["place"]) <= LENGTH_MAX:
        return "the model's dimensions, or places, are out of range"
    if any(np.abs(found[name]).max(initial=0.0) > VALUE_MAX for name in _MODEL):
        return "a number of the model is out of range"
    return ""
