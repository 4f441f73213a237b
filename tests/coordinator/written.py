"""Runs as a database has them, written by the real stores without a SuperLink."""

from collections.abc import Sequence
from pathlib import Path

from coordinator.accountant import Budget
from coordinator.rounds import Round
from coordinator.shell.job import Job, Private
from coordinator.shell.private_run import enter
from coordinator.shell.request import Request
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store

NOW_MS = 1_800_000_000_000
PRIVATE = Private(
    population="homes", budget=Budget(epsilon=8.0, delta=1e-5), noise_multiplier=2.0, rate=0.2, devices=100
)


def job_of(home: Path, key: str, private: Private | None = None) -> Job:
    """A job of three rounds."""
    return Job(
        home=str(home),
        key=key,
        bundle="nowhere.edgeward",
        rounds=3,
        minimum_reports=1,
        epochs=1,
        lr=0.1,
        batch=8,
        negatives=1,
        clip_norm=1.0,
        private=private,
    )


def begin(home: Path, key: str, private: Private | None = None, started_ms: int = NOW_MS) -> Store:
    """A run of `affinity` 1.0.0 that has begun."""
    request = Request(bundle="affinity", rounds=3)
    RunStore(home).begin(key, "affinity", "1.0.0", request, job_of(home, key, private), started_ms)
    (home / "runs" / key).mkdir(parents=True)
    return Store(home)


def spend(home: Path, key: str, numbers: Sequence[int]) -> None:
    """Enter what private rounds cost."""
    job = job_of(home, key, PRIVATE)
    for number in numbers:
        enter(job, PRIVATE, number, "affinity")


def row(key: str, number: int, **more: object) -> Round:
    """A published round, but for what is said."""
    usual: dict[str, object] = {
        "state": "published",
        "asked": 10,
        "reports": 8,
        "refused": 1,
        "late": 1,
        "loss_before": 1.0 / number,
        "loss_after": 0.9 / number,
        "bytes_up": 123_456,
        "bytes_down": 456_789,
        "seconds": 2.5,
    }
    return Round(run=key, number=number, **{**usual, **more})  # type: ignore[arg-type]
