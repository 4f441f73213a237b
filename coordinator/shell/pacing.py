"""How long a run may take, and over how long its devices come: from its job alone."""

from coordinator import rounds
from coordinator.shell.job import Job

STAGES = 4
"""Messages that a device answers in a secret sum, each within the deadline."""
DEVICES_A_SECOND = 50.0
"""How fast a fleet comes when nobody says otherwise: each that comes costs a TLS handshake and a few calls."""


def spread_s(devices: int, asked: float | None) -> float:
    """Seconds over which so many devices come."""
    return devices / DEVICES_A_SECOND if asked is None else asked


def longest_s(job: Job) -> float:
    """Seconds after which a run's rounds are over in any case."""
    once = job.join_s + job.deadline_s * (STAGES if job.secret is not None else 1)
    waits = sum(rounds.back_off_s(job.back_off_s, attempt) for attempt in range(1, job.retries + 1))
    return job.spread_s + job.rounds * (once * (1 + job.retries) + waits)


def closes_ms(job: Job, now_s: float) -> int:
    """When the offer closes, unix ms."""
    return int((now_s + longest_s(job)) * 1_000)
