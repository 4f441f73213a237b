"""A disk that fills up, and forgets what was not synced when the plug is pulled. The files are real SQLite files."""

import shutil
import sqlite3
from pathlib import Path
from random import Random

from edge_agent.shell import database
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.ledger_reserve import FILE as RESERVE
from tests.sim.wire import Fuse

WAL_HEADER, FRAME_HEADER = 32, 24
FRAME = FRAME_HEADER + database.PAGE_BYTES


class SimStore(Store):
    """The agent's store, with a fuse before and after each commit."""

    fuse: Fuse
    secret = b"the same dice in every life of it"[:32]
    synced = (b"", 0)
    """The log's salts and bytes at the last commit that waited for the medium."""

    def commit(self, writes: Writes, *, durable: bool) -> bool:
        fuse: Fuse | None = getattr(self, "fuse", None)
        if fuse is None:
            return super().commit(writes, durable=durable)
        fuse.at("before commit")
        done = super().commit(writes, durable=durable)
        if done and self._full:
            self.synced = _log_of(self.path)
        fuse.at("after commit")
        return done

    def _sync_log(self) -> bool:
        self.synced = _log_of(self.path)
        return super()._sync_log()

    def fill(self, full: bool) -> None:
        """From now on the file cannot grow, or can again."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {pages if full else self._pages_max}")

    def leave(self, folder: Path, prng: Random, *, plug: bool) -> tuple[bytes, int]:
        """The process is gone: its files are what a new one finds in `folder`. With `plug`, so is what was not synced.

        SQLite's write-ahead log is synced by durable commits and before each checkpoint, so of the log at least what
        was there then is left, and of what came later any prefix, torn anywhere.

        Returns:
            What is on the medium, for the next life's `synced`.
        """
        folder.mkdir(parents=True)
        for file in self.path.parent.glob(f"{self.path.name}*"):
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, folder / file.name)
        reserve = self.path.with_name(RESERVE)
        if reserve.exists():  # it is synced with each row
            shutil.copyfile(reserve, folder / RESERVE)
        log = folder / f"{self.path.name}-wal"
        if plug and log.exists() and (size := log.stat().st_size) > WAL_HEADER:
            salts, _ = _log_of(self.path)
            least = self.synced[1] if salts == self.synced[0] else 0
            with log.open("r+b") as opened:
                opened.truncate(prng.randint(min(least, size), size))
            self.synced = (salts, log.stat().st_size)
        self._connection.close()
        self._reserve.close()
        return self.synced


def _log_of(path: Path) -> tuple[bytes, int]:
    """The write-ahead log's salts, and the bytes of its valid frames."""
    log = Path(f"{path}-wal")
    if not log.exists():
        return b"", 0
    with log.open("rb") as opened:
        header = opened.read(WAL_HEADER)
        if len(header) < WAL_HEADER:
            return b"", 0
        salts = header[16:24]
        end = WAL_HEADER
        while len(frame := opened.read(FRAME_HEADER)) == FRAME_HEADER and frame[8:16] == salts:
            end += FRAME
            opened.seek(end)
    return salts, end


def ledger_rows(path: Path) -> list[bytes]:
    """The ledger as it stands in the file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row for (row,) in connection.execute("SELECT value FROM ledger ORDER BY seq")]
    finally:
        connection.close()
