"""What each population has spent on each bundle. A round's spending is written before its result is released.

A round is spent once: it is keyed by run and number, so a round that is resumed after a crash finds its own entry.
"""

import sqlite3
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.accountant import Budget, Spend, refuse_beyond
from coordinator.errors import PrivacyRefused
from coordinator.shell.database import opened, prepare


class Account(Struct, frozen=True, kw_only=True):
    """One population's account of one bundle."""

    population: str
    budget: Budget
    spent: list[Spend]


class PrivacyStore:
    """The accounts in a coordinator's home."""

    def __init__(self, home: Path) -> None:
        prepare(home)
        self._home = home

    def bundles(self) -> list[str]:
        """What something was spent on: bundles, and experiments as `experiment NAME`."""
        with opened(self._home, autocommit=True) as database:
            return [name for (name,) in database.execute("SELECT DISTINCT bundle FROM privacy_budget ORDER BY bundle")]

    def accounts(self, bundle: str, without: tuple[str, int] | None = None) -> list[Account]:
        """The bundle's accounts by population.

        Args:
            without: run and number of a round to leave out, whether it was entered or not.
        """
        with opened(self._home, autocommit=True) as database:
            rows = database.execute(
                "SELECT population, value FROM privacy_budget WHERE bundle = ? ORDER BY population", (bundle,)
            ).fetchall()
            return [
                Account(
                    population=population,
                    budget=msgspec.msgpack.decode(value, type=Budget),
                    spent=[spend for key, spend in _spent(database, bundle, population) if key != without],
                )
                for population, value in rows
            ]

    def spend(self, bundle: str, population: str, budget: Budget, run: str, number: int, spend: Spend) -> float:
        """Enter a round's spending; returns ε with it.

        The budget is the one that was first given for this bundle and population, or a smaller one.

        Raises:
            PrivacyRefused: the budget does not allow it, or the round was entered with other numbers; nothing is
                written.
        """
        with opened(self._home, autocommit=True) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                reached = self._enter(database, bundle, population, budget, run, number, spend)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            return reached

    def entries(self, bundle: str, population: str) -> list[tuple[str, int, Spend]]:
        """(run, round, what it cost), in the order in which they were entered."""
        with opened(self._home, autocommit=True) as database:
            return [(run, number, spend) for (run, number), spend in _spent(database, bundle, population)]

    def is_entered(self, run: str, number: int) -> bool:
        """Whether a round's spending was entered."""
        with opened(self._home, autocommit=True) as database:
            return bool(
                database.execute("SELECT 1 FROM privacy_spend WHERE run = ? AND round = ?", (run, number)).fetchone()
            )

    def _enter(
        self,
        database: sqlite3.Connection,
        bundle: str,
        population: str,
        budget: Budget,
        run: str,
        number: int,
        spend: Spend,
    ) -> float:
        kept = _lowest(database, bundle, population, budget)
        held = _spent(database, bundle, population)
        before = [row for key, row in held if key != (run, number)]
        reached = refuse_beyond(kept, before, spend)
        own = next((row for key, row in held if key == (run, number)), None)
        if own is not None and own != spend:
            raise PrivacyRefused(
                f"round {number} of {run} was entered with other numbers", hint="start a new run for other noise"
            )
        database.execute(
            "INSERT OR REPLACE INTO privacy_budget (bundle, population, value) VALUES (?, ?, ?)",
            (bundle, population, msgspec.msgpack.encode(kept)),
        )
        if own is None:
            database.execute(
                "INSERT INTO privacy_spend (run, round, bundle, population, value, spent_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (run, number, bundle, population, msgspec.msgpack.encode(spend), int(time.time() * 1_000)),
            )
        return reached


def _lowest(database: sqlite3.Connection, bundle: str, population: str, asked: Budget) -> Budget:
    """The stricter of the stored budget and the one that is asked for: nobody raises a budget by asking again.

    Raises:
        PrivacyRefused: the two state δ or accountant differently, so their ε cannot be compared.
    """
    row = database.execute(
        "SELECT value FROM privacy_budget WHERE bundle = ? AND population = ?", (bundle, population)
    ).fetchone()
    if row is None:
        return asked
    held = msgspec.msgpack.decode(row[0], type=Budget)
    if (held.delta, held.accountant) != (asked.delta, asked.accountant):
        raise PrivacyRefused(
            f"this population's budget is stated at δ = {held.delta:g} by {held.accountant.upper()}",
            hint=f"use --delta {held.delta:g} --accountant {held.accountant}",
        )
    return held if held.epsilon <= asked.epsilon else asked


def _spent(database: sqlite3.Connection, bundle: str, population: str) -> list[tuple[tuple[str, int], Spend]]:
    rows = database.execute(
        "SELECT run, round, value FROM privacy_spend WHERE bundle = ? AND population = ? ORDER BY spent_ms, run, round",
        (bundle, population),
    ).fetchall()
    return [((run, number), msgspec.msgpack.decode(value, type=Spend)) for run, number, value in rows]
