"""The ledger's reserve: what leaves while the medium is full stands in the ledger after any end of the process."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.egress.ledger import Ledger, unpack
from edge_agent.shell import database
from edge_agent.shell.reserve import Reserve
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.ledger import first_break
from firmware_configs.ledger_reserve import BYTES, FILE
from firmware_configs.profile import Egress

MANY = st.dictionaries(st.integers(1, 2**63), st.binary(min_size=1, max_size=400), max_size=20)


@settings(max_examples=25, deadline=None)
@given(MANY, st.binary(max_size=40), st.integers(0, 2_000))
def test_what_was_kept_is_there_again_and_a_torn_end_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[int, bytes], torn: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("reserve")
    one = Reserve(folder)
    assert one.keep(rows)
    one.close()
    again = Reserve(folder)
    assert again.rows() == rows
    again.close()
    with (folder / FILE).open("r+b") as file:
        file.seek(at)
        file.write(torn)
    damaged = Reserve(folder)
    assert damaged.rows().items() <= rows.items() or not torn
    damaged.close()


def test_it_is_full_at_its_size_and_empty_when_it_was_cleared(tmp_path: Path) -> None:
    one = Reserve(tmp_path)
    number = 0
    while one.keep({number + 1: bytes([7]) * 1_000}):
        number += 1
    assert number == BYTES // 1_016
    assert len(one.rows()) == number
    one.clear()
    assert one.rows() == {}
    assert one.keep({1: b"again"})
    assert one.rows() == {1: b"again"}
    one.close()


def test_where_no_file_can_be_had_nothing_is_kept(tmp_path: Path) -> None:
    one = Reserve(tmp_path / "nowhere")
    assert not one.keep({1: b"row"})
    assert one.rows() == {}
    one.clear()
    one.close()


def entered(book: Ledger, count: int) -> Writes:
    """A transaction that enters so many messages."""
    writes = Writes()
    for _ in range(count):
        _, key, row = book.enter("decision", size=1, sha256="00", now_ms=1)
        writes.ledger[int(key)] = row
    return writes


@pytest.fixture
def full(tmp_path: Path) -> Callable[[], Store]:
    """Opens a store whose medium takes nothing more."""

    def opened() -> Store:
        store = Store(tmp_path / database.FILE, 16)
        store._connection.execute("PRAGMA query_only = ON")
        return store

    return opened


def a_book() -> Ledger:
    return Ledger([Egress(kind="decision", purposes=("bench",), bytes_day_max=10**9)], "")


@pytest.mark.parametrize("ends", ["killed", "killed and still full", "in order"])
def test_rows_of_a_full_medium_are_in_the_ledger_at_the_next_start(
    tmp_path: Path, full: Callable[[], Store], ends: str
) -> None:
    book, first = a_book(), Store(tmp_path / database.FILE, 16)
    assert first.commit(entered(book, 3), durable=False)
    first.close()
    store = full()
    for _ in range(4):
        assert not store.commit(entered(book, 2), durable=False)
        assert store.is_entered
    if ends == "in order":
        store._connection.execute("PRAGMA query_only = OFF")
        assert store.commit(entered(book, 1), durable=False)
        assert store._reserve.rows() == {}
        store.close()
    again = Store(tmp_path / database.FILE, 16)
    rows = [unpack(row) for _, _, row, _ in again.rows(("ledger",), 0)]
    assert len(rows) == (12 if ends == "in order" else 11)
    assert first_break(rows) is None
    assert rows[-1].hash() == book.head
    again.close()


def test_a_start_on_a_full_medium_goes_on_from_the_reserve(
    tmp_path: Path, full: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    book, store = a_book(), full()
    store.commit(entered(book, 5), durable=False)
    made = Store._transact

    def refused(self: Store, writes: Writes) -> None:
        self._connection.execute("PRAGMA query_only = ON")
        made(self, writes)

    monkeypatch.setattr(Store, "_transact", refused)
    again = Store(tmp_path / database.FILE, 16)
    monkeypatch.undo()
    assert again.degraded
    assert again.is_entered
    rows = [unpack(row) for _, _, row, _ in again.rows(("ledger",), 0)]
    assert (len(rows), rows[-1].hash()) == (5, book.head), "the chain goes on from what left last"
    assert not again.commit(entered(book, 1), durable=False)
    assert len(again._reserve.rows()) == 6
    again._connection.execute("PRAGMA query_only = OFF")
    assert again.commit(entered(book, 1), durable=False)
    assert [unpack(row).seq for _, _, row, _ in again.rows(("ledger",), 0)] == list(range(1, 8))
    again.close()


def test_without_room_in_the_reserve_nothing_counts_as_entered_until_the_medium_takes_it(
    full: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    book, store = a_book(), full()
    write = os.pwrite

    def no_room(descriptor: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", no_room)
    assert not store.commit(entered(book, 1), durable=False)
    assert not store.is_entered
    monkeypatch.setattr(os, "pwrite", write)
    assert not store.commit(entered(book, 1), durable=False)
    assert not store.is_entered, "a chain with a gap proves nothing"
    store._connection.execute("PRAGMA query_only = OFF")
    assert store.commit(entered(book, 1), durable=False)
    assert store.is_entered
    store.close()
