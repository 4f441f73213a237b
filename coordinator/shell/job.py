"""What the command that starts a run hands to the server app, as a file."""

from msgspec import Struct

from coordinator import clipping
from coordinator.accountant import Budget, NoiseBy
from coordinator.clipping import Adaptive
from coordinator.eligibility import Demands
from coordinator.rule_names import Rule
from coordinator.shell.secret_grid import Secret
from coordinator.strategies.asynchronous import Asynchronous
from coordinator.strategies.layers import Layer
from coordinator.strategies.settings import Strategy
from firmware_configs.business import BusinessShape
from firmware_configs.fleet_drift import DriftShape
from firmware_configs.messages import Counts
from firmware_configs.subgroups import Shape
from models.bandit_sums import Kind


class Private(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differential privacy of a run's rounds; the unit is one device."""

    population: str
    """Whose budget it is: the devices that may be asked."""
    budget: Budget
    noise_multiplier: float
    rate: float
    """Probability with which an enrolled device is asked in a round."""
    devices: int
    """Enrolled when the run began; rate · devices reports are expected."""
    adaptive: Adaptive | None = None
    """How the clipping norm follows the updates' norms; None: it is fixed."""
    noise_by: NoiseBy = "coordinator"
    """Who adds the noise; devices: under a secret sum, so that nobody sees a sum without it."""

    @property
    def vector_multiplier(self) -> float:
        """Of the noise on the updates alone: where a count is told as well, the two together cost `noise_multiplier`.

        Raises:
            BudgetInvalid: the count alone costs more.
        """
        if self.adaptive is None:
            return self.noise_multiplier
        return clipping.vector_multiplier(self.noise_multiplier, self.adaptive)


class Bandit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run adds up of the policies that learn on devices, instead of updates."""

    placement: str
    kind: Kind
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    """The scale of the features, one number a column."""
    clips: bool = False
    """Whether sums are clipped to the job's `clip_norm`."""


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `edge-coordinator train` asks of a run."""

    home: str
    key: str
    bundle: str
    """The parent's file."""
    rounds: int
    minimum_reports: int
    wanted: int = 0
    """Reports that are enough to close a round; 0: one from everyone who is online."""
    over_selection: float = 0.3
    """How many more than `wanted` are asked, as a share of it."""
    join_s: float = 30.0
    """How long to wait for enough nodes before a round."""
    deadline_s: float = 60.0
    """How long a round waits for reports."""
    epochs: int
    lr: float
    batch: int
    negatives: int
    clip_norm: float
    prox_mu: float = 0.0
    demands: Demands = Demands()
    """Which devices it is for."""
    strategy: Strategy = Strategy()
    layers: tuple[Layer, ...] = ()
    """How far a step moves which tensors, in which rounds."""
    asynchronous: Asynchronous | None = None
    """Reports count as they come; None: in common rounds."""
    devices: int = 0
    """Enrolled when the run began."""
    seed: int = 0
    groups: tuple[str, ...] | None = None
    """A run of counts instead of updates, told apart by these segments; None: it trains."""
    shape: Shape | None = None
    """A run of sums by group instead of updates, made under `secret`; None: it is none."""
    drift: DriftShape | None = None
    """A run of tenths of drift detectors instead of updates, made under `secret`; None: it is none."""
    business: BusinessShape | None = None
    """A run of sums of metrics instead of updates, made under `secret`; None: it is none."""
    account: str = ""
    """Under what the cost of sums of statistics or metrics is kept."""
    bandit: Bandit | None = None
    """A run of bandit sums instead of updates; None: it trains, or counts by `groups`."""
    unlearn: bool = False
    """Its rounds take in the last updates of those who withdrew, and add them up."""
    rule: Rule | None = None
    """How updates are combined where some devices may be hostile; None: their weighted mean."""
    hostile_share: float = 0.2
    top_k: float = 0.0
    """Share of an update's numbers that devices send, the largest; 0: all."""
    random_k: float = 0.0
    """The same in a secret sum, drawn alike by all; 0: all."""
    private: Private | None = None
    secret: Secret | None = None
    """Updates are summed in secret; None: each is sent as it is.

    A sum has no single updates, so it goes with no rule; each device counts once in it.
    """
    session: int = 1
    """Which of the run's sessions the server app is of; an overtaken one writes nothing."""
    control: str = ""
    """`host:port` of the SuperLink that the session was started on."""
    enrolled: int = 0
    """Devices that were offered the run; with so many online, nobody else is waited for."""
    retries: int = 0
    """How often a round that failed is tried again."""
    back_off_s: float = 5.0
    """Before the first of them; twice as long before each further one."""
    spread_s: float = 0.0
    """Over which the devices that were offered the run come."""
    keep_reports: bool = True
    """Whether a round's reports may lie on disk from when they are here until their result is."""

    @property
    def counts(self) -> Counts:
        """What statistic it is of: one round, which is asked anew rather than gone on with. Empty: it trains."""
        asked: dict[Counts, object] = {
            "scores": self.groups,
            "subgroups": self.shape,
            "drift": self.drift,
            "metrics": self.business,
            "bandit": self.bandit,
        }
        return next((name for name, one in asked.items() if one is not None), "")
