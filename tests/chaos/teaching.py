"""The week's federated run: secret sums with the devices' own noise, begun as an operator would, cut, and gone on with.

The command, its resumption and its end are `edge-coordinator train` and `rounds resume|abandon`; here is only who calls
them when, and what the books say afterwards.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from coordinator.rounds import ENDED
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.store import Run, Store
from firmware_configs import ledger, ledger_evidence
from tests.chaos.fleet import LAMP, Fleet

if TYPE_CHECKING:
    from coordinator.rounds import Round

POPULATION = "houses"
ROUNDS = 2
TRIES_MAX = 4
"""Commands of one run, before it is given up: an operator resumes what failed."""
TRAIN = (
    *("train", LAMP, "--rounds", str(ROUNDS), "--secret-sum", "--vanish", "0.4", "--clip-norm", "1"),
    *("--epsilon-max", "50", "--population", POPULATION, "--minimum-reports", "3", "--retries", "3"),
    *("--join-s", "40", "--deadline-s", "20", "--wait-s", "0", "--spread-s", "0", "--back-off-s", "1"),
)


class Taught(Struct, frozen=True, kw_only=True):
    """What became of the run."""

    state: str
    """finished, abandoned, or what hinders it."""
    rounds: tuple[str, ...]
    """Each: its state, its attempts, and reports of asked."""
    killed_in: str
    """State of the round that was open when the coordinator was killed."""
    commands: int
    entered: int
    """Rounds whose cost the coordinator's account has."""
    published: int
    reveals: int
    """Ledger rows by which devices let a mask come off."""
    double_spent: int
    """Reveals of a device beyond the rounds entered, and rounds published that were not."""
    offers_left: int
    """Devices that are still offered the run."""


class Teaching:
    """One federated run.

    Attributes:
        is_over: whether nothing more is done about it: it has ended well, or was tried often enough.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._command: subprocess.Popen[bytes] | None = None
        self._commands = 0
        self.killed_in = "before it opened"
        self.is_over = False

    @property
    def run(self) -> Run | None:
        """As the coordinator knows it."""
        return next((run for run in Store(self._fleet.home).runs() if run.bundle == LAMP), None)

    @property
    def is_open(self) -> bool:
        """Whether its first round asks devices, or did."""
        return any(row.state != "planned" for row in self._rounds())

    @property
    def result(self) -> str:
        """The version that was made of it; empty: none."""
        run = self.run
        return run.result if run is not None and run.ended else ""

    def tend(self) -> None:
        """Go on with it where its command has ended and the coordinator is there."""
        if self.is_over:
            return
        if self._command is not None:
            if self._command.poll() is None:
                return
            self._command = None
        run = self.run
        if self._commands >= TRIES_MAX or (run is not None and run.ended and run.result):
            self.is_over = True
        elif self._fleet.coordinator_answers:
            words = TRAIN if run is None else ("rounds", "resume", run.key)
            self._commands += 1
            self._command = self._fleet.begin("train", "edge-coordinator", *words, "--home", str(self._fleet.home))

    def kill_coordinator(self) -> None:
        """In whatever state the run is."""
        under_way = [row for row in self._rounds() if row.state not in ENDED]
        self.killed_in = f"round {under_way[-1].number} {under_way[-1].state}" if under_way else "between rounds"
        self._fleet.kill("coordinator")

    def give_up(self) -> None:
        """What has not ended by now is abandoned."""
        if self._command is not None:
            self._command.kill()
            self._command.wait()
            self._command = None
        run = self.run
        if run is not None and not run.ended:
            words = ("rounds", "abandon", run.key, "--reason", "the week is over", "--home", str(self._fleet.home))
            try:
                self._fleet.call("edge-coordinator", *words)
            except subprocess.SubprocessError as error:
                print(f"the run could not be abandoned: {error}", file=sys.stderr)

    def _rounds(self) -> "list[Round]":
        run = self.run
        return Store(self._fleet.home).rounds(run.key) if run is not None else []

    def books(self) -> Taught:
        """What became of it, and whether each noised sum was paid for once."""
        store, run = Store(self._fleet.home), self.run
        rows = self._rounds()
        attempts = Counter(row.number for row in store.attempts(run.key)) if run is not None else Counter()
        entries = PrivacyStore(self._fleet.home).entries(LAMP, POPULATION)
        published = sum(row.state == "published" for row in rows)
        reveals = [_reveals(self._fleet.state_of(device)) for device in self._fleet.nodes]
        done = run is not None and run.ended and bool(run.result) and not run.failure
        gone = run is not None and run.ended and all(row.state in ENDED for row in rows)
        return Taught(
            state="finished" if done else "abandoned" if gone else f"left open: {run}",
            rounds=tuple(
                f"{row.state}, {attempts[row.number]} attempts, {row.reports} of {row.asked}, {row.reason}".rstrip(", ")
                for row in rows
            ),
            killed_in=self.killed_in,
            commands=self._commands,
            entered=len(entries),
            published=published,
            reveals=sum(reveals),
            double_spent=sum(max(0, own - len(entries)) for own in reveals) + max(0, published - len(entries)),
            offers_left=sum(store.desired(device).offer is not None for device in self._fleet.devices),
        )


def _reveals(state: Path) -> int:
    """How many noised sums a device helped to unmask, by its ledger."""
    rows = (ledger.unpack(one) for one in ledger_evidence.read(state).rows)
    return sum(row.kind == "update" and "stage reveal" in row.privacy for row in rows)
