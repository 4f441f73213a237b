"""The ledger's chain and budgets; what the outbox gives up first."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.egress import ledger
from edge_agent.egress.outbox import PRIORITY, Pace, Waiting, evicted
from edge_agent.errors import BudgetSpent, EgressUndeclared
from edge_agent.limits import DAY_MS, DRAIN_BURST, DRAIN_PER_S
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


WAITING = st.lists(
    st.builds(
        Waiting, st.integers(0, 1_000), st.sampled_from(sorted(PRIORITY)), st.sampled_from([0, 50, 500]), st.booleans()
    ),
    max_size=30,
    unique_by=lambda one: one.entry,
)


@settings(max_examples=100, deadline=None)
@given(WAITING, st.integers(0, 20))
def test_eviction_gives_up_just_enough_and_nothing_that_matters_more_than_what_stays(
    waiting: list[Waiting], most: int
) -> None:
    gone = set(evicted(waiting, most))
    assert len(gone) == max(0, len(waiting) - most)

    def worth(one: Waiting) -> tuple[bool, int, bool]:
        return (one.retain, PRIORITY[one.kind], one.expires_ms == 0)

    lost = [one for one in waiting if one.entry in gone]
    kept = [one for one in waiting if one.entry not in gone]
    assert all(worth(one) <= worth(other) for one in lost for other in kept)
    assert all(one.entry < other.entry for one in lost for other in kept if worth(one) == worth(other))


def test_what_is_true_now_outlives_reports_of_noise() -> None:
    waiting = [Waiting(1, "status", 0, True), Waiting(2, "decision", 0, False), Waiting(3, "rejection", 9, False)]
    assert evicted(waiting, 2) == [3]
    assert evicted(waiting, 1) == [3, 2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 400)), max_size=30))
def test_a_backlog_never_leaves_faster_than_its_pace(visits: list[tuple[float, int]]) -> None:
    pace, now, sent = Pace(), 0.0, 0
    for waited, wanted in visits:
        now += waited
        take = min(wanted, pace.room(now))
        pace.left(take)
        sent += take
    assert sent <= DRAIN_BURST + DRAIN_PER_S * now + 1
