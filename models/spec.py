"""bundle.toml: what a model takes, gives, shares and keeps to itself.

The structs mirror the document one to one. `parse` reads and cross-checks, `render` writes it back
byte for byte the same way each time.
"""

import math
import re
import tomllib
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from models.errors import SpecInvalid
from models.limits import (
    COLUMNS_MAX,
    FEATURES_MAX,
    INPUTS_MAX,
    KNOTS_MAX,
    OTHERS_MAX,
    PARAMETERS_MAX,
    SEQUENCE_MAX,
    SPEC_BYTES_MAX,
    VALUES_MAX,
)
from models.optimiser import Optimiser

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Identifier = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Seconds = Annotated[float, Meta(gt=0.0, le=31_536_000.0)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]

Loss = Literal["bce", "mse", "distance"]

_USUAL_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,5}")
RESERVED = frozenset({"label", "lr", "loss", "score"})
REQUIRED_FILES = frozenset({"predict.onnx", "weights.npz", "golden.npz", "card.md"})
OPTIONAL_FILES = frozenset({"train_step.onnx", "model.tflite", "catalogue.txt", "bandit.npz"})


class Last(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="last", tag_field="kind"):
    """The newest value of a number or flag field."""

    field: Identifier
    default: float = 0.0
    width: ClassVar[int] = 1


class Count(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="count", tag_field="kind"):
    """How many events of a source, or with a field present, came within the window."""

    field: str = ""
    source: str = ""
    window_s: Seconds
    width: ClassVar[int] = 1


class Mean(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mean", tag_field="kind"):
    """The mean of a field over the window."""

    field: Identifier
    window_s: Seconds
    default: float = 0.0
    width: ClassVar[int] = 1


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="window", tag_field="kind"):
    """An aggregate over a window of a subject's events: those of a source, or those with a field.

    sliding: the last `span_s` seconds, to a 32nd of it. tumbling: the running window of `span_s` seconds, aligned to
    unix time; its past part only. session: the running session, which ends with `span_s` seconds of silence.
    """

    take: Literal["count", "sum", "mean", "min", "max"]
    over: Literal["sliding", "tumbling", "session"]
    span_s: Seconds
    field: str = ""
    source: str = ""
    closed: bool = False
    """The window or session before the running one, which is complete; not for sliding ones."""
    default: float = 0.0
    """For mean, min and max of a window without events; counts and sums are 0 then."""
    width: ClassVar[int] = 1


class Ewma(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ewma", tag_field="kind"):
    """The exponentially weighted mean of a field; a value's weight halves every `half_life_s`."""

    field: Identifier
    half_life_s: Seconds
    default: float = 0.0
    width: ClassVar[int] = 1


class TimeSince(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="time-since", tag_field="kind"):
    """Seconds since the newest event of a source, at most `cap_s`."""

    source: Name
    cap_s: Seconds
    width: ClassVar[int] = 1


class HourSin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hour-sin", tag_field="kind"):
    """sin(2π · local hour / 24)."""

    width: ClassVar[int] = 1


class HourCos(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hour-cos", tag_field="kind"):
    """cos(2π · local hour / 24)."""

    width: ClassVar[int] = 1


class WeekdaySin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="weekday-sin", tag_field="kind"):
    """sin(2π · weekday / 7), Monday 0."""

    width: ClassVar[int] = 1


class WeekdayCos(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="weekday-cos", tag_field="kind"):
    """cos(2π · weekday / 7), Monday 0."""

    width: ClassVar[int] = 1


class OneHot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="one-hot", tag_field="kind"):
    """One column for each known value of a field; an unknown value is all zeros.

    Of a number field, such as a coarse latitude, `values` are the numbers to 6 digits: "52.5", "-0.1", "7".
    """

    field: Identifier
    values: Annotated[tuple[str, ...], Meta(min_length=1, max_length=VALUES_MAX)]

    @property
    def width(self) -> int:
        return len(self.values)


class ItemSequence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sequence", tag_field="kind"):
    """The last `length` values of a text field in the order in which they came, the newest in the last column.

    A value is its row in the catalogue plus 1; 0 is a place that nothing fills: no event yet, or a value that the
    catalogue lacks.
    """

    field: Identifier
    length: Annotated[int, Meta(ge=1, le=SEQUENCE_MAX)]

    @property
    def width(self) -> int:
        return self.length


class OthersPresent(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="others-present", tag_field="kind"
):
    """How many other subjects of the device had an event in the last `window_s`; at most `most` are told."""

    window_s: Seconds
    most: Annotated[int, Meta(ge=1, le=OTHERS_MAX)] = 5
    width: ClassVar[int] = 1


class DeviceClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="device-class", tag_field="kind"):
    """One column for each known [device] class of a profile; another class is all zeros."""

    values: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=VALUES_MAX)]

    @property
    def width(self) -> int:
        return len(self.values)


class Constant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="constant", tag_field="kind"):
    """Always the same number."""

    value: float
    width: ClassVar[int] = 1


FeatureSpec = (
    Last
    | Count
    | Mean
    | Window
    | Ewma
    | TimeSince
    | HourSin
    | HourCos
    | WeekdaySin
    | WeekdayCos
    | OneHot
    | ItemSequence
    | OthersPresent
    | DeviceClass
    | Constant
)


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One input of the graph besides the parameters.

    `candidate`: int64 (n,), row numbers in catalogue.txt. `features`: float32 (n, columns), the columns of
    `features` side by side, the same row for each candidate.
    """

    name: Identifier
    dtype: Literal["int64", "float32"]
    shape: Annotated[tuple[int, ...], Meta(min_length=1, max_length=2)]
    """-1: dynamic (one row a candidate)."""
    from_: Literal["candidate", "features"]
    features: Annotated[tuple[FeatureSpec, ...], Meta(max_length=FEATURES_MAX)] = ()


class Output(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of predict.onnx."""

    name: Identifier
    dtype: Literal["float32"] = "float32"
    shape: tuple[int, ...] = (-1,)


class Parameter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weight tensor: an input of every graph, a row of weights.npz."""

    name: Identifier
    dtype: Literal["float32"] = "float32"
    shape: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(max_length=4)]
    share: Literal["shared", "personal"]
    """shared: averaged by rounds. personal: never leaves the device."""
    init: Literal["zeros", "file"] = "file"
    """What a new subject starts from: zeros, or the row of weights.npz."""


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How train_step.onnx is meant to be driven; a round's plan may say otherwise."""

    loss: Loss
    optimiser: Optimiser = "sgd"
    """Its state is an input and output of the graph beside the weights; it starts from zeros."""
    lr: Annotated[float, Meta(gt=0.0, le=1_000.0)]
    batch: Annotated[int, Meta(ge=1, le=65_536)]
    epochs: Annotated[int, Meta(ge=1, le=1_000)]
    negatives: Annotated[int, Meta(ge=0, le=100)] = 0
    """Unseen items sampled for each positive, label 0; 0: labels as given."""


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Turns a score into a probability that means what it says.

    z is the score of a rank model, the logit of the score of a probability model.
    temperature: sigmoid(z / temperature). platt: sigmoid(scale · z + offset). isotonic: straight lines between the
    points (`knots`, `levels`), level beyond the outer ones. `models.calibrate` fits them.
    """

    method: Literal["none", "temperature", "platt", "isotonic"] = "none"
    scale: float = 1.0
    offset: float = 0.0
    temperature: Annotated[float, Meta(gt=0.0)] = 1.0
    knots: Annotated[tuple[float, ...], Meta(max_length=KNOTS_MAX)] = ()
    """Values of z, rising."""
    levels: Annotated[tuple[Annotated[float, Meta(ge=0.0, le=1.0)], ...], Meta(max_length=KNOTS_MAX)] = ()
    """The probability at each knot, never falling."""


_YOUNGER = ("temperature", "knots", "levels")


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole bundle.toml."""

    format: Literal[1]
    name: Name
    version: Annotated[str, Meta(max_length=64)]
    """PEP 440."""
    task: Literal["rank", "probability"]
    """rank: score is a logit, higher is better. probability: score is in [0, 1]."""
    licence: Annotated[str, Meta(min_length=1, max_length=300)]
    """SPDX expression or a sentence; of the weights, so of the data behind them."""
    summary: Annotated[str, Meta(min_length=1, max_length=500)]
    parents: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """Versions that this one was made from."""
    inputs: Annotated[tuple[Input, ...], Meta(min_length=1, max_length=INPUTS_MAX)]
    outputs: Annotated[tuple[Output, ...], Meta(min_length=1, max_length=4)] = (Output(name="score"),)
    parameters: Annotated[tuple[Parameter, ...], Meta(min_length=1, max_length=PARAMETERS_MAX)]
    train: Train | None = None
    calibration: Calibration = Calibration()
    needed_fields: tuple[Identifier, ...] = ()
    """Profile fields without which the inputs cannot be made."""
    catalogue: bool = False
    """catalogue.txt lists the candidates, one item id a line, in the order of the rows."""
    files: dict[str, Sha256] = {}

    def of_share(self, share: Literal["shared", "personal"]) -> tuple[Parameter, ...]:
        """The parameters of one kind, in the order of the document."""
        return tuple(p for p in self.parameters if p.share == share)


def feature_names(given: Input) -> list[str]:
    """One name a column, such as `co2`, `mean(co2,600s)`, `one-hot(door)=open`."""
    names: list[str] = []
    for feature in given.features:
        match feature:
            case OneHot() | DeviceClass():
                names += [f"{_kind(feature)}{_of_field(feature)}={value}" for value in feature.values]
            case ItemSequence(field=field, length=length):
                names += [f"sequence({field})[-{back}]" for back in range(length, 0, -1)]
            case OthersPresent(window_s=window_s, most=most):
                names.append(f"others-present({window_s:g}s,{most})")
            case Last(field=field):
                names.append(field)
            case Count(field=field, source=source, window_s=window_s):
                names.append(f"count({field or source},{window_s:g}s)")
            case Mean(field=field, window_s=window_s):
                names.append(f"mean({field},{window_s:g}s)")
            case Window(take=take, over=over, span_s=span_s):
                closed = ",closed" if feature.closed else ""
                names.append(f"{take}({feature.field or feature.source},{over},{span_s:g}s{closed})")
            case Ewma(field=field, half_life_s=half_life_s):
                names.append(f"ewma({field},{half_life_s:g}s)")
            case TimeSince(source=source):
                names.append(f"time-since({source})")
            case Constant(value=value):
                names.append(f"constant({value:g})")
            case _:
                names.append(_kind(feature))
    return names


def feature_fields(given: Input) -> tuple[str, ...]:
    """The profile fields that the input's features read, each once, in order."""
    fields = (getattr(feature, "field", "") for feature in given.features)
    return tuple(dict.fromkeys(field for field in fields if field))


def parse(document: bytes) -> Spec:
    """Read and cross-check a bundle.toml.

    Raises:
        SpecInvalid: not TOML, an unknown or missing key, a wrong type, or parts that contradict each other.
    """
    if len(document) > SPEC_BYTES_MAX:
        raise SpecInvalid(
            f"bundle.toml has {len(document)} bytes, at most {SPEC_BYTES_MAX} are read",
            hint="move long vocabularies into the catalogue",
        )
    try:
        spec = msgspec.convert(tomllib.loads(document.decode()), Spec)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecInvalid(f"bundle.toml is not TOML: {error}", hint="build the bundle again") from error
    except msgspec.ValidationError as error:
        raise SpecInvalid(
            f"bundle.toml: {error}", hint="compare with the fields of models.spec.Spec, or build it again"
        ) from error
    return verified(spec)


def render(spec: Spec) -> bytes:
    """bundle.toml of `spec`; `parse(render(spec)) == spec`."""
    document = msgspec.to_builtins(verified(spec))
    # Bundles that were made before these existed read, and are written again, to the same byte.
    for key in _YOUNGER:
        if getattr(spec.calibration, key) == getattr(Calibration(), key):
            del document["calibration"][key]
    return msgspec.toml.encode({key: value for key, value in document.items() if value is not None})


def verified(spec: Spec) -> Spec:
    """The same spec, once its parts agree with each other.

    Raises:
        SpecInvalid: naming the part.
    """
    for wrong, what in (
        *_name_faults(spec),
        *_input_faults(spec),
        *_file_faults(spec),
        *_calibration_faults(spec.calibration),
    ):
        if wrong:
            raise SpecInvalid(f"bundle.toml of {spec.name!r}: {what}", hint="correct the spec and build again")
    return spec


def _is_version(text: str) -> bool:
    """Whether PEP 440 writes it so. The usual form is seen at a glance; devices pay for each import."""
    if _USUAL_VERSION.fullmatch(text):
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(text)) == text
    except InvalidVersion:
        return False


def _name_faults(spec: Spec) -> list[tuple[bool, str]]:
    names = [p.name for p in spec.parameters] + [i.name for i in spec.inputs]
    versions = (spec.version, *spec.parents)
    return [
        (
            not all(map(_is_version, versions)),
            f"versions {versions} must be canonical PEP 440, such as 1.0.0",
        ),
        (len(set(names)) != len(names), f"parameter and input names must differ: {sorted(names)}"),
        (bool(RESERVED & set(names)), f"{sorted(RESERVED)} may not name a parameter or an input"),
        ([o.name for o in spec.outputs] != ["score"], "exactly one output, `score`, is served"),
    ]


def _input_faults(spec: Spec) -> list[tuple[bool, str]]:
    faults: list[tuple[bool, str]] = []
    needed = set(spec.needed_fields)
    for given in spec.inputs:
        width = sum(feature.width for feature in given.features)
        if given.from_ == "candidate":
            fits = given.dtype == "int64" and given.shape == (-1,) and not given.features
            what = f"candidate input {given.name!r} must be int64 of shape [-1] without features"
        else:
            fits = given.dtype == "float32" and given.shape == (-1, width) and 1 <= width <= COLUMNS_MAX
            what = f"input {given.name!r} must be float32 of shape [-1, {width}], the width of its features"
        faults.append((not fits, what))
        missing = sorted(set(feature_fields(given)) - needed)
        faults.append((bool(missing), f"needed_fields lacks {missing}, which input {given.name!r} reads"))
        faults += [
            (bool(f.field) == bool(f.source), f"a {_kind(f)} in input {given.name!r} takes a field or a source")
            for f in given.features
            if isinstance(f, Count | Window)
        ]
        for f in given.features:
            if isinstance(f, Window):
                what = f"a window in input {given.name!r}"
                faults.append((f.take != "count" and not f.field, f"{what} takes the {f.take} of a field"))
                faults.append((f.over == "sliding" and f.closed, f"{what}: a sliding one is never closed"))
        sequences = any(isinstance(f, ItemSequence) for f in given.features)
        faults.append((sequences and not spec.catalogue, f"a sequence in input {given.name!r} needs a catalogue"))
    candidates = sum(i.from_ == "candidate" for i in spec.inputs)
    faults.append((candidates > 1, "at most one candidate input"))
    faults.append((bool(candidates) != spec.catalogue, "catalogue is true exactly when an input is a candidate"))
    return faults


def _of_field(feature: OneHot | DeviceClass) -> str:
    return f"({feature.field})" if isinstance(feature, OneHot) else ""


def _kind(feature: FeatureSpec) -> str:
    return str(type(feature).__struct_config__.tag)


def _calibration_faults(calibration: Calibration) -> list[tuple[bool, str]]:
    knots, levels = calibration.knots, calibration.levels
    numbers = (calibration.scale, calibration.offset, calibration.temperature, *knots, *levels)
    return [
        (not all(map(math.isfinite, numbers)), "calibration holds a number that is not finite"),
        (
            (len(knots) >= 2) != (calibration.method == "isotonic") or len(knots) != len(levels),
            "isotonic calibration has at least two knots and a level for each; others have none",
        ),
        (any(a >= b for a, b in pairwise(knots)), "calibration knots must rise"),
        (any(a > b for a, b in pairwise(levels)), "calibration levels must not fall"),
    ]


def _file_faults(spec: Spec) -> list[tuple[bool, str]]:
    if not spec.files:
        return []
    names = set(spec.files)
    return [
        (not names >= REQUIRED_FILES, f"files lacks {sorted(REQUIRED_FILES - names)}"),
        (not names <= REQUIRED_FILES | OPTIONAL_FILES, f"files names strangers: {sorted(names)}"),
        (
            spec.catalogue != ("catalogue.txt" in names),
            "catalogue.txt stands there exactly when catalogue is true",
        ),
        ((spec.train is None) == ("train_step.onnx" in names), "[train] and train_step.onnx go together"),
    ]
