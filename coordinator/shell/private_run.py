"""What a run is asked to cost in privacy, and what it may claim afterwards."""

from pathlib import Path

from coordinator import accountant, clipping
from coordinator.accountant import Accountant, Budget, NoiseBy, Spend
from coordinator.clipping import Adaptive
from coordinator.errors import BudgetInvalid
from coordinator.rounds import Round
from coordinator.shell import fault
from coordinator.shell.job import Job, Private
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.request import Request
from firmware_configs.stated import Stated


def spend_of(private: Private, rounds: int = 1) -> Spend:
    """What so many of the run's rounds cost."""
    return Spend(noise_multiplier=private.noise_multiplier, rate=private.rate, rounds=rounds, noise_by=private.noise_by)


def refuse_beyond_budget(home: Path, bundle: str, private: Private, rounds: int) -> None:
    """Refuse a run before anyone is asked, when its rounds would cost more than is left.

    Raises:
        PrivacyRefused: so much is not left.
    """
    spent = [a.spent for a in PrivacyStore(home).accounts(bundle) if a.population == private.population]
    accountant.refuse_beyond(private.budget, spent[0] if spent else [], spend_of(private, rounds))


def enter(job: Job, private: Private, number: int, bundle: str) -> float:
    """Enter what a round costs, once, before anything of it is released; returns ε with it.

    Raises:
        PrivacyRefused: the budget does not allow the round.
    """
    accounts = PrivacyStore(Path(job.home))
    return accounts.spend(bundle, private.population, private.budget, job.key, number, spend_of(private))


def enter_noised(job: Job, number: int, bundle: str) -> None:
    """The same for a secret sum that is about to be unmasked: when the devices added the noise, that releases it.

    Raises:
        PrivacyRefused: the budget does not allow the round.
    """
    if job.private is not None and job.private.noise_by == "devices":
        enter(job, job.private, number, bundle)
        fault.point("entered", number)


def stated_of(job: Job, number: int, bundle: str) -> Stated | None:
    """What the devices are told before they take part: the claim as it will stand once the round is spent."""
    own = job.private
    if own is None:
        return None
    held = PrivacyStore(Path(job.home)).accounts(bundle, without=(job.key, number))
    before = next((account.spent for account in held if account.population == own.population), [])
    claimed = accountant.claim([*before, spend_of(own)], own.budget.delta, own.budget.accountant)
    return Stated(
        epsilon=claimed.epsilon,
        delta=claimed.delta,
        unit=claimed.unit,
        sampling=claimed.sampling,
        accountant=f"{claimed.accountant.upper()} (dp-accounting)",
        population=own.population,
        noise_by=own.noise_by,
    )


def refuse_without_budget(request: Request) -> None:
    """Refuse protection that lacks what it is made of.

    Raises:
        BudgetInvalid: noise or sampling without a budget, or noise by devices without a secret sum.
    """
    if not request.epsilon_max and (
        request.noise or request.rate < 1.0 or request.noise_by != "auto" or request.clip_quantile
    ):
        raise BudgetInvalid("noise or sampling without a budget", hint="add --epsilon-max, such as 8")
    if request.noise_by == "devices" and not request.secret_sum:
        raise BudgetInvalid("a device's share of the noise hides no single update", hint="add --secret-sum")


def private_of(request: Request, devices: int) -> Private | None:
    """What the run's rounds need to know; None: it is not private.

    Args:
        devices: enrolled.
    Raises:
        BudgetInvalid: noise without a budget, numbers out of range, or noise by devices without a secret sum.
    """
    refuse_without_budget(request)
    if not request.epsilon_max:
        return None
    usual: NoiseBy = "devices" if request.secret_sum else "coordinator"
    noise_by: NoiseBy = usual if request.noise_by == "auto" else request.noise_by
    known: Accountant = "rdp" if noise_by == "devices" else "pld"
    kind: Accountant = known if request.accountant == "auto" else request.accountant
    budget = Budget(epsilon=request.epsilon_max, delta=request.delta, accountant=kind)
    multiplier = request.noise or accountant.noise_for(budget, request.rate, request.rounds, noise_by)
    adaptive = _adaptive(request, request.rate * devices)
    if adaptive is not None:
        clipping.vector_multiplier(multiplier, adaptive)
    return Private(
        population=request.population,
        budget=budget,
        noise_multiplier=multiplier,
        rate=request.rate,
        devices=devices,
        noise_by=noise_by,
        adaptive=adaptive,
    )


def _adaptive(request: Request, expected: float) -> Adaptive | None:
    if not request.clip_quantile:
        return None
    return Adaptive(
        quantile=request.clip_quantile,
        learning_rate=request.clip_lr,
        count_noise=request.count_noise or max(1.0, expected / 20.0),
    )


def claim_of(home: Path, bundle: str, private: Private | None, clip_norm: float, done: list[Round]) -> str:
    """The run's claim: everything that the population has spent on the bundle, or that there is no ε."""
    if private is None:
        return accountant.clipped_only(clip_norm, len(done), min((row.reports for row in done), default=0)).text
    for account in PrivacyStore(home).accounts(bundle):
        if account.population == private.population:
            claimed = accountant.claim(account.spent, account.budget.delta, account.budget.accountant)
            told = f"{claimed.text} Population: {private.population}; counted over all its private runs of {bundle}."
            return f"{told} {_clipping_told(private.adaptive)}".rstrip()
    return accountant.claim([], private.budget.delta, private.budget.accountant).text


def _clipping_told(adaptive: Adaptive | None) -> str:
    if adaptive is None:
        return ""
    return (
        f"The clipping norm followed the {adaptive.quantile:g} quantile of the updates' norms by a count with noise of "
        f"{adaptive.count_noise:g} devices, which the multiplier accounts for."
    )
