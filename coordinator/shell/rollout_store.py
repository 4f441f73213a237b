"""Rollouts in the coordinator's database: state, devices, wishes, the audit log, and what is still to be published."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from coordinator.chain import chained, root, verified
from coordinator.errors import RolloutTaken, UnknownRollout
from coordinator.fleet.shadow import revise
from coordinator.rollout.machine import refusal
from coordinator.rollout.state import ENDED, Finding, Member, Note, Order, Rollout, Step, Wish
from coordinator.shell.authority import coordinator_id
from coordinator.shell.database import connect
from coordinator.shell.fleet_store import FleetStore
from firmware_configs.messages import Desired

LOOKS_MAX = 1_000
"""Looks of a rollout that are kept: a curve has no more points."""
_encode = msgspec.msgpack.Encoder().encode
_rollout = msgspec.msgpack.Decoder(Rollout).decode
_member = msgspec.msgpack.Decoder(Member).decode
_desired = msgspec.msgpack.Decoder(Desired).decode


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the audit log."""

    number: int
    note: Note
    hash: str
    """sha256 (hex) over the hash of the line before, the number and the note."""


class Look(Struct, frozen=True, kw_only=True):
    """What the guards said at one moment."""

    watched_ms: int
    """Since the rollout began, see `Rollout.watched_ms`."""
    cohort: str
    findings: tuple[Finding, ...]


class RolloutStore:
    """The rollouts of a home. Each call is one transaction, on one connection."""

    def __init__(self, home: Path) -> None:
        FleetStore(home)  # desired states are in its tables
        self._home, self._by = home, ""
        self._database = connect(home, autocommit=True)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def begin(self, rollout: Rollout, wish: Wish) -> None:
        """Keep a planned rollout, and the wish to start it.

        Raises:
            RolloutTaken: another one of the same bundle has not ended.
        """
        with self._writing() as database:
            row = database.execute(
                "SELECT key, state FROM rollout WHERE bundle = ? AND state NOT IN ('done', 'rolled-back')",
                (rollout.plan.bundle,),
            ).fetchone()
            if row is not None:
                raise RolloutTaken(
                    f"rollout {row[0]} of {rollout.plan.bundle} is {row[1]}",
                    hint=f"wait for its end, or: edge-coordinator rollout rollback {row[0]}",
                )
            database.execute(
                "INSERT INTO rollout (key, bundle, state, started_ms, value) VALUES (?, ?, ?, ?, ?)",
                (rollout.key, rollout.plan.bundle, rollout.state, rollout.started_ms, _bare(rollout)),
            )
            database.executemany(
                "INSERT INTO rollout_member (rollout, device, place, value) VALUES (?, ?, ?, ?)",
                [
                    (rollout.key, member.device, place, _encode(member))
                    for place, member in enumerate(rollout.members.values())
                ],
            )
            _put_wish(database, rollout.key, wish)

    def wish(self, key: str, wish: Wish) -> None:
        """Leave a wish for the next step.

        Raises:
            UnknownRollout: there is none of this key.
            RolloutStateInvalid: as the rollout stands, it cannot be had.
        """
        with self._writing() as database:
            rollout = self._bare(key)
            if (why := refusal(rollout, wish)) is not None:
                raise why
            _put_wish(database, key, wish)

    def commit(self, before: Rollout, made: Step, wishes: Sequence[int] = ()) -> list[Entry]:
        """Keep what a step came to: rollout, devices, log, what is wanted of devices; all of it or nothing.

        Args:
            wishes: numbers of those that the step took in.
        Returns:
            The new lines of the log.
        """
        after = made.rollout
        with self._writing() as database:
            if after.state != before.state or structs.replace(after, members={}) != structs.replace(before, members={}):
                database.execute(
                    "UPDATE rollout SET state = ?, value = ? WHERE key = ?", (after.state, _bare(after), after.key)
                )
            database.executemany(
                "UPDATE rollout_member SET value = ? WHERE rollout = ? AND device = ?",
                [
                    (_encode(member), after.key, device)
                    for device, member in after.members.items()
                    if before.members.get(device) is not member
                ],
            )
            if after.findings != before.findings:
                self._look(after)
            entries = self._append(after.key, made.notes)
            database.executemany("DELETE FROM rollout_wish WHERE number = ?", [(number,) for number in wishes])
            self._want(after, made.orders)
        return entries

    def _append(self, key: str, notes: Iterable[Note]) -> list[Entry]:
        row = self._database.execute(
            "SELECT number, hash FROM rollout_log WHERE rollout = ? ORDER BY number DESC LIMIT 1", (key,)
        ).fetchone()
        number, last = row if row is not None else (0, root(_log_of(key)))
        entries = []
        for note in notes:
            number += 1
            packed = _encode(note)
            last = chained(last, number, packed)
            self._database.execute(
                "INSERT INTO rollout_log (rollout, number, value, hash) VALUES (?, ?, ?, ?)",
                (key, number, packed, last),
            )
            entries.append(Entry(number=number, note=note, hash=last.hex()))
        return entries

    def _look(self, rollout: Rollout) -> None:
        """Keep what the guards say now; of many looks every second one is let go."""
        key, place = rollout.key, "row_number() OVER (ORDER BY number)"
        look = Look(watched_ms=rollout.watched_ms, cohort=rollout.plan.named(rollout.cohort), findings=rollout.findings)
        self._database.execute("INSERT INTO rollout_look (rollout, value) VALUES (?, ?)", (key, _encode(look)))
        (count,) = self._database.execute("SELECT count(*) FROM rollout_look WHERE rollout = ?", (key,)).fetchone()
        if count > LOOKS_MAX:
            self._database.execute(
                f"DELETE FROM rollout_look WHERE number IN (SELECT number FROM (SELECT number, {place} AS place "  # noqa: S608
                "FROM rollout_look WHERE rollout = ?) WHERE place % 2 = 0)",
                (key,),
            )

    def _want(self, rollout: Rollout, orders: Iterable[Order]) -> None:
        """Change what is wanted of devices; they are due to be published."""
        for order in orders:
            self._by = self._by or coordinator_id(self._home)
            row = self._database.execute("SELECT value FROM desired WHERE device = ?", (order.device,)).fetchone()
            old = _desired(row[0]) if row else Desired(revision=0)
            new = revise(old, partial(_changed, rollout, order), device=order.device, by=self._by)
            self._database.execute(
                "INSERT OR REPLACE INTO desired (device, value) VALUES (?, ?)", (order.device, _encode(new))
            )
            self._database.execute(
                "INSERT OR REPLACE INTO fleet_wish VALUES (?, ?, ?)", (order.device, new.revision, rollout.now_ms)
            )
            self._database.execute("INSERT OR IGNORE INTO rollout_due (device) VALUES (?)", (order.device,))

    def due(self) -> list[tuple[str, Desired]]:
        """Devices whose desired state is to be published, and it."""
        rows = self._database.execute(
            "SELECT rollout_due.device, desired.value FROM rollout_due JOIN desired USING (device)"
        ).fetchall()
        return [(device, _desired(value)) for device, value in rows]

    def published(self, sent: Iterable[tuple[str, Desired]]) -> None:
        """The broker has these."""
        with self._writing() as database:
            database.executemany("DELETE FROM rollout_due WHERE device = ?", [(device,) for device, _ in sent])

    def wishes(self, key: str) -> list[tuple[int, Wish]]:
        """What no step has taken in yet, with their numbers."""
        rows = self._database.execute(
            "SELECT number, value FROM rollout_wish WHERE rollout = ? ORDER BY number", (key,)
        ).fetchall()
        return [(number, msgspec.msgpack.decode(value, type=Wish)) for number, value in rows]

    def open(self) -> list[str]:
        """Keys of rollouts that have not ended, or of which something is wished, oldest first."""
        rows = self._database.execute(
            "SELECT key FROM rollout WHERE state NOT IN ('done', 'rolled-back') "
            "OR key IN (SELECT rollout FROM rollout_wish) ORDER BY started_ms, key"
        ).fetchall()
        return [key for (key,) in rows]

    def busy(self) -> bool:
        """Whether there is anything for a rollout's process to do."""
        return bool(self.open()) or self._database.execute("SELECT 1 FROM rollout_due LIMIT 1").fetchone() is not None

    def all(self) -> list[Rollout]:
        """Every rollout without its members, newest first."""
        rows = self._database.execute("SELECT value FROM rollout ORDER BY started_ms DESC, key DESC").fetchall()
        return [_rollout(value) for (value,) in rows]

    def rollout(self, key: str) -> Rollout:
        """One rollout, whole; `last` is the newest.

        Raises:
            UnknownRollout: there is none of this key.
        """
        bare = self._bare(key)
        rows = self._database.execute(
            "SELECT device, value FROM rollout_member WHERE rollout = ? ORDER BY place", (bare.key,)
        ).fetchall()
        return structs.replace(bare, members={device: _member(value) for device, value in rows})

    def _bare(self, key: str) -> Rollout:
        found = self.all()
        if key == "last" and found:
            return found[0]
        for rollout in found:
            if rollout.key == key:
                return rollout
        known = ", ".join(rollout.key for rollout in found[:8])
        raise UnknownRollout(
            f"no rollout `{key}`" if key != "last" else "there is no rollout yet",
            hint=f"known: {known}" if found else "start one: edge-coordinator rollout start PLAN",
        )

    def log(self, key: str, after: int = 0) -> list[Entry]:
        """The audit log's lines beyond number `after`."""
        rows = self._database.execute(
            "SELECT number, value, hash FROM rollout_log WHERE rollout = ? AND number > ? ORDER BY number", (key, after)
        ).fetchall()
        return [
            Entry(number=number, note=msgspec.msgpack.decode(value, type=Note), hash=hashed.hex())
            for number, value, hashed in rows
        ]

    def looks(self, key: str) -> list[Look]:
        """What the guards said, whenever that changed, oldest first; of a long rollout every second, fourth, … look."""
        rows = self._database.execute("SELECT value FROM rollout_look WHERE rollout = ? ORDER BY number", (key,))
        return [msgspec.msgpack.decode(value, type=Look) for (value,) in rows.fetchall()]

    def verify(self, key: str) -> str:
        """Check the log's chain; returns the newest hash (hex), which whoever noted it earlier can look for.

        Raises:
            LogDamaged: a line was changed, added or taken out.
        """
        rows = self._database.execute(
            "SELECT number, value, hash FROM rollout_log WHERE rollout = ? ORDER BY number", (key,)
        ).fetchall()
        return verified(_log_of(key), rows)


def active(rollouts: Iterable[Rollout]) -> Mapping[str, Rollout]:
    """Bundle → its rollout that has not ended."""
    return {rollout.plan.bundle: rollout for rollout in rollouts if rollout.state not in ENDED}


def _changed(rollout: Rollout, order: Order, old: Desired) -> Desired:
    bundle = rollout.plan.bundle
    watch = {name: value for name, value in old.watch.items() if name != bundle}
    if order.watch is not None:
        watch[bundle] = order.watch
    return structs.replace(
        old,
        bundles={**old.bundles, bundle: order.version},
        registry=rollout.registry or old.registry,
        rollout=order.rollout,
        watch=watch,
    )


def _put_wish(database: sqlite3.Connection, key: str, wish: Wish) -> None:
    database.execute("INSERT INTO rollout_wish (rollout, value) VALUES (?, ?)", (key, _encode(wish)))


def _bare(rollout: Rollout) -> bytes:
    return _encode(structs.replace(rollout, members={}))


def _log_of(key: str) -> str:
    return f"rollout {key}"
