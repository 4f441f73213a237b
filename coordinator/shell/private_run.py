"""What a run is asked to cost in privacy, and what it may claim afterwards."""

from pathlib import Path

from coordinator import accountant
from coordinator.accountant import Accountant, Budget, Spend
from coordinator.errors import BudgetInvalid
from coordinator.rounds import Round
from coordinator.shell.job import Private
from coordinator.shell.privacy_store import PrivacyStore

EVERYONE = "all"
"""The population of a coordinator that does not name one."""


def refuse_beyond_budget(home: Path, bundle: str, private: Private, rounds: int) -> None:
    """Refuse a run before anyone is asked, when its rounds would cost more than is left.

    Raises:
        PrivacyRefused: so much is not left.
    """
    spent = [a.spent for a in PrivacyStore(home).accounts(bundle) if a.population == private.population]
    more = Spend(noise_multiplier=private.noise_multiplier, rate=private.rate, rounds=rounds)
    accountant.refuse_beyond(private.budget, spent[0] if spent else [], more)


def private_of(
    epsilon_max: float,
    delta: float,
    kind: Accountant,
    noise: float,
    rate: float,
    population: str,
    rounds: int,
    devices: int,
) -> Private | None:
    """What the run's rounds need to know; None: it is not private.

    Args:
        epsilon_max: the population's budget for this bundle, over all its runs; 0: none.
        noise: multiplier; 0: the smallest that keeps this run's rounds within the budget.
        rate: probability with which a round asks a device.
        devices: enrolled.
    Raises:
        BudgetInvalid: noise without a budget, or numbers out of range.
    """
    if not epsilon_max:
        if noise or rate < 1.0:
            raise BudgetInvalid("noise or sampling without a budget", hint="add --epsilon-max, such as 8")
        return None
    budget = Budget(epsilon=epsilon_max, delta=delta, accountant=kind)
    multiplier = noise or accountant.noise_for(budget, rate, rounds)
    return Private(population=population, budget=budget, noise_multiplier=multiplier, rate=rate, devices=devices)


def claim_of(home: Path, bundle: str, private: Private | None, clip_norm: float, done: list[Round]) -> str:
    """The run's claim: everything that the population has spent on the bundle, or that there is no ε."""
    if private is None:
        return accountant.clipped_only(clip_norm, len(done), min((row.reports for row in done), default=0)).text
    for account in PrivacyStore(home).accounts(bundle):
        if account.population == private.population:
            claimed = accountant.claim(account.spent, account.budget.delta, account.budget.accountant)
            return f"{claimed.text} Population: {private.population}; counted over all its private runs of {bundle}."
    return accountant.claim([], private.budget.delta, private.budget.accountant).text
