"""The store: a transaction is whole or not there; a full, locked or damaged disk is named and never crashes a batch."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.effects import Append, Drop, Effect, Put, Send
from edge_agent.egress.ledger import Ledger
from edge_agent.errors import SchemaTooNew, StoreCorrupt, StoreUnavailable
from edge_agent.limits import DAY_MS
from edge_agent.shell import database
from edge_agent.shell.store import Store
from edge_agent.shell.sweep import SWEEP_ROWS
from edge_agent.shell.writes import Writes
from firmware_configs.loader import load

PROFILE = Path(__file__).parents[3] / "firmware_configs" / "profiles" / "home-gateway.toml"
NOW = 1_800_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / database.FILE


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path, 4)
    yield opened
    opened.close()


def commit(store: Store, *effects: Effect, durable: bool = False, delivered: list[int] | None = None) -> bool:
    writes = Writes(delivered=delivered or [])
    writes.add(effects)
    return store.commit(writes, durable=durable)


def put(key: str, value: bytes, expires_ms: int = 0, room: str = "profile") -> Put:
    return Put(room=room, key=key, value=value, expires_ms=expires_ms)


def shelved(id_: str, value: bytes = b"v", shelf: str = "decision", expires_ms: int = 0) -> Append:
    return Append(shelf=shelf, id=id_, group="", subject="s", value=value, made_ms=NOW, expires_ms=expires_ms)


LEDGER = Ledger(load(PROFILE).profile.egress, "")


@pytest.fixture(autouse=True)
def _a_new_ledger() -> None:
    LEDGER.seq = 0


def message(payload: bytes, topic: str = "t", *, retain: bool = False, expires_ms: int = 0) -> Send:
    kind = "status" if retain else "decision"
    entered, _, _ = LEDGER.enter(kind, size=0, sha256="", now_ms=NOW)
    return Send(entered=entered, topic=topic, payload=payload, retain=retain, expires_ms=expires_ms)


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_committed_is_there_after_a_restart(path: Path, durable: bool) -> None:
    store = Store(path, 4)
    assert commit(store, put("a", b"1"), put("a", b"2"), shelved("d"), message(b"m"), durable=durable)
    store.close()
    again = Store(path, 4)
    assert (again.recall("profile", "a"), again.recall("decision", "d")) == (b"2", b"v")
    assert [row[2] for row in again.waiting(0, 10)] == [b"m"]
    assert again.waiting_rows == 1
    again.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.binary(max_size=8)), max_size=5), max_size=6))
def test_the_last_word_on_a_key_wins_within_and_across_transactions(
    batches: list[list[tuple[str, bytes | None]]],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / database.FILE, 4)
        model: dict[str, bytes] = {}
        for batch in batches:
            effects: list[Effect] = []
            for key, value in batch:
                effects.append(Drop(room="profile", key=key) if value is None else put(key, value))
                model.pop(key, None)
                if value is not None:
                    model[key] = value
            assert commit(store, *effects)
        assert {key: store.recall("profile", key) for key in "abc"} == {key: model.get(key) for key in "abc"}
        store.close()


def test_a_shelf_keeps_the_first_row_of_an_id(store: Store) -> None:
    commit(store, shelved("d", b"first"))
    commit(store, shelved("d", b"second"))
    assert store.recall("decision", "d") == b"first"


def test_delivered_messages_leave_the_outbox_and_the_rest_stays_in_order(store: Store) -> None:
    commit(store, *(message(bytes([n])) for n in range(5)))
    commit(store, delivered=[1, 3])
    assert [row[0] for row in store.waiting(0, 10)] == [2, 4, 5]
    assert [row[0] for row in store.waiting(2, 1)] == [4]


def test_a_full_disk_degrades_to_memory_and_recovers_without_loss(store: Store) -> None:
    blob = b"x" * 200_000
    full_at = next(n for n in range(100) if not commit(store, put(f"k{n}", blob), message(f"m{n}".encode())))
    assert store.degraded
    assert "disk_mib_max" in store.degraded
    assert store.recall("profile", f"k{full_at}") == blob, "what waits in memory counts"
    assert not commit(store, put("later", b"1"))
    assert commit(store, *(Drop(room="profile", key=f"k{n}") for n in range(full_at)))
    assert not store.degraded
    assert store.recall("profile", f"k{full_at}") == blob
    assert store.recall("profile", "later") == b"1"
    assert [row[2] for row in store.waiting(0, 1_000)] == [f"m{n}".encode() for n in range(full_at + 1)]


def test_a_full_file_drops_its_oldest_rows_in_the_stated_order(store: Store) -> None:
    blob = b"x" * 20_000
    commit(store, shelved("the-journal", blob, "journal"), shelved("the-example", blob, "example"))
    number = 0
    while not store.rows_evicted:
        number += 1
        assert commit(store, shelved(f"d{number}", blob)), store.degraded
    assert store.recall("journal", "the-journal") is None, "the journal goes first"
    assert store.recall("example", "the-example") == blob
    assert store.recall("decision", f"d{number}") == blob, "and what it made room for is there"


def test_what_no_disk_takes_is_bounded_in_memory(store: Store) -> None:
    for number in range(200):
        commit(store, put(f"k{number}", b"x" * 300_000))
        if store.overflowing:
            return
    pytest.fail("the backlog grew without end")


def test_a_file_that_another_process_holds_is_waited_for(store: Store, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not commit(store, put("a", b"1"))
    assert "another process" in store.degraded
    other.execute("ROLLBACK")
    other.close()
    assert commit(store, put("b", b"2"))
    assert (store.recall("profile", "a"), store.degraded) == (b"1", "")


@pytest.mark.parametrize("content", [b"no database, but long enough to have a header" * 100, b"SQLite format 3\0xx"])
def test_a_damaged_file_is_named_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises((StoreCorrupt, StoreUnavailable)) as caught:
        Store(path, 4)
    assert str(path) in caught.value.what
    assert caught.value.hint
    assert path.read_bytes() == content


def test_damage_that_shows_later_is_named(path: Path) -> None:
    store = Store(path, 4)
    commit(store, *(put(f"k{n}", b"x" * 5_000) for n in range(200)))
    store.close()
    raw = bytearray(path.read_bytes())
    raw[8_192:-4_096] = b"\xff" * (len(raw) - 12_288)
    path.write_bytes(raw)

    def read_all() -> None:
        held = Store(path, 4)
        for number in range(200):
            held.recall("profile", f"k{number}")

    with pytest.raises(StoreCorrupt) as caught:
        read_all()
    assert "takes over all that can be read" in caught.value.hint


def test_a_file_of_a_newer_agent_is_not_touched(path: Path) -> None:
    Store(path, 4).close()
    with sqlite3.connect(path) as direct:
        direct.execute("PRAGMA user_version = 999")
    with pytest.raises(SchemaTooNew, match="999"):
        Store(path, 4)
    with pytest.raises(SchemaTooNew, match="999"):
        database.open_readable(path)


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        Store(tmp_path / "file" / "state" / database.FILE, 4)


def test_a_sweep_deletes_what_expired_and_what_is_above_a_groups_share(store: Store) -> None:
    commit(
        store,
        put("old", b"1", NOW - 1),
        put("new", b"1", NOW + 1),
        put("ever", b"1"),
        shelved("gone", expires_ms=NOW),
        *(shelved(f"e{n}", shelf="example") for n in range(10)),
    )
    assert store.sweep(NOW, {"": 4}, DAY_MS) == 8
    assert [store.recall("profile", key) for key in ("old", "new", "ever")] == [None, b"1", b"1"]
    assert store.recall("decision", "gone") is None
    assert [store.recall("example", f"e{n}") is not None for n in range(10)] == [False] * 6 + [True] * 4


def test_what_a_clock_that_was_ahead_dated_is_kept_no_longer_than_anything_else(store: Store) -> None:
    years = 14 * 365 * DAY_MS
    commit(store, put("state", b"1", NOW + years), put("ever", b"1"), shelved("row", expires_ms=NOW + years))
    assert store.sweep(NOW, {}, DAY_MS) == 0
    assert store.sweep(NOW + DAY_MS - 1, {}, DAY_MS) == 0
    assert store.sweep(NOW + DAY_MS, {}, DAY_MS) == 2
    assert store.recall("profile", "ever") == b"1"


def test_a_sweep_never_holds_a_decision_up_for_long(store: Store) -> None:
    commit(store, *(put(f"k{n}", b"", 1) for n in range(SWEEP_ROWS + 10)))
    assert store.sweep(NOW, {}, DAY_MS) == SWEEP_ROWS
    assert store.sweep(NOW, {}, DAY_MS) == 10


def test_the_devices_secret_is_made_once(path: Path) -> None:
    first = Store(path, 4)
    secret = first.secret
    first.close()
    second = Store(path, 4)
    assert (len(secret), second.secret) == (32, secret)
    second.close()


def test_a_file_that_reached_its_size_gives_up_its_oldest_rows_and_is_no_fault(path: Path) -> None:
    store = Store(path, 4)
    for number in range(5_000):
        assert commit(store, shelved(f"d{number}", bytes(1_000))), store.degraded
        assert store.degraded == ""
    assert store.rows_evicted > 0
    assert store.recall("decision", "d4999") is not None
    assert store.recall("decision", "d0") is None
    assert path.stat().st_size <= 4 * 1024 * 1024
    store.close()


def test_a_ledger_gives_way_above_half_of_a_grown_file_and_its_chain_stays_whole(path: Path) -> None:
    from edge_agent.egress.ledger import first_break, unpack

    store = Store(path, 4)
    ledger = Ledger(load(PROFILE).profile.egress, "h" * 64)
    for batch in range(300):
        effects: list[Effect] = [shelved(f"d{batch}-{n}", bytes(100)) for n in range(50)]
        for _ in range(50):
            _, key, row = ledger.enter("decision", size=1, sha256="a" * 64, now_ms=NOW)
            effects.append(put(key, row, room="ledger"))
        assert commit(store, *effects), store.degraded
    store.close()
    with sqlite3.connect(path) as reader:
        rows = [unpack(value) for (value,) in reader.execute("SELECT value FROM ledger ORDER BY seq")]
        (decisions,) = reader.execute("SELECT count(*) FROM shelf").fetchone()
    reader.close()
    assert rows[0].seq > 1
    assert rows[-1].seq == 15_000
    assert first_break(rows, rows[0].previous) is None
    assert decisions > 1_000, "decisions keep their half"


def test_it_knows_whether_a_room_has_any_row(store: Store) -> None:
    assert not store.holds("profile")
    commit(store, put("u", b"1"))
    assert store.holds("profile")
    assert not store.holds("personal")
