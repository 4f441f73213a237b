"""The server app: runs a job's rounds on Flower's grid. The SuperLink starts it in a process of its own."""

import os
import time
from pathlib import Path

import msgspec
import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import aggregate, cohort, robust, rounds
from coordinator.accountant import Budget, Spend
from coordinator.errors import RoundError, TooFewReports
from coordinator.rounds import Round
from coordinator.rule_names import Rule
from coordinator.shell import grid as nodes
from coordinator.shell.grid import Replies
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.store import Store
from models import arrays as tensors
from models import flat
from models.bundle import Bundle, open_bundle

F32 = NDArray[np.float32]

app = ServerApp()


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
    seed: int = 0
    rule: Rule | None = None
    """How updates are combined where some devices may be hostile; None: their weighted mean."""
    hostile_share: float = 0.2
    private: Private | None = None


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job that the run's configuration names."""
    path = Path(str(context.run_config["job"]))
    job = msgspec.json.decode(path.read_bytes(), type=Job)
    store = Store(Path(job.home))
    nodes.hurry()
    try:
        shared = _run(grid, job, store)
    except RoundError as error:
        store.end(job.key, failure=f"{error.what}; {error.hint}")
        return
    except Exception as error:
        # The command that waits must hear of it; the traceback goes to the SuperLink's log.
        store.end(job.key, failure=f"the server app failed: {type(error).__name__}: {error}")
        raise
    # The command that started the run signs and publishes; it waits for this file.
    draft = path.with_name("result.part")
    draft.write_bytes(tensors.pack(shared))
    draft.replace(path.with_name("result.npz"))


def _run(grid: Grid, job: Job, store: Store) -> dict[str, F32]:
    bundle = open_bundle(Path(job.bundle))
    weights = bundle.weights()
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    for number in range(1, job.rounds + 1):
        row = _put(store, Round(run=job.key, number=number))
        started = time.monotonic()
        try:
            row, replies = _ask(grid, job, store, row, bundle, shared)
            shared = _combined(job, number, shared, replies)
        except RoundError as error:
            newest = store.rounds(job.key)[-1]
            _put(store, rounds.abandon(newest, error.what))
            raise
        # What the devices' losses say is in no account of privacy.
        before, after = (0.0, 0.0) if job.private else aggregate.weighted(replies.reports)
        row = _put(
            store,
            msgspec.structs.replace(
                rounds.advance(row, "aggregated"),
                loss_before=before,
                loss_after=after,
                seconds=round(time.monotonic() - started, 3),
            ),
        )
        _put(store, rounds.advance(row, "accounted"))
    return shared


def _combined(job: Job, number: int, shared: dict[str, F32], replies: Replies) -> dict[str, F32]:
    """The shared parameters after the round; what it costs in privacy is entered before there is anything to see.

    Raises:
        AggregationFailed: nothing finite, or too few reports for the rule.
        PrivacyRefused: the budget does not allow the round.
    """
    if job.private is not None:
        own = job.private
        spend = Spend(noise_multiplier=own.noise_multiplier, rate=own.rate)
        name = open_bundle(Path(job.bundle)).spec.name
        PrivacyStore(Path(job.home)).spend(name, own.population, own.budget, job.key, number, spend)
        updates = aggregate.rows(shared, replies.reports)
        expected = own.rate * own.devices
        noised = aggregate.private(updates, job.clip_norm, own.noise_multiplier, expected, _secret_dice())
        return aggregate.moved(shared, noised)
    if job.rule is not None:
        found = robust.combine(job.rule, aggregate.rows(shared, replies.reports), job.hostile_share)
        return aggregate.moved(shared, found.update)
    return aggregate.average(shared, replies.reports)


def _secret_dice() -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(os.urandom(32)))


def _ask(
    grid: Grid, job: Job, store: Store, row: Round, bundle: Bundle, shared: dict[str, F32]
) -> tuple[Round, Replies]:
    """Choose the nodes, ask them, and close the round.

    Raises:
        TooFewReports: too few nodes, or too few of them gave a usable report.
    """
    needed = job.minimum_reports
    there = nodes.online(grid, max(needed, job.wanted), job.join_s)
    if job.private is not None:
        asked = cohort.sample(there, job.private.rate, _secret_dice())
    else:
        dice = np.random.default_rng([job.seed, row.number])
        asked = cohort.select(there, job.wanted, job.over_selection, dice)
    row = _put(store, msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked)))
    if len(asked) < needed:
        raise TooFewReports(
            f"{len(asked)} nodes are online, {needed} reports are needed",
            hint="are the agents up, do they have examples and consent? see `reported.learning` of each device",
        )
    parameters = bundle.spec.of_share("shared")
    plan = {
        "bundle": bundle.spec.name,
        "version": bundle.spec.version,
        "names": [parameter.name for parameter in parameters],
        "round": row.number,
        "rounds": job.rounds,
        "epochs": job.epochs,
        "lr": job.lr,
        "batch": job.batch,
        "negatives": job.negatives,
        "clip_norm": job.clip_norm,
        "prox_mu": job.prox_mu,
        "seed": job.seed,
    }
    vector = flat.join(parameters, shared)
    replies = nodes.ask(
        grid,
        asked,
        vector,
        plan,
        parameters,
        # Stopping early at the fastest would choose among those that the coin chose.
        wanted=0 if job.private else job.wanted,
        deadline_s=job.deadline_s,
    )
    row = _put(
        store,
        msgspec.structs.replace(
            rounds.advance(row, "closing"),
            reports=len(replies.reports),
            refused=len(replies.refusals),
            bytes_up=replies.bytes_up,
            bytes_down=replies.bytes_down,
        ),
    )
    if len(replies.reports) < needed:
        said = f"; said no: {'; '.join(sorted(set(replies.refusals))[:3])}" if replies.refusals else ""
        raise TooFewReports(
            f"{len(replies.reports)} usable reports of {len(asked)}, {needed} are needed{said}",
            hint="raise --deadline-s, or see the agents' logs",
        )
    return row, replies


def _put(store: Store, row: Round) -> Round:
    store.put_round(row)
    return row
