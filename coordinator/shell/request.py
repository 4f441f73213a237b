"""What `edge-coordinator train` is asked for."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from coordinator.cohort import GRACE_S
from coordinator.errors import RoundError
from coordinator.rule_names import Rule

EVERYONE = "all"
"""The population of a coordinator that does not name one."""


class Request(Struct, frozen=True, kw_only=True):
    """What was asked for; zeros mean the bundle's own schedule."""

    bundle: str
    rounds: Annotated[int, Meta(ge=1, le=10_000)] = 1
    minimum_reports: Annotated[int, Meta(ge=1)] = 1
    wanted: Annotated[int, Meta(ge=0)] = 0
    where: tuple[str, ...] = ()
    """Which devices the run is for: tag:site=lab, group:beta, class:NAME; all must hold."""
    classes: tuple[str, ...] = ()
    """Classes of devices, as their profiles say; empty: any."""
    examples_min: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """Examples that a device must have."""
    strategy: str = "fedavg"
    """A name of `coordinator.strategies.names`."""
    options: dict[str, float] = {}
    """Of the strategy; what is missing is as it says."""
    asynchronous: bool = False
    """Count reports as they come, instead of in common rounds."""
    buffer: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """With `asynchronous`: reports that make a version; `rounds` are versions then."""
    staleness: str = "poly:0.5"
    """With `asynchronous`: how much less an old report counts; `coordinator.strategies.asynchronous`."""
    layers: tuple[str, ...] = ()
    """`coordinator.strategies.layers`: PATTERN=FACTOR@FIRST-LAST."""
    prox_mu: Annotated[float, Meta(ge=0.0)] = 0.01
    epochs: Annotated[int, Meta(ge=0)] = 0
    lr: Annotated[float, Meta(ge=0.0, le=1_000.0)] = 0.0
    """No device takes a plan with more."""
    clip_norm: Annotated[float, Meta(gt=0.0)] = 100.0
    join_s: Annotated[float, Meta(ge=0.0)] = 30.0
    deadline_s: Annotated[float, Meta(gt=0.0)] = 60.0
    wait_s: Annotated[float, Meta(ge=0.0)] = 60.0
    seed: Annotated[int, Meta(ge=0)] = 0
    unlearn: bool = False
    """Ask for the last updates of those who withdrew instead of training."""
    rule: Rule | None = None
    """How updates are combined where some devices may be hostile; None: their weighted mean."""
    hostile_share: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.2
    epsilon_max: Annotated[float, Meta(ge=0.0)] = 0.0
    """The population's budget for this bundle; 0: the run is not private."""
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-5
    accountant: Literal["auto", "pld", "rdp"] = "auto"
    """Auto: PLD, or RDP where the devices add the noise."""
    clip_quantile: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    """Share of the updates that the clipping norm is to hold; 0: the norm stays as it is."""
    clip_lr: Annotated[float, Meta(gt=0.0, le=2.0)] = 0.2
    """How fast the norm follows."""
    count_noise: Annotated[float, Meta(ge=0.0)] = 0.0
    """Of the count of updates within the norm, in devices; 0: a twentieth of the reports that are expected."""
    noise: Annotated[float, Meta(ge=0.0)] = 0.0
    """Multiplier; 0: the smallest that the budget allows."""
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    population: str = EVERYONE
    top_k: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Share of an update's numbers that a device sends, the largest; 0: all."""
    random_k: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Share of the numbers of a secret sum, drawn alike by all devices; 0: all."""
    secret_sum: bool = False
    secret_bits: Annotated[int, Meta(ge=2, le=24)] = 20
    noise_by: Literal["auto", "coordinator", "devices"] = "auto"
    """Who adds the noise of a private run. Auto: the devices under a secret sum, the coordinator otherwise."""
    vanish: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.25
    """Share of the devices that may vanish from a secret sum."""
    collude: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    """Share of the devices that may work with the coordinator: a mask takes more shares than they have."""
    grace_s: Annotated[float, Meta(ge=0.0)] = GRACE_S
    """How long a secret sum's stage waits after an answer, once all but `vanish` have answered; 0: `deadline_s`."""
    over_selection: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.3
    """With `wanted`: how many more are asked, as a share of it."""
    retries: Annotated[int, Meta(ge=0, le=100)] = 0
    """How often a round that failed, such as by too few reports, is tried again."""
    back_off_s: Annotated[float, Meta(ge=0.0)] = 5.0
    """Before the first of them; twice as long before each further one."""
    spread_s: Annotated[float, Meta(ge=0.0)] | None = None
    """Start window, s: each device begins at a moment of its own in it; None: 50 devices a second."""
    keep_reports: bool = True
    """Whether a round's reports may lie on disk from when they are here until their result is."""
    deploy: bool = True
    """Whether devices are asked to run the result; False: it is published, and nobody is asked."""
    rollout: str = ""
    """File of the plan by which they are asked, cohort by cohort; its `version` is the result's. Empty: all at once."""


def refuse_compression(request: Request) -> None:
    """Refuse what does not go together.

    Raises:
        RoundError: top-k with a secret sum, or random-k without.
    """
    if request.top_k and request.secret_sum:
        raise RoundError(
            "a device's largest numbers stand elsewhere than another's: in a secret sum their positions would have to "
            "be told, and tell what the device learned",
            hint="use --random-k, whose positions are the same of every device",
        )
    if request.random_k and not request.secret_sum:
        raise RoundError("random-k is for secret sums", hint="use --top-k, or add --secret-sum")
