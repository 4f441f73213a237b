"""What Gaussian noise is worth as (ε, δ), exactly and with nothing but arithmetic: for devices and auditors.

Many releases with Gaussian noise are together as private as one whose μ² is the sum of theirs, μ being how far the
releases of two neighbours are apart in standard deviations of the noise. `dp-accounting` says the same, where it is
installed; a test holds the two together.

Source: Balle, Wang 2018, "Improving the Gaussian Mechanism for Differential Privacy", theorem 8; Dong, Roth, Su 2022,
"Gaussian Differential Privacy", corollary 3.3, for the sum.
"""

import math

EPSILON_MOST = 1e6
LOCAL_SENSITIVITY = 2.0
"""Any two updates of one device, each of norm 1 or less, are at most so far apart."""


def local_mu_squared(noise_multiplier: float) -> float:
    """μ² of one update to which its own device added noise.

    Local privacy hides which of any two updates it was, and these are twice the clipping norm apart, not once.

    Args:
        noise_multiplier: standard deviation of each coordinate's noise, in units of the clipping norm; above 0.
    """
    return (LOCAL_SENSITIVITY / noise_multiplier) ** 2


def sum_mu_squared(noise_multiplier: float) -> float:
    """μ² of one sum with noise on it, for a device that is in the sum or is not: they are the clipping norm apart.

    Args:
        noise_multiplier: standard deviation of each number's noise in the sum, in units of the clipping norm; above 0.
    """
    return noise_multiplier**-2


def delta(epsilon: float, mu_squared: float) -> float:
    """The smallest δ with which it is (ε, δ)-private."""
    if mu_squared <= 0.0:
        return 0.0
    mu = math.sqrt(mu_squared)
    near, far = mu / 2.0 - epsilon / mu, mu / 2.0 + epsilon / mu
    # e^ε Φ(-far), without e^ε, which would overflow: ε - far²/2 = -near²/2.
    behind = 0.5 * _scaled_erfc(far / math.sqrt(2.0)) * math.exp(-(near**2) / 2.0)
    return max(0.0, 0.5 * math.erfc(-near / math.sqrt(2.0)) - behind)


def epsilon(mu_squared: float, target_delta: float) -> float:
    """The smallest ε with which it is (ε, δ)-private, to 1e-9 above; infinity where that is above a million.

    Args:
        mu_squared: of all releases together; 0: nothing was released.
        target_delta: δ, in (0, 1).
    """
    low, high = 0.0, 1.0
    if delta(0.0, mu_squared) <= target_delta:
        return 0.0
    while delta(high, mu_squared) > target_delta:
        low, high = high, 2.0 * high
        if high > EPSILON_MOST:
            return math.inf
    while high - low > 1e-9 * max(1.0, high):
        middle = (low + high) / 2.0
        low, high = (low, middle) if delta(middle, mu_squared) <= target_delta else (middle, high)
    return high


def _scaled_erfc(x: float) -> float:
    """exp(x²) · erfc(x), for x above -6."""
    if x < 25.0:
        return math.exp(x * x) * math.erfc(x)
    square = 2.0 * x * x
    return (1.0 - 1.0 / square + 3.0 / square**2) / (x * math.sqrt(math.pi))
