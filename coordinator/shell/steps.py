"""A round's steps, each written down before the next: what is on disk always says how a run that is cut off goes on."""

import time
from pathlib import Path

from flwr.serverapp import Grid
from msgspec.structs import replace

from coordinator import aggregate, rounds
from coordinator.errors import AggregationFailed, PrivacyRefused, RoundError, TooFewReports
from coordinator.rounds import Round
from coordinator.shell import checkpoint, fault, kept
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.clip_path import as_clipped
from coordinator.shell.combining import combined
from coordinator.shell.job import Job
from coordinator.shell.late import Late
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.round import Asking, Gathered, gather, put
from coordinator.shell.store import Store
from models.bundle import open_bundle


class Steps:
    """Takes a job's rounds from state to state."""

    def __init__(self, grid: Grid, job: Job, store: Store, late: Late, not_before: float) -> None:
        self._job, self._store, self._late = job, store, late
        self._folder = Path(job.home) / "runs" / job.key
        self.bundle = open_bundle(Path(job.bundle))
        self._asking = Asking(
            grid=grid,
            store=store,
            not_before=not_before,
            meanwhile=late.poll,
            keep=lambda found: kept.keep(job, found),
        )

    def start(self) -> Checkpoint:
        """Where the run stands before its first round."""
        weights = self.bundle.weights()
        return Checkpoint(shared={p.name: weights[p.name] for p in self.bundle.spec.of_share("shared")})

    def result(self, row: Round) -> Checkpoint:
        """Where the run stood after a round.

        Raises:
            CheckpointDamaged: its file is gone or damaged.
        """
        return checkpoint.load(self._path(row), row.checkpoint)

    def through(self, number: int, row: Round | None, before: Checkpoint) -> Checkpoint:
        """Bring a round to its end from whatever state it is in; returns where the run stands then.

        Raises:
            TooFewReports, AggregationFailed: also after all retries.
            PrivacyRefused: the budget does not allow it.
        """
        found = kept.kept(self._job, number)
        match rounds.course(row, kept=found is not None, released=self._is_released(number)):
            case "done" if row is not None:
                return self.result(row)
            case "account" if row is not None:
                after = self.result(row)
                self._account(row)
                return after
            case "combine" if row is not None and found is not None:
                return self._combine(replace(found, row=row), before)
            case "lost" if row is not None:
                self._abandon(row, "it was cut off after its sum was seen; asking again would cost a second time")
                return before
            case _:
                return self._try(self.next_attempt(number, row), before)

    def _combine(self, found: Gathered, before: Checkpoint) -> Checkpoint:
        """From reports that were kept; where they give nothing, the devices are asked again, unless it costs twice."""
        try:
            return self._conclude(found, before)
        except AggregationFailed as error:
            self._abandon(found.row, error.what)
            if self._is_released(found.row.number):
                return before
            return self._try(rounds.again(found.row), before)
        except RoundError as error:
            self._abandon(found.row, error.what)
            raise

    def next_attempt(self, number: int, row: Round | None) -> Round:
        """A new attempt of a round; one that was cut off is abandoned."""
        if row is None:
            return Round(run=self._job.key, number=number)
        if row.state not in rounds.ENDED:
            self._abandon(row, f"the coordinator ended while it was {row.state}")
        return rounds.again(row)

    def _try(self, row: Round, before: Checkpoint) -> Checkpoint:
        """Ask, as often as the run allows; what is raised in the end is what went wrong first."""
        first: RoundError | None = None
        for left in range(self._job.retries, -1, -1):
            started = time.monotonic()
            row = put(self._store, row)
            fault.point("planned", row.number)
            try:
                found = gather(self._asking, as_clipped(self._job, before.state), row, self.bundle, before)
                self._late.watch(row.number, found.replies.unanswered)
                took = round(time.monotonic() - started, 3)
                return self._conclude(replace(found, row=replace(found.row, seconds=took)), before)
            except (TooFewReports, AggregationFailed) as error:
                self._abandon(self._newest(row.number), error.what)
                if self._is_released(row.number):
                    return before  # its price is paid; another sum would cost a second one
                first = first or error
                if not left:
                    raise first from None
            except RoundError as error:
                self._abandon(self._newest(row.number), error.what)
                raise
            time.sleep(rounds.back_off_s(self._job.back_off_s, row.attempt))
            row = rounds.again(row)
        raise AssertionError("the last attempt returns or raises")

    def _conclude(self, found: Gathered, before: Checkpoint) -> Checkpoint:
        """From reports to an accounted round. What it costs is entered by `combined`, before there is a result."""
        after = combined(as_clipped(self._job, before.state), found.row.number, before, found)
        fault.point("combined", found.row.number)
        # What the devices' losses say is in no account of privacy; in a secret sum nobody says it.
        loss = (0.0, 0.0) if self._job.private else aggregate.weighted(found.replies.reports)
        row = replace(rounds.advance(found.row, "aggregated"), loss_before=loss[0], loss_after=loss[1])
        self.seal(row, after)
        return after

    def seal(self, row: Round, after: Checkpoint) -> None:
        """An aggregated round's result, on disk and then in the round's row; and accounted."""
        row = replace(row, checkpoint=checkpoint.save(self._path(row), after))
        fault.point("saved", row.number)
        put(self._store, row)
        fault.point("aggregated", row.number)
        self._account(row)

    def _account(self, row: Round) -> None:
        """The round's cost is entered: say so, and let go of what it took.

        Raises:
            PrivacyRefused: nothing was entered for it.
        """
        if self._job.private is not None and not self._is_spent(row.number):
            raise PrivacyRefused(f"round {row.number} was not entered in the account", hint="report this as a bug")
        put(self._store, rounds.advance(row, "accounted"))
        fault.point("accounted", row.number)
        kept.forget(self._job, row.number)
        for path in self._folder.glob("round-*.npz"):
            if path != self._path(row):
                path.unlink(missing_ok=True)

    def _abandon(self, row: Round, reason: str) -> None:
        kept.forget(self._job, row.number)
        if row.state not in rounds.ENDED:
            put(self._store, rounds.abandon(row, reason))

    def _newest(self, number: int) -> Round:
        return next(row for row in self._store.rounds(self._job.key) if row.number == number)

    def _is_released(self, number: int) -> bool:
        """Whether a sum with the devices' own noise may have been seen: it was paid for before the masks came off."""
        return kept.by_devices(self._job) and self._is_spent(number)

    def _is_spent(self, number: int) -> bool:
        return PrivacyStore(Path(self._job.home)).is_entered(self._job.key, number)

    def _path(self, row: Round) -> Path:
        return self._folder / f"round-{row.number}.{row.attempt}.npz"
