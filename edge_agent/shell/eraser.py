"""The eraser: deletes all that is about somebody from a folder that no agent has open, and signs a receipt.

A running agent holds what it knows in many places in memory. So it does not erase: it ends in order, and its next start
sends the eraser before anything is read, in the same process id (docs/adr/0051). A process of its own, for the agent
never loads a cryptography library, and never reads what is erased.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.decide import decision
from edge_agent.errors import ErasureFailed
from edge_agent.memory.known import Heard
from edge_agent.memory.known import pack as packed_heard
from edge_agent.settings import Settings, load
from edge_agent.shell import database
from edge_agent.shell.clock import wall_ms
from edge_agent.shell.salvage import DAMAGED
from edge_agent.shell.wish import ERASE, waiting
from edge_agent.traces import NAMELESS, Traces
from firmware_configs.erasure import GENESIS, Receipt, mark
from firmware_configs.errors import EdgeError

FOLDER = "erasures"
BUSY_MS = 10_000
_THEIRS = "SELECT shelf FROM shelf WHERE subject IN (SELECT value FROM json_each(?))"
_THEIRS_GONE = "DELETE FROM shelf WHERE subject IN (SELECT value FROM json_each(?))"
_LEADS = """
SELECT shelf, id, value FROM shelf
WHERE subject IN (SELECT value FROM json_each(?)) AND shelf IN ('decision', 'journal')
"""


class Wish(Struct, frozen=True, kw_only=True):
    """Somebody is to be erased; a file in the agent's folder until it is done."""

    id: str
    """32 hex digits."""
    subjects: tuple[str, ...]
    nonce: str
    """32 hex digits; ties the receipt to the names, and is not kept."""
    fields: dict[str, float | str | bool] = {}
    """Not to erase, but to put these held fields right."""


def name_of(wish: Wish) -> str:
    """Its file's name."""
    return f"{ERASE}{wish.id}.json"


def leave(state_dir: Path, subjects: tuple[str, ...], fields: dict[str, float | str | bool] | None = None) -> Wish:
    """Ask for an erasure or a correction: of the running agent's next start, or of `take_up`.

    Raises:
        ErasureFailed: the folder is not there, or not ours to write to.
    """
    wish = Wish(id=secrets.token_hex(16), subjects=subjects, nonce=secrets.token_hex(16), fields=fields or {})
    draft, path = state_dir / f".{ERASE}{wish.id}", state_dir / name_of(wish)
    try:
        draft.write_bytes(msgspec.json.encode(wish))
        draft.chmod(0o644)  # an officer is often root, the agent is not
        draft.replace(path)
    except OSError as error:
        raise ErasureFailed(f"{state_dir}: {error.strerror}", hint="run it as the agent's user") from error
    return wish


def send(settings_path: Path) -> None:
    """Before a start: have the wishes fulfilled by a child. It tells its own faults on the log."""
    subprocess.run([sys.executable, "-m", "edge_agent.shell.eraser", str(settings_path)], check=False)


def main() -> None:
    """Entry of the child process: the settings file."""
    try:
        settings = load(Path(sys.argv[1]), os.environ)
        take_up(settings)
    except EdgeError as error:
        sys.exit(f"error: {error}")


def take_up(settings: Settings) -> list[Receipt]:
    """Fulfil every wish that waits; no agent may have the folder open.

    Raises:
        ErasureFailed, StoreError: the wish stays, and nothing or all of it was deleted.
    """
    state_dir = Path(settings.state_dir)
    made = []
    with _alone(state_dir):
        for name in waiting(state_dir):
            path = state_dir / name
            wish = msgspec.json.decode(path.read_bytes(), type=Wish)
            if wish.fields:
                rectify(state_dir / database.FILE, wish.subjects, wish.fields)
            else:
                made.append(_fulfil(settings, state_dir, wish))
            path.unlink()
    return made


@contextlib.contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """One eraser at a time."""
    descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def receipts(state_dir: Path) -> list[Receipt]:
    """This device's receipts, oldest first.

    Raises:
        ErasureFailed: one cannot be read.
    """
    found = []
    for path in sorted((state_dir / FOLDER).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Receipt))
        except (OSError, msgspec.MsgspecError) as error:
            raise ErasureFailed(f"{path} is no receipt: {error}", hint="restore it from a backup") from error
    return found


def _fulfil(settings: Settings, state_dir: Path, wish: Wish) -> Receipt:
    started = time.monotonic()
    before = receipts(state_dir)
    if done := [one for one in before if one.id == wish.id]:
        return done[0]  # cut after the receipt was written
    erased, left, compacted = erase(state_dir / database.FILE, wish.subjects)
    receipt = Receipt(
        id=wish.id,
        number=before[-1].number + 1 if before else 1,
        device=settings.device,
        marks=tuple(mark(subject, wish.nonce) for subject in wish.subjects),
        erased=erased,
        left=left,
        compacted=compacted,
        made_ms=wall_ms(),
        took_ms=int((time.monotonic() - started) * 1_000),
        previous=before[-1].hash() if before else GENESIS,
    )
    if settings.superlink.node_key:
        from edge_agent.shell.sealer import sign

        signature = sign(receipt.signed(), Path(settings.superlink.node_key))
        receipt = msgspec.structs.replace(receipt, signature=signature)
    _write(state_dir / FOLDER, receipt)
    return receipt


def erase(path: Path, subjects: tuple[str, ...]) -> tuple[dict[str, int], dict[str, int], bool]:
    """Delete everything of some subjects, in one transaction, and leave nothing of it in the file or beside it.

    Returns:
        Class of data → rows erased; class → rows that still mention them; whether the file was written anew.
    Raises:
        StoreError: nothing was deleted, or (compacting failed) free pages may still hold it: ask again.
    """
    if not path.is_file():
        return {}, {}, True
    traces, erased = Traces(subjects), Counter[str]()
    os.environ["SQLITE_TMPDIR"] = str(path.parent)  # what is written anew holds the others' data: not under /tmp
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1_000)) as file:
            file.execute("PRAGMA secure_delete = ON")
            file.execute("BEGIN IMMEDIATE")
            _shelves(file, traces, erased)
            _state(file, traces, erased)
            _lists(file, traces, erased)
            left = _left(file, traces)
            file.execute("COMMIT")
            file.execute("VACUUM")
            (busy, _, _) = file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise database.named(error, path) from error
    for invitation in path.parent.glob("web/*.json"):  # they name whom they are for
        invitation.unlink(missing_ok=True)
        erased["links to the device's page"] += 1
    for copy in path.parent.glob(f"{path.name}{DAMAGED}*"):
        copy.unlink()
        erased["damaged copies of the file"] += 1
    return dict(erased), left, not busy


def rectify(path: Path, subjects: tuple[str, ...], fields: dict[str, float | str | bool]) -> None:
    """Put held fields right; the time of the value stays, so that a newer event still counts for more.

    Raises:
        StoreError: nothing was changed.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1_000)) as file:
            file.execute("PRAGMA secure_delete = ON")
            file.execute("BEGIN IMMEDIATE")
            for subject in subjects:
                row = file.execute("SELECT value FROM state WHERE room = 'known' AND key = ?", (subject,)).fetchone()
                if row is not None:
                    heard = msgspec.msgpack.decode(row[0], type=Heard)
                    heard |= {name: (value, heard[name][1]) for name, value in fields.items() if name in heard}
                    file.execute(
                        "UPDATE state SET value = ? WHERE room = 'known' AND key = ?", (packed_heard(heard), subject)
                    )
            file.execute("COMMIT")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise database.named(error, path) from error


def _shelves(file: sqlite3.Connection, traces: Traces, erased: Counter[str]) -> None:
    """Decisions first: their ids lead to what came of them."""
    named = (msgspec.json.encode(sorted(traces.subjects)).decode(),)
    for shelf, identity, value in file.execute(_LEADS, named):
        traces.leads.add(identity)
        if shelf == "decision":
            with contextlib.suppress(msgspec.MsgspecError):
                traces.leads.add(decision.unpack(value).event_id)
    traces.leads.discard("")
    for (shelf,) in file.execute(_THEIRS, named):
        erased[shelf] += 1
    file.execute(_THEIRS_GONE, named)
    changed = []
    for number, shelf, identity, value in file.execute("SELECT number, shelf, id, value FROM shelf"):
        rest = value
        if shelf == "journal":
            rest = traces.journal(value)
        elif shelf == "decision":
            rest = traces.decision(value)
        elif shelf == "outcome" and identity.split(":")[0] in traces.leads:
            rest = None
        if rest != value:
            changed.append((rest, number))
            erased[shelf] += 1
    file.executemany("DELETE FROM shelf WHERE number = ?", [(number,) for rest, number in changed if rest is None])
    file.executemany("UPDATE shelf SET value = ? WHERE number = ?", [one for one in changed if one[0] is not None])


def _state(file: sqlite3.Connection, traces: Traces, erased: Counter[str]) -> None:
    changed: list[tuple[bytes | None, str, str]] = []
    for room, key, value in file.execute("SELECT room, key, value FROM state"):
        rest = traces.after(room, key, value)
        if rest != value:
            changed.append((rest, room, key))
            erased[room] += 1
    file.executemany("DELETE FROM state WHERE room = ? AND key = ?", [one[1:] for one in changed if one[0] is None])
    file.executemany(
        "UPDATE state SET value = ? WHERE room = ? AND key = ?", [one for one in changed if one[0] is not None]
    )
    for key in traces.settled:
        held = file.execute("SELECT value FROM state WHERE room = 'bandit' AND key = ?", (key,)).fetchone()
        if held is not None:
            row = (traces.head(key, held[0]), key)
            file.execute("UPDATE state SET value = ? WHERE room = 'bandit' AND key = ?", row)


def _lists(file: sqlite3.Connection, traces: Traces, erased: Counter[str]) -> None:
    """What waits to be sent, and ids of events that were taken."""
    gone = [
        (entry,)
        for entry, topic, payload in file.execute("SELECT entry, topic, payload FROM outbox")
        if traces.message(topic, payload)
    ]
    file.executemany("DELETE FROM outbox WHERE entry = ?", gone)
    seen = [(number,) for number, identity in file.execute("SELECT number, id FROM seen") if traces.within(identity)]
    file.executemany("DELETE FROM seen WHERE number = ?", seen)
    for what, rows in (("outbox", gone), ("seen", seen)):
        if rows:
            erased[what] += len(rows)


def _left(file: sqlite3.Connection, traces: Traces) -> dict[str, int]:
    """Look once more, by another way: any row anywhere whose key or value names them."""
    left = Counter[str]()
    for room, key, value in file.execute("SELECT room, key, value FROM state"):
        if room not in NAMELESS and (traces.mentions(value) or key.rpartition("\x00")[2] in traces.subjects):
            left[room] += 1
    for shelf, subject, value in file.execute("SELECT shelf, subject, value FROM shelf"):
        if subject in traces.subjects or (shelf != "example" and traces.mentions(value)):
            left[shelf] += 1
    for topic, payload in file.execute("SELECT topic, payload FROM outbox"):
        left["outbox"] += traces.message(topic, payload)
    return {what: count for what, count in left.items() if count}


def _write(folder: Path, receipt: Receipt) -> None:
    place = folder / f"{receipt.number:06d}.json"
    draft = place.with_suffix(".part")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(receipt))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    except OSError as error:
        raise ErasureFailed(f"{place}: {error.strerror}", hint="make room, or the folder writable") from error


if __name__ == "__main__":
    main()
