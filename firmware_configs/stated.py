"""What a coordinator states to a device about privacy, before the device takes part."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct


class Stated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The claim as it will stand after the round, over everything that this population has spent on the bundle."""

    epsilon: Annotated[float, Meta(ge=0.0)]
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)]
    unit: Annotated[str, Meta(max_length=80)]
    sampling: Annotated[str, Meta(max_length=200)]
    accountant: Annotated[str, Meta(max_length=20)]
    population: Annotated[str, Meta(max_length=100)]
    noise_by: Literal["coordinator", "devices"]

    def told(self) -> str:
        """In words, for the ledger."""
        return (
            f"the coordinator states ε = {self.epsilon:.4g} at δ = {self.delta:g} after this round; unit: {self.unit}; "
            f"sampling: {self.sampling}; accountant: {self.accountant}; population: {self.population}; "
            f"noise by the {self.noise_by}"
        )


def pack(stated: Stated | None) -> str:
    """As a plan carries it: JSON, or nothing."""
    return msgspec.json.encode(stated).decode() if stated is not None else ""


def unpack(text: str) -> Stated | None:
    """What a plan carries.

    Raises:
        msgspec.MsgspecError: it is no statement.
    """
    return msgspec.json.decode(text, type=Stated) if text else None
