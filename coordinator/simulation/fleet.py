"""What is assumed of every device of a fleet, drawn once: who is online when, how fast it is, who attacks.

Everything is a function of the seed and the device's number, in arrays over the whole fleet.
"""

import numpy as np
from numpy.typing import NDArray

from coordinator.simulation.plan import Plan

ONLINE, DROP_OUT, SLOW, LINE, ATTACKER, JITTER, COHORT, NOISE = range(100, 108)
"""What a draw is for; numbers that the devices' own draws do not use."""
LATENCIES = 4
"""Round trips of the line that an answer waits for: hand-shake, message, object, answer."""
SPREAD = 0.2
"""Of the logarithm of how long a device takes, around what is assumed."""

Bools = NDArray[np.bool_]
F64 = NDArray[np.float64]


class Fleet:
    """All devices."""

    def __init__(self, plan: Plan, devices: int, seed: int) -> None:
        self._plan, self.devices, self._seed = plan, devices, seed
        self.attacks: Bools = self._draw(ATTACKER) < plan.attackers.share
        slow = self._draw(SLOW) < plan.speed.slow
        self._pace: F64 = np.where(slow, plan.speed.slow_factor, 1.0)
        lines = np.array([[line.down_kbit_s, line.up_kbit_s, line.latency_ms] for line in plan.line])
        if len(lines):
            edges = np.cumsum([line.share for line in plan.line])
            kind = np.minimum(np.searchsorted(edges, self._draw(LINE), side="right"), len(lines) - 1)
            self._line: F64 | None = lines[kind]
        else:
            self._line = None

    def _draw(self, *purpose: int) -> F64:
        return np.random.default_rng((self._seed, *purpose)).random(self.devices)

    def online(self, hour: int) -> Bools:
        """Who is online in an hour since the start."""
        return self._draw(ONLINE, hour) < self._plan.population.online[hour % 24]

    def drops_out(self, number: int) -> Bools:
        """Who would not answer in a round."""
        return self._draw(DROP_OUT, number) < self._plan.population.drop_out

    def down_bytes_s(self) -> F64:
        """How fast each device's line brings something; inf: no line is assumed."""
        return np.full(self.devices, np.inf) if self._line is None else self._line[:, 0] * 125.0

    def answer_s(self, number: int, device: int, down: int, up: int, steps: int) -> float:
        """Seconds from a round's message until the device's answer is here.

        Args:
            number: of the round.
            down, up: bytes.
            steps: of the optimiser.
        """
        speed = self._plan.speed
        jitter = float(np.exp(SPREAD * np.random.default_rng((self._seed, JITTER, number, device)).standard_normal()))
        took = speed.start_s + steps * speed.step_ms / 1_000 * float(self._pace[device])
        if self._line is not None:
            down_kbit, up_kbit, latency_ms = self._line[device].tolist()
            took += LATENCIES * latency_ms / 1_000 + down / (125.0 * down_kbit) + up / (125.0 * up_kbit)
        return took * jitter

    def cohort_dice(self, number: int) -> np.random.Generator:
        """Who is asked."""
        return np.random.default_rng((self._seed, COHORT, number))

    def noise_dice(self, number: int) -> np.random.Generator:
        """The noise of a private round. Seeded, so that a simulation repeats; a real one's never is."""
        return np.random.default_rng((self._seed, NOISE, number))
