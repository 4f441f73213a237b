"""What a server asks of a statistic for a secret sum, read and held to what the profile wants."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import RoundRefused

if TYPE_CHECKING:
    from edge_agent.shell.pipe import LearnTask
    from models.secure_sum.noise import Noise

Shape = TypeVar("Shape", bound=Struct)


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's words."""

    statistic: str
    bundle: str
    version: str
    shape: Annotated[str, Meta(max_length=1_000_000)]
    """Of the sums, in JSON: a struct of `firmware_configs` that follows from the profile."""
    clip_norm: Annotated[float, Meta(gt=0.0)]
    """L2 norm of what a device tells."""


def read(asked: Mapping[str, Any], statistic: str, shape: type[Shape]) -> tuple[Asked, Shape]:
    """The server's words, and the shape that they ask for.

    Raises:
        RoundRefused: they are not acceptable, or of another statistic.
    """
    try:
        found = msgspec.convert(dict(asked), Asked, strict=False)
        wanted = msgspec.json.decode(found.shape, type=shape)
    except msgspec.MsgspecError as error:
        raise RoundRefused(f"the sums asked for are not acceptable: {error}", hint="use one version") from None
    if found.statistic != statistic:
        raise RoundRefused(f"no device here tells {found.statistic[:20]}", hint="use one version")
    return found, wanted


def check_version(task: "LearnTask", asked: Asked) -> None:
    """Whether a statistic is asked of the version that runs here.

    Raises:
        RoundRefused: it is not.
    """
    if (asked.bundle, asked.version) != (task.bundle, task.version):
        raise RoundRefused(f"asked for {asked.statistic} of {asked.bundle} {asked.version}", hint="start a new run")


def check_noise(task: "LearnTask", noise: "Noise | None") -> None:
    """Whether a secret sum has the noise that the profile wants.

    Raises:
        RoundRefused: it has less.
    """
    if task.noise_multiplier and (noise is None or noise.multiplier < task.noise_multiplier):
        has = f"{noise.multiplier:g}" if noise is not None else "none"
        raise RoundRefused(
            f"the sum's noise is {has}, this profile wants {task.noise_multiplier:g}", hint="state the profile's"
        )
