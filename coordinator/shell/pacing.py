"""How long a run may take, and over how long its devices come: from its job alone."""

from coordinator import rounds
from coordinator.shell.job import Job

STAGES = 4
"""Messages that a device answers in a secret sum, each within the deadline."""
DEVICES_A_SECOND = 50.0
"""How fast a fleet comes when nobody says otherwise: each that comes costs a TLS handshake and a few calls."""

WINDOW_S_MIN = 1.0
"""A shorter window is none: agents look at offers once a second."""
START_S = 5.0
"""From a device's turn until its learner is online: the agent's next look, a process, a handshake."""


def spread_s(devices: int, asked: float | None) -> float:
    """Seconds over which so many devices come."""
    return devices / DEVICES_A_SECOND if asked is None else asked


def window_s(job: Job) -> float:
    """Seconds over which devices are asked to begin, each at its own moment; 0: at once."""
    return job.spread_s if job.spread_s >= WINDOW_S_MIN else 0.0


def come_s(job: Job) -> float:
    """Seconds after which every device has had its turn to come."""
    window = window_s(job)
    return window + START_S if window else job.spread_s


def longest_s(job: Job) -> float:
    """Seconds after which a run's rounds are over in any case."""
    once = job.join_s + job.deadline_s * (STAGES if job.secret is not None else 1)
    waits = sum(rounds.back_off_s(job.back_off_s, attempt) for attempt in range(1, job.retries + 1))
    return come_s(job) + job.rounds * (once * (1 + job.retries) + waits)


def closes_ms(job: Job, now_s: float) -> int:
    """When the offer closes, unix ms."""
    return int((now_s + longest_s(job)) * 1_000)
