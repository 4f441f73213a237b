"""What a run may claim about privacy, and what a population has left. It claims nothing that was not accounted for.

The unit of privacy is one device: two runs are neighbours when one device takes part in one and not in the other.
ε comes from the library `dp-accounting` by privacy loss distributions (PLD) or Rényi divergences (RDP); here stands
only which events it is given. It takes seconds to import, so each function that needs it imports it.

Source: Abadi et al. 2016, "Deep Learning with Differential Privacy"; McMahan et al. 2018, "Learning Differentially
Private Recurrent Language Models"; Koskela et al. 2020 and Doroshenko et al. 2022 for PLD; Mironov 2017 for RDP;
Kairouz, Liu, Steinke 2021 for noise that the devices add.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

from coordinator.errors import BudgetInvalid, PrivacyRefused
from models.secure_sum.noise import APART_MAX

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Accountant = Literal["pld", "rdp"]
NoiseBy = Literal["coordinator", "devices"]
UNIT = "one device"
NOISE_MAX = 10_000.0
EPSILON_MAX = 200.0
"""What is promised beyond is nothing, and PLD takes minutes and gigabytes to say so."""
APART = APART_MAX / 4
"""What a round's shares may add to ρ, by the bound that `models.secure_sum.noise` refuses beyond."""


class Spend(Struct, frozen=True, kw_only=True):
    """Rounds that released a sum of clipped updates with noise."""

    noise_multiplier: float
    """Standard deviation of the noise on the sum, in units of the clipping norm; > 0."""
    rate: float
    """Probability with which a device is asked in a round, in (0, 1]; 1.0: everyone, no amplification is claimed."""
    rounds: int = 1
    noise_by: NoiseBy = "coordinator"
    """Coordinator: Gaussian noise on the sum. Devices: shares of discrete Gaussian noise under a secret sum.

    Devices' noise is meant against the coordinator too, which knows whom it asked: no sampling is counted, `rate` is 1.
    """


class Budget(Struct, frozen=True, kw_only=True):
    """How much a population may spend on one bundle."""

    epsilon: float
    delta: float
    accountant: Accountant = "pld"


class Claim(Struct, frozen=True, kw_only=True):
    """The claim that goes into the card and the log."""

    private: bool
    text: str
    epsilon: float = math.inf
    delta: float = 0.0
    unit: str = UNIT
    sampling: str = ""
    accountant: str = ""


def clipped_only(clip_norm: float, rounds: int, reports: int) -> Claim:
    """The claim of a run whose updates are clipped and not noised.

    Clipping alone bounds one device's influence and gives no ε: saying so is the whole of it.
    """
    return Claim(
        private=False,
        text=(
            f"No differential privacy: updates were clipped to L2 norm {clip_norm:g} per device and round, no noise "
            f"was added, so no ε can be stated. {rounds} rounds, at least {reports} devices in each."
        ),
    )


def claim(spent: Iterable[Spend], delta: float, accountant: Accountant = "pld") -> Claim:
    """The claim of everything that was released to this population so far.

    Raises:
        BudgetInvalid: a number is out of its range.
    """
    rows = list(spent)
    reached = epsilon(rows, delta, accountant)
    rates = sorted({row.rate for row in rows})
    sampling = "none: every device is asked" if rates in ([], [1.0]) else f"Poisson, q = {_listed(rates)}"
    noises = _listed(sorted({row.noise_multiplier for row in rows}))
    rounds = sum(row.rounds for row in rows)
    shares = any(row.noise_by == "devices" for row in rows)
    noise = f"{'discrete ' if shares else ''}Gaussian noise of multiplier {noises} on their sum"
    if shares:
        noise += ", added by the devices in shares before a secret sum: the coordinator saw no sum without it"
    return Claim(
        private=True,
        text=(
            f"({reached:.4g}, {delta:g})-differential privacy; unit: {UNIT}; {rounds} rounds of clipped updates with "
            f"{noise}; sampling: {sampling}; accountant: {accountant.upper()} (dp-accounting)."
        ),
        epsilon=reached,
        delta=delta,
        sampling=sampling,
        accountant=accountant,
    )


def epsilon(spent: Iterable[Spend], delta: float, accountant: Accountant = "pld") -> float:
    """ε of all the rounds together, at δ = `delta`.

    Args:
        spent: what was released.
        delta: in (0, 1).
        accountant: `pld` is tighter, `rdp` faster.
    Raises:
        BudgetInvalid: a number is out of its range, or ε is beyond `EPSILON_MAX` by RDP and was asked for by PLD.
    """
    reached = _reached(spent, delta, accountant)
    if math.isinf(reached):
        raise BudgetInvalid(
            f"ε would be more than {EPSILON_MAX:g}: that protects nobody",
            hint="more noise, or fewer rounds",
        )
    return reached


def _reached(spent: Iterable[Spend], delta: float, accountant: Accountant) -> float:
    """ε; by PLD infinity where RDP says more than `EPSILON_MAX`."""
    rows = [_checked(row) for row in spent]
    if not 0.0 < delta < 1.0:
        raise BudgetInvalid(f"δ = {delta:g} is not between 0 and 1", hint="use less than 1 / devices, such as 1e-5")
    if not rows:
        return 0.0
    if accountant == "pld" and any(row.noise_by == "devices" for row in rows):
        raise BudgetInvalid(
            "noise of the devices is accounted by RDP: dp-accounting has no PLD of it", hint="use --accountant rdp"
        )
    if accountant == "pld" and _reached(rows, delta, "rdp") > EPSILON_MAX:
        return math.inf
    from absl import logging as said
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    # It warns of each Rényi order that it leaves out; leaving one out only makes ε larger.
    said.set_verbosity(said.ERROR)
    account = PLDAccountant() if accountant == "pld" else RdpAccountant()
    for row in _together(rows):
        account.compose(_event(row))
    return float(account.get_epsilon(delta))


def noise_for(budget: Budget, rate: float, rounds: int, noise_by: NoiseBy = "coordinator") -> float:
    """The smallest noise multiplier (to 1e-3) with which so many rounds stay within the budget.

    Raises:
        BudgetInvalid: a number is out of its range, or no noise up to `NOISE_MAX` is enough.
    """

    if not 0.0 < budget.epsilon <= EPSILON_MAX:
        raise BudgetInvalid(
            f"ε = {budget.epsilon:g} is no budget", hint=f"above 0 and at most {EPSILON_MAX:g}, such as 8"
        )

    def fits(noise: float, by: Accountant) -> bool:
        row = Spend(noise_multiplier=noise, rate=rate, rounds=rounds, noise_by=noise_by)
        return _reached([row], budget.delta, by) <= budget.epsilon

    def least(low: float, high: float, by: Accountant) -> float:
        while high - low > 1e-3:
            middle = (low + high) / 2.0
            low, high = (low, middle) if fits(middle, by) else (middle, high)
        return high

    high = 1.0
    while not fits(high, "rdp"):
        high *= 2.0
        if high > NOISE_MAX:
            raise BudgetInvalid(f"no noise keeps {rounds} rounds within ε = {budget.epsilon:g}", hint="fewer rounds")
    # RDP is quick and never tighter than PLD: its answer is an upper end for the search by PLD, which gets slower the
    # less noise it is asked about, so that one comes down to its answer by doubling steps.
    high = least(0.0, high, "rdp")
    if budget.accountant == "rdp":
        return high
    step = high / 32.0
    while high - step > 0.0 and fits(high - step, budget.accountant):
        high, step = high - step, 2.0 * step
    return least(max(0.0, high - step), high, budget.accountant)


def refuse_beyond(budget: Budget, spent: Iterable[Spend], more: Spend) -> float:
    """ε once `more` is spent as well; to be asked, and entered, before anything is released.

    Raises:
        PrivacyRefused: it would exceed the budget.
        BudgetInvalid: a number is out of its range.
    """
    rows = list(spent)
    after = _reached([*rows, more], budget.delta, budget.accountant)
    if after > budget.epsilon:
        before = _reached(rows, budget.delta, budget.accountant)
        reached = f"more than {EPSILON_MAX:g}" if math.isinf(after) else f"{after:.4g}"
        raise PrivacyRefused(
            f"the budget is ε = {budget.epsilon:g} at δ = {budget.delta:g}; ε = {before:.4g} is spent, and this would "
            f"make it {reached}",
            hint="more noise, fewer rounds, or a new bundle trained from data that was not in these rounds",
        )
    return after


def _checked(row: Spend) -> Spend:
    if not (math.isfinite(row.noise_multiplier) and 0.0 < row.noise_multiplier <= NOISE_MAX):
        raise BudgetInvalid(f"a noise multiplier of {row.noise_multiplier:g} protects nothing", hint="use about 1")
    if not 0.0 < row.rate <= 1.0:
        raise BudgetInvalid(f"a sampling rate of {row.rate:g} is none", hint="devices asked a round / devices")
    if row.noise_by == "devices" and row.rate != 1.0:
        raise BudgetInvalid(
            "sampling hides nothing from the coordinator that samples", hint="rate 1, or --noise-by coordinator"
        )
    if row.rounds < 1:
        raise BudgetInvalid(f"{row.rounds} rounds", hint="at least 1")
    return row


def _together(rows: Iterable[Spend]) -> list[Spend]:
    """Rounds of the same noise and rate as one row: composition does not ask for an order, and this is quicker."""
    rounds: dict[Spend, int] = {}
    for row in rows:
        key = structs.replace(row, rounds=1)
        rounds[key] = rounds.get(key, 0) + row.rounds
    return [structs.replace(row, rounds=count) for row, count in rounds.items()]


def _event(row: Spend) -> "DpEvent":
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, ZCDpEvent

    if row.noise_by == "devices":
        # Kairouz et al. 2021, theorem 5: ½ε²-concentrated with ε² = 1 / multiplier² + half of how far, over all
        # coordinates, the sum of shares is from one discrete Gaussian; more than APART is refused.
        return SelfComposedDpEvent(ZCDpEvent(0.5 / row.noise_multiplier**2 + APART), row.rounds)
    released: DpEvent = GaussianDpEvent(row.noise_multiplier)
    if row.rate < 1.0:
        released = PoissonSampledDpEvent(row.rate, released)
    return SelfComposedDpEvent(released, row.rounds)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
