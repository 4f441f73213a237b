"""What is told of runs, their rounds, and what was spent on privacy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordinator import accountant
from coordinator.accountant import Accountant, Spend
from coordinator.errors import UnknownRun
from coordinator.shell.hold import APP_LOCK, COMMAND_LOCK, is_held
from coordinator.shell.privacy_store import Account, PrivacyStore
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Run, Store

Reckon = Callable[[Sequence[Spend], float, Accountant], float]
"""(what was spent, δ, accountant) → ε; whoever cannot wait for it may answer with a number that is none."""


def rounds_table(home: Path, reckon: Reckon = accountant.epsilon) -> list[dict[str, Any]]:
    """Runs with their rounds, newest first."""
    store = Store(home)
    return [
        {
            **msgspec.to_builtins(run),
            "state": state_of(home, run),
            "epsilon": next(iter(epsilon_by_round(home, run, most=1, reckon=reckon).values()), None),
            "rounds": [msgspec.to_builtins(row) for row in store.rounds(run.key)],
        }
        for run in store.runs()
    ]


def state_of(home: Path, run: Run) -> str:
    """How a run stands: published, failed, running (a command drives it), at work (its server app lives), cut off."""
    folder = home / "runs" / run.key
    if run.ended:
        return "published" if run.result else "failed"
    if is_held(folder / COMMAND_LOCK):
        return "running"
    return "at work" if is_held(folder / APP_LOCK) else "cut off"


def run_told(home: Path, key: str, reckon: Reckon = accountant.epsilon) -> dict[str, Any]:
    """One run with every attempt of every round, and what had been spent once each was entered.

    Raises:
        UnknownRun: there is none of this key.
    """
    store = Store(home)
    run = store.run(key)
    if run is None:
        raise UnknownRun(f"no run `{key}`", hint="edge-coordinator rounds ls")
    spent = epsilon_by_round(home, run, reckon=reckon)
    rows = [{**msgspec.to_builtins(row), "epsilon": spent.get(row.number)} for row in store.attempts(key)]
    newest = {row.number: row.attempt for row in store.rounds(key)}
    for row in rows:
        if row["attempt"] != newest[row["round"]]:
            row["epsilon"] = None  # it was entered for the attempt that came to a result
    return {**msgspec.to_builtins(run), "state": state_of(home, run), "fix": fix_of(home, run), "rounds": rows}


def account_of(home: Path, run: Run) -> Account | None:
    """What a run's population may spend on its bundle and has spent, over all runs; None: the run is not private."""
    try:
        private = RunStore(home).plan(run.key).job.private
    except UnknownRun:
        return None
    if private is None:
        return None
    held = PrivacyStore(home).accounts(run.bundle)
    empty = Account(population=private.population, budget=private.budget, spent=[])
    return next((account for account in held if account.population == private.population), empty)


def epsilon_by_round(
    home: Path, run: Run, most: int | None = None, reckon: Reckon = accountant.epsilon
) -> dict[int, float]:
    """Round → ε of its population on the bundle once it was entered; empty for a run that is not private.

    Args:
        most: so many of the rounds, evenly, the last among them: each takes the accountant a moment. None: all.
    """
    account = account_of(home, run)
    if account is None:
        return {}
    entered = PrivacyStore(home).entries(run.bundle, account.population)
    own = [(number, n) for n, (key, number, _) in enumerate(entered, 1) if key == run.key]
    if most is not None and len(own) > most:
        own = [own[-1 - round(n * (len(own) - 1) / max(1, most - 1))] for n in range(most)][::-1]
    budget = account.budget
    return {
        number: reckon([row for _, _, row in entered[:upto]], budget.delta, budget.accountant) for number, upto in own
    }


def spent(home: Path, bundle: str, reckon: Reckon = accountant.epsilon) -> list[dict[str, Any]]:
    """What each population has spent on a bundle, over all runs, and what it has left."""
    told = []
    for account in PrivacyStore(home).accounts(bundle):
        budget = account.budget
        reached = reckon(account.spent, budget.delta, budget.accountant)
        left = budget.epsilon - reached
        told.append(
            {
                "population": account.population,
                "epsilon": reached,
                "epsilon_max": budget.epsilon,
                "left": max(left, 0.0),  # not `max`: what is not known yet is not 0
                "delta": budget.delta,
                "accountant": budget.accountant,
                "unit": accountant.UNIT,
                "rounds": sum(row.rounds for row in account.spent),
            }
        )
    return told


def fix_of(home: Path, run: Run) -> str:
    """How a run can be gone on with; empty: it runs, or it is over for good."""
    state = state_of(home, run)
    if state == "failed":
        try:
            if RunStore(home).plan(run.key).given_up:
                return ""
        except UnknownRun:
            return ""
    if state in ("cut off", "at work", "failed"):
        return f"edge-coordinator rounds resume {run.key}, or rounds abandon {run.key} --reason WHY"
    return ""
