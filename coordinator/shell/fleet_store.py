"""What the coordinator knows of each device: tags, groups, what it said, what is wanted, invitations, certificates."""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.errors import UnknownDevice
from coordinator.fleet.access import App, Topology
from coordinator.fleet.shadow import Change, revise
from coordinator.fleet.view import DeviceView
from coordinator.shell.database import prepare, transaction
from coordinator.shell.store import Store
from firmware_configs.messages import Alert, Desired, Reported, Status

LOG_ROWS_MAX = 200
"""Rows of a device's log that are kept."""


class LogRow(Struct, frozen=True, kw_only=True):
    """One thing that a device said."""

    id: int
    device: str
    kind: str
    """status, reported, rejected, alert, presence."""
    time_ms: int
    value: dict[str, object]


class Heard(Struct, frozen=True, kw_only=True):
    """One message of a device, or of the broker about it."""

    device: str
    kind: str
    time_ms: int
    """When it came, by our clock."""
    packed: bytes
    """What it said, msgpack."""
    online: bool | None = None
    said_by: str = "device"
    skew_ms: int | None = None
    """Of a live message that tells its time."""
    live: bool = True
    """False: retained by the broker from before."""
    summary: bytes = b""
    """What goes into the log, msgpack; empty: nothing."""


class FleetStore:
    """The fleet's tables in a coordinator's home."""

    def __init__(self, home: Path) -> None:
        Store(home)
        self._home = home
        prepare(home)

    def open(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction."""
        return transaction(self._home)

    def views(self, names: Sequence[str] | None = None) -> list[DeviceView]:
        """Devices by name, revoked ones too; None: all."""
        with self.open() as database:
            where, given = "", ()
            if names is not None:
                marks = ",".join("?" * len(names))
                where, given = f" WHERE d.name IN ({marks})", tuple(names)  # type: ignore[assignment]
            rows = database.execute(_VIEW + where + " ORDER BY d.name", given).fetchall()
            tags: dict[str, dict[str, str]] = {}
            for device, key, value in database.execute("SELECT device, key, value FROM fleet_tag"):
                tags.setdefault(device, {})[key] = value
            groups: dict[str, list[str]] = {}
            for name, device in database.execute("SELECT name, device FROM fleet_group ORDER BY name"):
                groups.setdefault(device, []).append(name)
        return [_view(row, tags.get(row[0], {}), tuple(groups.get(row[0], ()))) for row in rows]

    def view(self, name: str) -> DeviceView:
        """One device.

        Raises:
            UnknownDevice: none of this name is enrolled.
        """
        found = self.views([name])
        if not found:
            raise UnknownDevice(f"no device `{name}` is enrolled", hint="see: edge-coordinator fleet ls")
        return found[0]

    def tag(self, devices: Iterable[str], changes: Mapping[str, str | None]) -> None:
        """Set tags of devices; None takes one away."""
        with self.open() as database:
            for device in devices:
                for key, value in changes.items():
                    if value is None:
                        database.execute("DELETE FROM fleet_tag WHERE device = ? AND key = ?", (device, key))
                    else:
                        database.execute("INSERT OR REPLACE INTO fleet_tag VALUES (?, ?, ?)", (device, key, value))

    def join(self, group: str, devices: Iterable[str]) -> None:
        """Put devices into a group."""
        with self.open() as database:
            database.executemany("INSERT OR IGNORE INTO fleet_group VALUES (?, ?)", [(group, d) for d in devices])

    def leave(self, group: str, devices: Iterable[str]) -> None:
        """Take devices out of a group; an empty group is none."""
        with self.open() as database:
            database.executemany("DELETE FROM fleet_group WHERE name = ? AND device = ?", [(group, d) for d in devices])

    def groups(self) -> dict[str, list[str]]:
        """Group → its devices."""
        found: dict[str, list[str]] = {}
        with self.open() as database:
            for name, device in database.execute("SELECT name, device FROM fleet_group ORDER BY name, device"):
                found.setdefault(name, []).append(device)
        return found

    def wish(
        self, devices: Sequence[str], change: Change, *, by: str, if_revision: int | None = None, pass_reported: bool
    ) -> dict[str, Desired]:
        """Change what is wanted of devices, all or none; a writer that came between is not overwritten.

        Args:
            pass_reported: number the new state above what the device reports, too.
        Returns:
            Device → its new state.
        Raises:
            RevisionConflict: `if_revision` is not what is wanted now.
        """
        found: dict[str, Desired] = {}
        now = int(time.time() * 1_000)
        with self.open() as database:
            # The lock is taken before reading: no other process can write between.
            database.execute("BEGIN IMMEDIATE")
            for device in devices:
                row = database.execute("SELECT value FROM desired WHERE device = ?", (device,)).fetchone()
                held = msgspec.msgpack.decode(row[0], type=Desired) if row else Desired(revision=0)
                above = _reported_revision(database, device) if pass_reported else 0
                new = revise(held, change, device=device, by=by, above=above, if_revision=if_revision)
                database.execute(
                    "INSERT OR REPLACE INTO desired (device, value) VALUES (?, ?)",
                    (device, msgspec.msgpack.encode(new)),
                )
                database.execute("INSERT OR REPLACE INTO fleet_wish VALUES (?, ?, ?)", (device, new.revision, now))
                found[device] = new
        return found

    def give_profile(self, profile: Topology, devices: Iterable[str]) -> None:
        """Say which profile devices run, so that their access lists follow from it."""
        with self.open() as database:
            packed = msgspec.msgpack.encode(profile)
            database.execute("INSERT OR REPLACE INTO fleet_profile VALUES (?, ?)", (profile.name, packed))
            database.executemany(
                "INSERT OR REPLACE INTO fleet_given VALUES (?, ?)", [(d, profile.name) for d in devices]
            )

    def topologies(self) -> dict[str, Topology]:
        """Profiles that were given to devices, by name."""
        with self.open() as database:
            rows = database.execute("SELECT name, value FROM fleet_profile ORDER BY name").fetchall()
        return {name: msgspec.msgpack.decode(value, type=Topology) for name, value in rows}

    def members(self) -> list[tuple[str, bool, str]]:
        """(name, whether it was revoked, name of the profile that it was given) of each device, by name."""
        ask = "SELECT d.name, d.revoked, coalesce(g.profile, '') FROM device d "
        with self.open() as database:
            rows = database.execute(f"{ask} LEFT JOIN fleet_given g ON g.device = d.name ORDER BY d.name").fetchall()
        return [(name, bool(revoked), profile) for name, revoked, profile in rows]

    def topology_of(self, device: str) -> Topology | None:
        """The profile that was given to a device; None: none was."""
        ask = "SELECT p.value FROM fleet_given g JOIN fleet_profile p ON p.name = g.profile WHERE g.device = ?"
        with self.open() as database:
            row = database.execute(ask, (device,)).fetchone()
        return msgspec.msgpack.decode(row[0], type=Topology) if row else None

    def put_app(self, name: str, app: App) -> None:
        """Remember an app and what it may do."""
        with self.open() as database:
            database.execute("INSERT OR REPLACE INTO fleet_app VALUES (?, ?)", (name, json.dumps(list(app.roles))))
            database.execute("INSERT OR REPLACE INTO fleet_app_more VALUES (?, ?, ?)", (name, app.device, app.password))

    def drop_app(self, name: str) -> bool:
        """Forget an app; False: there was none."""
        with self.open() as database:
            database.execute("DELETE FROM fleet_app_more WHERE name = ?", (name,))
            return bool(database.execute("DELETE FROM fleet_app WHERE name = ?", (name,)).rowcount)

    def apps(self) -> dict[str, App]:
        """The apps, by name."""
        ask = "SELECT name, roles, coalesce(device, ''), coalesce(password, '') FROM fleet_app "
        with self.open() as database:
            rows = database.execute(ask + "LEFT JOIN fleet_app_more USING (name)").fetchall()
        return {
            name: App(roles=tuple(json.loads(roles)), device=device, password=password)
            for name, roles, device, password in rows
        }

    def forget_tokens(self, device: str) -> None:
        """Let a token that a device came in with bring it in no more."""
        with self.open() as database:
            now = int(time.time() * 1_000)
            database.execute(
                "UPDATE fleet_invite SET withdrawn_ms = ? WHERE substr(used_by, 1, ?) = ?",
                (now, len(device) + 1, f"{device} "),
            )

    def hear(self, heard: Sequence[Heard]) -> int:
        """Take in what devices said; what comes from one that is not enrolled is left out.

        Returns:
            How many were taken.
        """
        with self.open() as database:
            # Only those who spoke are looked up: this runs twice a second, also in a fleet of a million.
            asked = msgspec.json.encode(sorted({one.device for one in heard})).decode()
            found = "SELECT name FROM device WHERE revoked = 0 AND name IN (SELECT value FROM json_each(?))"
            names = {name for (name,) in database.execute(found, (asked,))}
            known = [one for one in heard if one.device in names]
            for one in known:
                _hear(database, one)
            for device in {one.device for one in known if one.summary}:
                database.execute(
                    "DELETE FROM fleet_log WHERE device = ?1 AND id <= (SELECT id FROM fleet_log WHERE device = ?1 "
                    "ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                    (device, LOG_ROWS_MAX),
                )
        return len(known)

    def log(self, device: str, *, after: int = 0, kinds: Sequence[str] = (), limit: int = LOG_ROWS_MAX) -> list[LogRow]:
        """The newest `limit` rows of a device's log after a row, oldest first; of all devices where none is named."""
        chosen = f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        of = "device = ?" if device else "? = ''"
        with self.open() as database:
            rows = database.execute(
                f"SELECT id, device, kind, time_ms, value FROM fleet_log WHERE {of} AND id > ?{chosen} "  # noqa: S608
                "ORDER BY id DESC LIMIT ?",
                (device, after, *kinds, limit),
            ).fetchall()
        return [
            LogRow(id=i, device=d, kind=k, time_ms=t, value=msgspec.msgpack.decode(v)) for i, d, k, t, v in rows[::-1]
        ]

    def alerts(self) -> list[Alert]:
        """The newest word on every alert of every device that takes part, whether it fires or is over; oldest first."""
        with self.open() as database:
            rows = database.execute(
                "SELECT device, value FROM fleet_log WHERE kind = 'alert' "
                "AND device IN (SELECT name FROM device WHERE revoked = 0) ORDER BY id"
            ).fetchall()
        newest: dict[tuple[str, str, str], Alert] = {}
        for device, value in rows:
            try:
                one = msgspec.msgpack.decode(value, type=Alert)
            except msgspec.MsgspecError:
                continue  # too long to be kept, or of another version
            newest.pop((device, one.kind, one.name), None)
            newest[device, one.kind, one.name] = msgspec.structs.replace(one, device=device)  # whatever it calls itself
        return list(newest.values())


_VIEW = """
SELECT d.name, d.node, d.enrolled_ms, d.revoked, s.online, s.said_by, s.seen_ms, s.skew_ms, s.status, s.reported,
       w.value, wish.time_ms, g.profile,
       (SELECT max(not_after_ms) FROM fleet_certificate c WHERE c.name = d.name AND c.revoked_ms = 0)
FROM device d
LEFT JOIN fleet_seen s ON s.device = d.name
LEFT JOIN desired w ON w.device = d.name
LEFT JOIN fleet_wish wish ON wish.device = d.name
LEFT JOIN fleet_given g ON g.device = d.name
"""
_status = msgspec.msgpack.Decoder(Status)
_reported = msgspec.msgpack.Decoder(Reported)
_desired = msgspec.msgpack.Decoder(Desired)


def _view(row: Sequence[object], tags: dict[str, str], groups: tuple[str, ...]) -> DeviceView:
    name, node, enrolled, revoked, online, said_by, seen, skew, status, reported, wanted, wished, given, ends = row
    return DeviceView(
        name=str(name),
        node=int(node) % 2**64,  # type: ignore[call-overload]
        enrolled_ms=int(enrolled),  # type: ignore[call-overload]
        revoked=bool(revoked),
        online=None if online is None else bool(online),
        said_by=str(said_by or ""),
        seen_ms=int(seen or 0),  # type: ignore[call-overload]
        skew_ms=int(skew or 0),  # type: ignore[call-overload]
        status=_status.decode(status) if isinstance(status, bytes) else None,
        reported=_reported.decode(reported) if isinstance(reported, bytes) else None,
        desired=_desired.decode(wanted) if isinstance(wanted, bytes) else Desired(revision=0),
        wished_ms=int(wished or 0),  # type: ignore[call-overload]
        tags=tags,
        groups=groups,
        profile_given=str(given or ""),
        certificate_ends_ms=int(ends or 0),  # type: ignore[call-overload]
    )


def _reported_revision(database: sqlite3.Connection, device: str) -> int:
    row = database.execute("SELECT reported FROM fleet_seen WHERE device = ?", (device,)).fetchone()
    return _reported.decode(row[0]).revision if row and row[0] else 0


def _hear(database: sqlite3.Connection, one: Heard) -> None:
    database.execute("INSERT OR IGNORE INTO fleet_seen (device) VALUES (?)", (one.device,))
    if one.online is not None:
        database.execute(
            "UPDATE fleet_seen SET online = ?, said_by = ? WHERE device = ?", (one.online, one.said_by, one.device)
        )
    if one.live:
        database.execute("UPDATE fleet_seen SET seen_ms = ? WHERE device = ?", (one.time_ms, one.device))
    if one.skew_ms is not None:
        database.execute("UPDATE fleet_seen SET skew_ms = ? WHERE device = ?", (one.skew_ms, one.device))
    # A last will tells nothing but that it is gone: what the device said of itself before still stands.
    if one.kind == "status" and one.online:
        database.execute("UPDATE fleet_seen SET status = ? WHERE device = ?", (one.packed, one.device))
    if one.kind == "reported":
        database.execute("UPDATE fleet_seen SET reported = ? WHERE device = ?", (one.packed, one.device))
    if one.summary and one.live and not _said_before(database, one):
        database.execute(
            "INSERT INTO fleet_log (device, kind, time_ms, value) VALUES (?, ?, ?, ?)",
            (one.device, one.kind, one.time_ms, one.summary),
        )


def _said_before(database: sqlite3.Connection, one: Heard) -> bool:
    """Whether the newest row of its kind says the same: what repeats every minute is no history."""
    row = database.execute(
        "SELECT value FROM fleet_log WHERE device = ? AND kind = ? ORDER BY id DESC LIMIT 1", (one.device, one.kind)
    ).fetchone()
    return one.kind in {"status", "reported", "presence"} and row is not None and bytes(row[0]) == one.summary
