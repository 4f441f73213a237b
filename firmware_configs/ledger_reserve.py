"""What a device wrote of its ledger while its database took nothing: the file beside it, as a document.

Rows one after the other, each with its number and a checksum; zeros, or a row that was torn, are the end. The agent
writes it (`edge_agent/shell/reserve.py`) and takes it up at its next start; until then an auditor finds them here.
"""

import sqlite3
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

FILE = "ledger.reserve"
BYTES = 256 * 1024
"""Some 700 rows."""
_HEAD = struct.Struct("<IIQ")
"""Bytes and CRC-32 of what follows, and the row's number."""


def pack(rows: Mapping[int, bytes]) -> bytes:
    """Rows by their number, as the file holds them."""
    return b"".join(_HEAD.pack(len(row), _check(number, row), number) + row for number, row in rows.items())


def unpack(held: bytes) -> tuple[dict[int, bytes], int]:
    """Number → row of what a file holds, and the place in it where they end."""
    found: dict[int, bytes] = {}
    end = 0
    while end + _HEAD.size <= len(held):
        size, check, number = _HEAD.unpack_from(held, end)
        row = held[end + _HEAD.size : end + _HEAD.size + size]
        if not size or len(row) < size or _check(number, row) != check:
            break
        found[number] = row
        end += _HEAD.size + size
    return found, end


def rows(database: sqlite3.Connection, folder: Path) -> list[bytes]:
    """Every row of a device's ledger, in order: those in its database, and those that wait beside it.

    Where the first that waits does not follow, a medium has lost what it said it had: who follows the chain finds it.

    Args:
        database: opened for reading.
        folder: where it lies.
    Raises:
        OSError: the reserve is there and cannot be read.
        sqlite3.Error
    """
    # Before the database: a running agent brings rows into it first and clears them here then.
    held = _read(folder / FILE)
    entered = database.execute("SELECT seq, value FROM ledger ORDER BY seq").fetchall()
    newest = entered[-1][0] if entered else 0
    return [*(value for _, value in entered), *(held[number] for number in sorted(held) if number > newest)]


def _read(path: Path) -> dict[int, bytes]:
    try:
        with path.open("rb") as file:
            return unpack(file.read(BYTES))[0]
    except FileNotFoundError:
        return {}


def _check(number: int, row: bytes) -> int:
    """CRC-32 over a row and its number."""
    return zlib.crc32(row, zlib.crc32(number.to_bytes(8, "little")))
