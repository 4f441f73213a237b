"""The ledger's chain and budgets; what the outbox gives up first."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.egress import ledger
from edge_agent.egress.outbox import Waiting, evicted, expired
from edge_agent.errors import BudgetSpent, EgressUndeclared
from edge_agent.limits import DAY_MS
from firmware_configs.profile import Egress

DECLARED = (
    Egress(kind="decision", purposes=("p",), bytes_day_max=1_000),
    Egress(kind="status", purposes=("p",), bytes_day_max=10_000),
)


def _book() -> ledger.Ledger:
    return ledger.Ledger(DECLARED, "profile-hash")


def _enter(book: ledger.Ledger, kind: str = "decision", size: int = 10, now: int = 0) -> bytes:
    return book.enter(kind, size=size, sha256="00" * 32, now_ms=now)[2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=2, max_size=12), st.data())
def test_a_changed_byte_is_found_and_located(sizes: list[int], data: st.DataObject) -> None:
    book = _book()
    rows = [ledger.unpack(_enter(book, size=size)) for size in sizes]
    assert ledger.first_break(rows) is None
    at = data.draw(st.integers(0, len(rows) - 1))
    rows[at] = msgspec.structs.replace(rows[at], bytes=rows[at].bytes + 1)
    broken = ledger.first_break(rows)
    # A change in the newest row shows only against the head that is kept apart.
    assert broken == rows[at + 1].seq if at + 1 < len(rows) else rows[at].hash() != book.head


def test_a_removed_row_is_found() -> None:
    book = _book()
    rows = [ledger.unpack(_enter(book)) for _ in range(5)]
    assert ledger.first_break(rows[:2] + rows[3:]) == 4


def test_the_day_starts_a_new_budget() -> None:
    book = _book()
    _enter(book, size=1_000)
    with pytest.raises(BudgetSpent, match="1000 of 1000"):
        _enter(book, size=1)
    _enter(book, "status", 1)
    _enter(book, size=1_000, now=DAY_MS)


def test_what_was_sent_today_counts_after_a_restart() -> None:
    book = _book()
    rows = [_enter(book, size=400, now=5), _enter(book, size=400, now=6)]
    again = _book()
    again.restore(rows, now_ms=7)
    assert (again.seq, again.head) == (book.seq, book.head)
    with pytest.raises(BudgetSpent):
        _enter(again, size=400, now=8)
    tomorrow = _book()
    tomorrow.restore(rows, now_ms=DAY_MS + 1)
    _enter(tomorrow, size=900, now=DAY_MS + 1)


def test_an_undeclared_kind_does_not_leave() -> None:
    with pytest.raises(EgressUndeclared, match="declares no egress"):
        _enter(_book(), "update")


def test_only_the_ledger_makes_the_proof() -> None:
    with pytest.raises(TypeError):
        ledger.Entered(object(), seq=1, kind="decision")


WAITING = st.lists(st.builds(Waiting, st.integers(0, 1_000), st.sampled_from([0, 50, 500]), st.booleans()), max_size=30)


@settings(max_examples=100, deadline=None)
@given(WAITING, st.integers(0, 20))
def test_eviction_gives_up_just_enough_and_perishable_things_first(waiting: list[Waiting], most: int) -> None:
    gone = evicted(waiting, most)
    assert len(gone) == max(0, len(waiting) - most)
    ranks = sorted((one.retain, one.expires_ms == 0, one.entry) for one in waiting)
    assert gone == [entry for _, _, entry in ranks[: len(gone)]]


def test_expired_entries_are_those_whose_time_is_over() -> None:
    waiting = [Waiting(1, 0, False), Waiting(2, 10, False), Waiting(3, 11, False)]
    assert expired(waiting, 10) == [2]
