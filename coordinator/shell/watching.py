"""A run looked at again and again, from the coordinator's database alone: who looks changes nothing."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from coordinator import accountant
from coordinator.errors import UnknownRun
from coordinator.progress import Spent, Standing, same
from coordinator.shell.privacy_store import Account
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Run, Store
from coordinator.shell.told import account_of, fix_of, state_of

POLL_S = 0.5
STILL_S = 5.0
"""How long nothing may happen before one looks whether anybody drives the run.

To look takes the run's locks for a moment, which is why it is done seldom.
"""
TRIES = 2
"""How often nobody must be seen to drive it: a run is there a moment before its command holds it."""
RUNNING = "running"


def chosen(home: Path, key: str = "") -> str:
    """The run that is meant: this one, or the newest that has not ended, or the newest.

    Raises:
        UnknownRun: there is none.
    """
    runs = Store(home).runs()
    if not runs:
        raise UnknownRun("no run yet", hint="start one: edge-coordinator train BUNDLE --rounds 2")
    if not key:
        return next((run.key for run in runs if not run.ended), runs[0].key)
    if all(run.key != key for run in runs):
        raise UnknownRun(f"no run `{key}`", hint="edge-coordinator rounds ls")
    return key


class Watched:
    """One run. What it has spent is reckoned again only when another round was entered: it takes a second."""

    def __init__(self, home: Path, key: str) -> None:
        self._home, self._key = home, key
        self._store, self._plans = Store(home), RunStore(home)
        self._reckoned: tuple[Account, Spent] | None = None

    def look(self, *, driven: bool = True) -> Standing:
        """The run as it stands.

        Args:
            driven: take it for driven while it has not ended; False: look who holds it.
        Raises:
            UnknownRun: it is gone.
        """
        run = self._store.run(self._key)
        if run is None:
            raise UnknownRun(f"run {self._key} is gone", hint="edge-coordinator rounds ls")
        state = RUNNING if driven and not run.ended else state_of(self._home, run)
        return Standing(
            key=run.key,
            bundle=run.bundle,
            version=run.version,
            state=state,
            result=run.result,
            failure=run.failure,
            fix="" if state == RUNNING else fix_of(self._home, run),
            started_ms=run.started_ms,
            wanted=self._wanted(),
            rounds=tuple(self._store.attempts(run.key)),
            spent=self._spent(run),
        )

    def _wanted(self) -> int:
        try:
            return self._plans.plan(self._key).request.rounds
        except UnknownRun:
            return 0

    def _spent(self, run: Run) -> Spent | None:
        account = account_of(self._home, run)
        if account is None:
            return None
        if self._reckoned is None or self._reckoned[0] != account:
            budget = account.budget
            spent = Spent(
                population=account.population,
                epsilon=accountant.epsilon(account.spent, budget.delta, budget.accountant),
                epsilon_max=budget.epsilon,
                delta=budget.delta,
                accountant=budget.accountant,
            )
            self._reckoned = account, spent
        return self._reckoned[1]


def follow(
    watched: Watched,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Standing]:
    """The run whenever it has changed, from how it stands now to its end.

    Args:
        clock_s: monotonic seconds.
    Yields:
        At first how it stands; at last what is `over`.
    """
    before, still_since, unseen = watched.look(driven=False), clock_s(), 0
    if before.state in {"cut off", "at work"}:
        before, unseen = watched.look(), int(before.state == "cut off")
    yield before
    while not before.over:
        sleep(POLL_S)
        still = clock_s() - still_since >= STILL_S
        now = watched.look(driven=not still)
        if still:
            still_since, unseen = clock_s(), unseen + 1 if now.state == "cut off" else 0
            if now.state == "at work" or (now.state == "cut off" and unseen < TRIES):
                now = watched.look()
        if not same(now, before):
            if not now.over:
                still_since, unseen = clock_s(), 0
            before = now
            yield now
