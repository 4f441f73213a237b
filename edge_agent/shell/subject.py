"""Reads all that a device knows about somebody from its database, beside the running agent."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from edge_agent import withheld
from edge_agent.decide import decision
from edge_agent.errors import SubjectUnknown
from edge_agent.learn import earned, examples, parameters
from edge_agent.learn.touches import Track
from edge_agent.limits import DRIFT
from edge_agent.memory.known import Heard
from edge_agent.memory.layout import Layouts
from edge_agent.memory.profile import unpack as unpack_profile
from edge_agent.shell import database
from edge_agent.traces import NAMELESS, Traces, values_of
from firmware_configs import ledger_reserve
from firmware_configs.ledger import unpack as unpack_row
from firmware_configs.messages import Consent

FORMAT = "edgeward-subject/1"
_SHELF = "SELECT id, grp, value, made_ms, expires_ms FROM shelf WHERE shelf = ? AND subject = ? ORDER BY number"
_LAYOUTS = """
SELECT key, value FROM state WHERE room = 'meta' AND key LIKE 'layout:%' ORDER BY CAST(substr(key, 8) AS INT)
"""
_OUTCOMES = "SELECT value FROM shelf WHERE shelf = 'outcome' AND subject = ? ORDER BY number"


def about(state_dir: Path, subject: str) -> dict[str, Any]:
    """Everything of one subject, machine-readable (GDPR Art. 15 and 20); times are unix ms.

    Raises:
        SubjectUnknown: nothing is known of them here.
    """
    with contextlib.closing(database.open_readable(state_dir / database.FILE)) as file:
        found = _Reader(file, subject)
        told = {
            "format": FORMAT,
            "subject": subject,
            "consent": found.consent(),
            "profile": found.profile(),
            "held_fields": found.held(),
            "linked": found.linked(),
            "decisions": found.decisions(),
            "examples": found.examples(),
            "outcomes": found.outcomes(),
            "personal_parameters": found.personal(),
            "events": found.events(),
            "nothing_decided": found.withheld(),
            "waiting_messages": found.waiting(),
            "other_rows": found.rows(),
        }
        if not any(told[name] for name in told if name not in {"format", "subject"}):
            raise SubjectUnknown(f"nothing is known of `{subject}` here", hint=found.neighbours())
        told["left_the_device"] = _left(file, state_dir)
    return told


def subjects(state_dir: Path) -> list[str]:
    """Everybody of whom a profile, a consent, a decision or an example is held, sorted."""
    with contextlib.closing(database.open_readable(state_dir / database.FILE)) as file:
        return _subjects(file)


def segments(state_dir: Path, subject: str) -> list[str]:
    """The groups that somebody was counted in when something was decided for them, while it is still watched."""
    with contextlib.closing(database.open_readable(state_dir / database.FILE)) as file:
        row = file.execute("SELECT value FROM state WHERE room = 'touch' AND key = ?", (subject,)).fetchone()
    if row is None:
        return []
    track = msgspec.msgpack.decode(row[0], type=Track)
    named = {touch.segment for touch in track.touches} | {anchor.segment for anchor in track.anchors.values()}
    return sorted(named - {""})


def _subjects(file: sqlite3.Connection) -> list[str]:
    held = {key for (key,) in file.execute("SELECT key FROM state WHERE room IN ('profile', 'consent', 'known')")}
    held |= {one for (one,) in file.execute("SELECT DISTINCT subject FROM shelf WHERE subject <> ''")}
    return sorted(held)


def _left(file: sqlite3.Connection, state_dir: Path) -> list[dict[str, Any]]:
    """What left this device by kind. The ledger names nobody, so these are everybody's."""
    kinds: dict[tuple[str, str], list[int]] = {}
    purposes: dict[tuple[str, str], set[str]] = {}
    for value in ledger_reserve.rows(file, state_dir):
        row = unpack_row(value)
        count = kinds.setdefault((row.kind, row.destination), [0, 0])
        count[0] += 1
        count[1] += row.bytes
        purposes.setdefault((row.kind, row.destination), set()).update(row.purposes)
    return [
        {"kind": kind, "to": to, "entries": n, "bytes": size, "purposes": sorted(purposes[kind, to])}
        for (kind, to), (n, size) in sorted(kinds.items())
    ]


class _Reader:
    """One subject's rows, by room and shelf."""

    def __init__(self, file: sqlite3.Connection, subject: str) -> None:
        self._file, self._subject, self._traces = file, subject, Traces([subject])

    def neighbours(self) -> str:
        known = _subjects(self._file)
        return f"known are {', '.join(known[:20]) or 'none'}"

    def _row(self, room: str) -> bytes | None:
        row = self._file.execute("SELECT value FROM state WHERE room = ? AND key = ?", (room, self._subject)).fetchone()
        return bytes(row[0]) if row else None

    def consent(self) -> dict[str, Any]:
        packed = self._row("consent")
        return msgspec.to_builtins(msgspec.msgpack.decode(packed, type=Consent)) if packed else {}

    def profile(self) -> dict[str, Any]:
        packed = self._row("profile")
        if packed is None:
            return {}
        layouts = Layouts()
        for key, value in self._file.execute(_LAYOUTS):
            layouts.restore(int(key[7:]), value)
        try:
            held = unpack_profile(packed, layouts)
        except (msgspec.MsgspecError, IndexError):
            return {"unreadable_bytes": len(packed)}
        counted = {
            name: list(held.row[at : at + size])
            for name, (at, size) in held.layout.places.items()
            if any(held.row[at : at + size])
        }
        return {"newest_ms": held.newest_ms, "counted": counted, "texts": held.texts}

    def held(self) -> dict[str, Any]:
        packed = self._row("known")
        heard = msgspec.msgpack.decode(packed, type=Heard) if packed else {}
        return {name: {"value": value, "time_ms": at} for name, (value, at) in sorted(heard.items())}

    def linked(self) -> list[dict[str, Any]]:
        told = []
        for key, value in self._file.execute("SELECT key, value FROM state WHERE room = 'identity' ORDER BY key"):
            what, *names = key.split("\x00")
            if self._subject in names:
                told.append(
                    {
                        "kind": {"seen": "sightings", "pair": "compared", "word": "said"}.get(what, what),
                        "with": [name for name in names if name != self._subject],
                        "held": values_of(value),
                    }
                )
        return told

    def decisions(self) -> list[dict[str, Any]]:
        found = self._file.execute(_SHELF, ("decision", self._subject))
        return [
            {**msgspec.to_builtins(decision.unpack(value)), "kept_until_ms": until} for _, _, value, _, until in found
        ]

    def outcomes(self) -> list[dict[str, Any]]:
        found = self._file.execute(_OUTCOMES, (self._subject,))
        return [msgspec.to_builtins(earned.unpack(value)) for (value,) in found]

    def examples(self) -> list[dict[str, Any]]:
        found = self._file.execute(_SHELF, ("example", self._subject))
        return [
            {
                "model": group,
                "made_ms": made,
                "kept_until_ms": until,
                **msgspec.to_builtins(examples.unpack(value)),
            }
            for _, group, value, made, until in found
        ]

    def personal(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for key, value in self._file.execute("SELECT key, value FROM state WHERE room = 'personal'"):
            bundle, _, subject = key.partition("\x00")
            if subject == self._subject:
                told[bundle] = {name: array.tolist() for name, array in parameters.unpack(value).items()}
        return told

    def events(self) -> list[dict[str, Any]]:
        found = self._file.execute(_SHELF, ("journal", self._subject))
        return [values_of(value) for _, _, value, _, _ in found]

    def withheld(self) -> list[dict[str, Any]]:
        told = []
        for placement, value in self._file.execute("SELECT key, value FROM state WHERE room = 'withheld'"):
            held = [one for one in withheld.unpack(value) if one.subject == self._subject]
            told += [{"placement": placement, "kind": one.kind, "why": one.why, "at_ms": one.at_ms} for one in held]
        return told

    def waiting(self) -> list[dict[str, Any]]:
        return [
            {"topic": topic, "bytes": len(payload), "content": values_of(payload)}
            for topic, payload in self._file.execute("SELECT topic, payload FROM outbox ORDER BY entry")
            if self._traces.message(topic, payload)
        ]

    def rows(self) -> list[dict[str, Any]]:
        """What is none of the above: caps, sessions, measurements, messages on their way."""
        told = []
        known = {"consent", "profile", "known", "identity", "personal", "withheld", "round", *NAMELESS}
        for room, key, value in self._file.execute("SELECT room, key, value FROM state ORDER BY room, key"):
            if room in known or (room == "meta" and key.startswith(DRIFT)):  # sums over everybody: an erasure ends them
                continue
            if self._traces.after(room, key, value) != value:
                held = msgspec.to_builtins(values_of(value))  # bytes as Base64
                told.append({"room": room, "key": key.replace("\x00", "/"), "held": held})
        return told
