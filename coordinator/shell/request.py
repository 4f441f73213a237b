"""What `edge-coordinator train` is asked for."""

from msgspec import Struct

from coordinator.accountant import Accountant
from coordinator.rule_names import Rule
from coordinator.shell.private_run import EVERYONE


class Request(Struct, frozen=True, kw_only=True):
    """What was asked for; zeros mean the bundle's own schedule."""

    bundle: str
    rounds: int = 1
    minimum_reports: int = 1
    wanted: int = 0
    strategy: str = "fedavg"
    prox_mu: float = 0.01
    epochs: int = 0
    lr: float = 0.0
    clip_norm: float = 100.0
    join_s: float = 30.0
    deadline_s: float = 60.0
    wait_s: float = 60.0
    seed: int = 0
    rule: Rule | None = None
    """How updates are combined where some devices may be hostile; None: their weighted mean."""
    hostile_share: float = 0.2
    epsilon_max: float = 0.0
    """The population's budget for this bundle; 0: the run is not private."""
    delta: float = 1e-5
    accountant: Accountant = "pld"
    noise: float = 0.0
    """Multiplier; 0: the smallest that the budget allows."""
    rate: float = 1.0
    population: str = EVERYONE
    secret_sum: bool = False
    secret_bits: int = 20
