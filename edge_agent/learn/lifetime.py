"""What a person may still be worth, from three numbers: how often, how lately, and how much on average.

A person acts at rate λ while active and stays away for good at rate μ (Pareto/NBD's account of one person; Schmittlein,
Morrison and Colombo 1987, "Counting Your Customers"). μ is declared (1 / `lifetime_days`); λ is the posterior mean of a
Gamma prior that is declared too (`prior_events` in `prior_days`), taken as if it were known. Then

    P(active) = 1 / (1 + μ / (λ + μ) · (e^((λ + μ) · silence) - 1))
    value     = mean value · λ · P(active) · (1 - e^(-(μ + δ) · horizon)) / (μ + δ)       (δ: continuous discounting)

What it cannot do: it integrates neither over λ nor over μ (a fit to a population would), it knows no seasons and no
trend, and it takes the value of an event to be independent of how often there is one.
"""

from math import exp, expm1, log1p

from msgspec import Struct

from firmware_configs.profile import LifetimeValue

DAY_MS = 86_400_000
YEAR_DAYS = 365.25
EXPONENT_MAX = 700.0
"""e to more than this is no float64."""


class Purchases(Struct, array_like=True):
    """One person's events of a metric, as they are kept."""

    count: int = 0
    total: float = 0.0
    first_ms: int = 0
    last_ms: int = 0

    def take(self, value: float, at_ms: int) -> None:
        """One more event; events may come in any order."""
        self.first_ms = min(self.first_ms, at_ms) if self.count else at_ms
        self.last_ms = max(self.last_ms, at_ms) if self.count else at_ms
        self.count += 1
        self.total += value


def lifetime_value(model: LifetimeValue, seen: Purchases, now_ms: int) -> float:
    """Expected discounted value of the next `horizon_days`.

    Args:
        seen: what the person did until now.
        now_ms: unix ms; not before the newest event.
    Returns:
        In the unit of the values; never negative.
    """
    watched_days = max(0, now_ms - seen.first_ms) / DAY_MS if seen.count else 0.0
    rate = (model.prior_events + seen.count) / (model.prior_days + watched_days)
    leaving = 1.0 / model.lifetime_days
    # The prior's mean weighs as much as one event.
    mean = (model.prior_value + seen.total) / (1.0 + seen.count)
    silent_days = max(0, now_ms - seen.last_ms) / DAY_MS if seen.count else 0.0
    ends = leaving + log1p(model.discount_year) / YEAR_DAYS
    ahead = -expm1(-ends * model.horizon_days) / ends
    return mean * rate * active(rate, leaving, silent_days) * ahead


def active(rate: float, leaving: float, silent_days: float) -> float:
    """The probability that a person who was silent for so long is still active, in [0, 1].

    Args:
        rate: events a day while active, > 0.
        leaving: 1 / mean days until a person stays away for good, > 0.
    """
    exponent = (rate + leaving) * silent_days
    if exponent > EXPONENT_MAX:
        return 0.0
    return 1.0 / (1.0 + leaving / (rate + leaving) * (exp(exponent) - 1.0))
