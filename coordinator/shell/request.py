"""What `edge-coordinator train` is asked for."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from coordinator.rule_names import Rule

EVERYONE = "all"
"""The population of a coordinator that does not name one."""


class Request(Struct, frozen=True, kw_only=True):
    """What was asked for; zeros mean the bundle's own schedule."""

    bundle: str
    rounds: Annotated[int, Meta(ge=1, le=10_000)] = 1
    minimum_reports: Annotated[int, Meta(ge=1)] = 1
    wanted: Annotated[int, Meta(ge=0)] = 0
    strategy: str = "fedavg"
    """A name of `coordinator.strategies.names`."""
    options: dict[str, float] = {}
    """Of the strategy; what is missing is as it says."""
    prox_mu: Annotated[float, Meta(ge=0.0)] = 0.01
    epochs: Annotated[int, Meta(ge=0)] = 0
    lr: Annotated[float, Meta(ge=0.0)] = 0.0
    clip_norm: Annotated[float, Meta(gt=0.0)] = 100.0
    join_s: Annotated[float, Meta(ge=0.0)] = 30.0
    deadline_s: Annotated[float, Meta(gt=0.0)] = 60.0
    wait_s: Annotated[float, Meta(ge=0.0)] = 60.0
    seed: Annotated[int, Meta(ge=0)] = 0
    rule: Rule | None = None
    """How updates are combined where some devices may be hostile; None: their weighted mean."""
    hostile_share: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.2
    epsilon_max: Annotated[float, Meta(ge=0.0)] = 0.0
    """The population's budget for this bundle; 0: the run is not private."""
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-5
    accountant: Literal["auto", "pld", "rdp"] = "auto"
    """Auto: PLD, or RDP where the devices add the noise."""
    noise: Annotated[float, Meta(ge=0.0)] = 0.0
    """Multiplier; 0: the smallest that the budget allows."""
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    population: str = EVERYONE
    secret_sum: bool = False
    secret_bits: Annotated[int, Meta(ge=2, le=24)] = 20
    noise_by: Literal["auto", "coordinator", "devices"] = "auto"
    """Who adds the noise of a private run. Auto: the devices under a secret sum, the coordinator otherwise."""
    vanish: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.25
    """Share of the devices that may vanish from a secret sum."""
