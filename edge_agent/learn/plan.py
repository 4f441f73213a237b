"""What a round may ask of a device: a plan within the device's own bounds, and the bundle's shared part only."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from firmware_configs.stated import Stated, unpack
from models import flat
from models.errors import SpecInvalid
from models.spec import Spec

F32 = NDArray[np.float32]
EPOCHS_MAX, BATCH_MAX, NEGATIVES_MAX, STEPS_MAX = 100, 4_096, 50, 10_000
MODELS_MAX, LAYERS_MAX, FACTOR_MAX = 16, 64, 10.0
Pattern = Annotated[str, Meta(min_length=1, max_length=64)]
Class = Annotated[str, Meta(max_length=64)]
Factor = Annotated[float, Meta(ge=0.0, le=FACTOR_MAX)]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server asks for. Bounds are the device's; a plan beyond them is refused."""

    bundle: str
    version: str
    names: tuple[str, ...]
    """The parameters that it sends and wants an update of, in the order in which they stand in its vector."""
    round: Annotated[int, Meta(ge=1)]
    rounds: Annotated[int, Meta(ge=1, le=10_000)]
    epochs: Annotated[int, Meta(ge=1, le=EPOCHS_MAX)]
    lr: Annotated[float, Meta(gt=0.0, le=1_000.0)]
    batch: Annotated[int, Meta(ge=1, le=BATCH_MAX)]
    negatives: Annotated[int, Meta(ge=0, le=NEGATIVES_MAX)]
    clip_norm: Annotated[float, Meta(gt=0.0)]
    prox_mu: Annotated[float, Meta(ge=0.0, le=100.0)]
    seed: Annotated[int, Meta(ge=0)]
    unlearn: bool = False
    """Up the loss instead of down, within a ball of `clip_norm`, from those who withdrew; `epochs` steps at most."""
    count_weight: Annotated[float, Meta(ge=0.0)] = 0.0
    """Above 0: tell as well whether the update was within `clip_norm`, as the server adapts it.

    Plainly it is a fact beside the update; in a secret sum one more number of the vector, plus or minus this.
    """
    top_k: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Share of the numbers to send, the largest; 0: all."""
    random_k: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Share of the numbers to send in a secret sum, the same of every device, drawn from seed and round; 0: all."""
    privacy: Annotated[str, Meta(max_length=2_000)] = ""
    """`firmware_configs.stated.Stated` in JSON; empty: the round states none."""
    personal_epochs: Annotated[int, Meta(ge=0, le=EPOCHS_MAX)] = 0
    """Above 0: so many epochs of the personal parts first, then `epochs` of the shared part alone."""
    steps: Annotated[int, Meta(ge=0, le=STEPS_MAX)] = 0
    """Above 0: exactly so many steps instead of `epochs`."""
    control: bool = False
    """SCAFFOLD: the message holds the fleet's control variate beside the parameters."""
    ditto: bool = False
    """Train a copy of the shared part for each person, which stays here and serves that person."""
    pull: Annotated[float, Meta(ge=0.0, le=100.0)] = 0.0
    """Of such a copy towards what the round sent."""
    models: Annotated[int, Meta(ge=1, le=MODELS_MAX)] = 1
    """Above 1: the vector holds so many models end to end; train the one with the smallest loss here."""
    layers: Annotated[tuple[Pattern, ...], Meta(max_length=LAYERS_MAX)] = ()
    """Patterns of tensor names (`*` stands for anything); the first that fits a tensor counts."""
    factors: Annotated[tuple[Factor, ...], Meta(max_length=LAYERS_MAX)] = ()
    """How far a step moves the tensors of each pattern: 0 not at all, 1 as the bundle says."""
    asynchronous: bool = False
    """Every reply counts by itself; there is no last round to wait for."""
    classes: Annotated[tuple[Class, ...], Meta(max_length=64)] = ()
    """Classes of devices that are asked; empty: any."""
    examples_min: Annotated[int, Meta(ge=0)] = 0
    """Examples that a device must have."""

    def factor_of(self, tensor: str) -> float:
        """How far a step moves this tensor."""
        fitting = (f for name, f in zip(self.layers, self.factors, strict=True) if fnmatchcase(tensor, name))
        return next(fitting, 1.0)

    def check_fit(self, device_class: str, examples: int) -> None:
        """Whether this device is one of those that the round is for.

        Raises:
            RoundRefused: it is not, and why.
        """
        if self.classes and device_class not in self.classes:
            raise RoundRefused(
                f"this device is of class `{device_class}`, the round is for {', '.join(self.classes)}",
                hint="nothing to do; other devices take part",
            )
        check_examples(examples, self.examples_min)

    def stated(self) -> Stated | None:
        """What the server states of privacy.

        Raises:
            RoundRefused: it cannot be read.
        """
        try:
            return unpack(self.privacy)
        except msgspec.MsgspecError as error:
            raise RoundRefused(f"the stated privacy cannot be read: {error}", hint="use one version") from None


def check_examples(held: int, wanted: int) -> None:
    """Raises:
    RoundRefused: a round wants more examples than are here.
    """
    if held < wanted:
        raise RoundRefused(f"{held} examples, the round is for devices with {wanted}", hint="wait for more events")


def read_plan(asked: Mapping[str, Any], bundle: str, version: str) -> Plan:
    """The server's plan, once it is acceptable.

    Args:
        asked: what came.
        bundle: what the offer named.
        version: what the offer named.
    Raises:
        RoundRefused: unknown or missing parts, values beyond the bounds, or another bundle.
    """
    try:
        plan = msgspec.convert(dict(asked), Plan, strict=False)
    except msgspec.ValidationError as error:
        raise RoundRefused(f"the plan is not acceptable: {error}", hint="keep to the bounds of the device") from None
    if (plan.bundle, plan.version) != (bundle, version):
        raise RoundRefused(
            f"asked for {plan.bundle} {plan.version}, the offer was {bundle} {version}",
            hint="start a new run for another bundle",
        )
    for fault in _contradictions(plan):
        raise RoundRefused(f"the plan contradicts itself: {fault}", hint="use a strategy of `edge-coordinator train`")
    return plan


def _contradictions(plan: Plan) -> Iterator[str]:
    if len(plan.layers) != len(plan.factors):
        yield f"{len(plan.layers)} layers and {len(plan.factors)} factors"
    if plan.control and not plan.steps:
        yield "a control variate needs a number of steps"
    if plan.control and plan.random_k:
        yield "a control variate needs the whole update"
    if plan.personal_epochs + plan.epochs > EPOCHS_MAX:
        yield f"{plan.personal_epochs} + {plan.epochs} epochs are more than {EPOCHS_MAX}"
    own = plan.control or plan.ditto or plan.models > 1 or plan.personal_epochs or plan.layers
    if plan.unlearn and (own or plan.rounds > 1 or plan.asynchronous or plan.top_k or plan.random_k):
        yield "a last update is whole, made once, and of the shared parameters alone"
    if sum((plan.control, plan.ditto, plan.models > 1, plan.personal_epochs > 0)) > 1:
        yield "it asks for several of: a control variate, copies, several models, personal parts first"


def read_shared(spec: Spec, plan: Plan, arrays: Mapping[str, NDArray[np.generic]]) -> list[dict[str, F32]]:
    """The shared parameters that the round begins with; where the plan has `control`, the control variate after them.

    Args:
        arrays: `shared`: float32, the parameters end to end in the order of the spec, `plan.models` times; and
            `control`, once, where the plan has it; nothing else.
    Returns:
        As many sets of tensors as the plan says models, and one more with `control`.
    Raises:
        RoundRefused: it names anything but the bundle's shared parameters, or holds other than finite float32.
    """
    shared = spec.of_share("shared")
    wanted = tuple(p.name for p in shared)
    if plan.names != wanted:
        extra = sorted(set(plan.names) - set(wanted)) or sorted(set(wanted) - set(plan.names))
        raise RoundRefused(
            f"the round names {extra or list(plan.names)}; shared are {list(wanted)}, and nothing else ever leaves",
            hint="send exactly the bundle's shared parameters, in the order of bundle.toml",
        )
    expected = {"shared", "control"} if plan.control else {"shared"}
    if set(arrays) != expected:
        raise RoundRefused(f"the round sends {sorted(arrays)}, expected {sorted(expected)}", hint="one vector each")
    for name, vector in arrays.items():
        if vector.dtype != np.float32 or vector.ndim != 1 or not np.isfinite(vector).all():
            raise RoundRefused(f"`{name}` must be finite float32", hint="send the parent's own parameters")
    size = flat.size_of(shared)
    if len(arrays["shared"]) != plan.models * size:
        raise RoundRefused(
            f"`shared` holds {len(arrays['shared'])} numbers, expected {plan.models} times {size}",
            hint="both sides must use the same version of the bundle",
        )
    vectors = [*np.split(np.asarray(arrays["shared"], np.float32), plan.models)]
    vectors += [np.asarray(arrays["control"], np.float32)] if plan.control else []
    try:
        return [flat.split(shared, vector) for vector in vectors]
    except SpecInvalid as error:
        raise RoundRefused(error.what, hint=error.hint) from None
