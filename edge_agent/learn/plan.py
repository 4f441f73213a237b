"""What a round may ask of a device: a plan within the device's own bounds, and the bundle's shared part only."""

from collections.abc import Mapping
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
EPOCHS_MAX, BATCH_MAX, NEGATIVES_MAX = 100, 4_096, 50


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

    def stated(self) -> Stated | None:
        """What the server states of privacy.

        Raises:
            RoundRefused: it cannot be read.
        """
        try:
            return unpack(self.privacy)
        except msgspec.MsgspecError as error:
            raise RoundRefused(f"the stated privacy cannot be read: {error}", hint="use one version") from None


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
    return plan


def read_shared(spec: Spec, plan: Plan, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, F32]:
    """The shared parameters that the round begins with.

    Args:
        arrays: exactly one, `shared`: float32, the parameters end to end in the order of the spec.
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
    if set(arrays) != {"shared"}:
        raise RoundRefused(f"the round sends {sorted(arrays)}, expected `shared`", hint="use one vector")
    vector = arrays["shared"]
    if vector.dtype != np.float32 or not np.isfinite(vector).all():
        raise RoundRefused("`shared` must be finite float32", hint="send the parent's own parameters")
    try:
        return flat.split(shared, np.asarray(vector, np.float32))
    except SpecInvalid as error:
        raise RoundRefused(error.what, hint=error.hint) from None
