"""A damaged database costs what was damaged, not the rest."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.shell import database
from edge_agent.shell.salvage import DAMAGED, TABLES, salvage
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes

PAGES = database.pages(16)


def filled(path: Path, profiles: int = 300) -> bytes:
    """A database with a secret, consent and many profiles; returns the secret."""
    store = Store(path, 16)
    secret = store.secret
    writes = Writes(ledger=dict.fromkeys(range(1, 200), b"row" * 20), seen={f"e{n}": 9 for n in range(200)})
    writes.state["consent", "ann"] = (b"yes", 0)
    for number in range(profiles):
        writes.state["profile", f"subject-{number:04d}"] = (bytes([number % 256]) * 500, 0)
    assert store.commit(writes, durable=True)
    store.close()
    return secret


def damage(path: Path, page: int, pages: int = 1) -> None:
    raw = bytearray(path.read_bytes())
    raw[page * database.PAGE_BYTES : (page + pages) * database.PAGE_BYTES] = b"\xfe" * (pages * database.PAGE_BYTES)
    path.write_bytes(raw)


def test_everything_of_a_whole_database_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / database.FILE
    secret = filled(path)
    database.suspect(path).touch()
    taken = salvage(path, PAGES)
    assert (taken["state"], taken["ledger"], taken["seen"]) == (301, 199, 200)
    assert not database.suspect(path).exists()
    again = Store(path, 16)
    assert (again.secret, again.recall("consent", "ann")) == (secret, b"yes")
    again.close()
    assert (tmp_path / (database.FILE + DAMAGED)).exists(), "the damaged file is kept for a person to look at"


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 3))
def test_wherever_pages_are_damaged_the_rest_is_taken_over_and_the_file_is_whole(page: int, pages: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / database.FILE
        filled(path)
        damage(path, page, pages)
        taken = salvage(path, PAGES)
        assert set(taken) == set(TABLES)
        with sqlite3.connect(path) as direct:
            assert direct.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        direct.close()
        Store(path, 16).close()


def test_one_damaged_page_costs_the_rows_on_it(tmp_path: Path) -> None:
    path = tmp_path / database.FILE
    filled(path)
    with sqlite3.connect(path) as direct:
        (leaf,) = (
            direct.execute(
                "SELECT pageno FROM dbstat WHERE name = 'state' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 10"
            ).fetchone()
            if _has_dbstat(direct)
            else (30,)
        )
    direct.close()
    damage(path, leaf - 1)
    assert salvage(path, PAGES)["state"] >= 301 - 16


def _has_dbstat(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return True


@pytest.mark.parametrize("content", [b"", b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 9_000])
def test_a_file_that_is_no_database_gives_way_to_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / database.FILE
    path.write_bytes(content)
    assert sum(salvage(path, PAGES).values()) == 0
    Store(path, 16).close()
