"""What the coordinator remembers of the fleet, and that writers do not overwrite each other."""

import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import RevisionConflict, UnknownDevice
from coordinator.shell.fleet_store import LOG_ROWS_MAX, FleetStore
from coordinator.shell.listening import presence, word
from coordinator.shell.store import Store
from firmware_configs.messages import Alert, BundleState, Desired, Rejected, Reported, Status

NOW = 1_800_000_000_000
US = "c" * 16


@pytest.fixture
def store(tmp_path: Path) -> FleetStore:
    for n in (1, 2):
        Store(tmp_path).enrol(f"home-{n}", n, "key")
    return FleetStore(tmp_path)


def status(device: str = "home-1", *, online: bool = True, time_ms: int = NOW) -> bytes:
    return msgspec.msgpack.encode(Status(device=device, online=online, agent="0.2.0", profile="ab", time_ms=time_ms))


def alert(n: int) -> Alert:
    return Alert(
        device="home-1",
        kind="burn-rate",
        name="quick",
        state="firing",
        severity="page",
        what="too slow",
        value=float(n),
        threshold=14.4,
        since_ms=NOW,
        time_ms=NOW,
    )


def hear(
    store: FleetStore, kind: str, payload: bytes, device: str = "home-1", now: int = NOW, live: bool = True
) -> int:
    heard = word(device, kind, payload, now, live=live, as_json=False)
    return store.hear([heard]) if heard is not None else 0


def test_tags_and_groups_are_kept(store: FleetStore) -> None:
    store.tag(["home-1", "home-2"], {"site": "lab", "floor": "2"})
    store.tag(["home-2"], {"floor": None})
    store.join("beta", ["home-2"])
    first, second = store.views()
    assert first.tags == {"site": "lab", "floor": "2"}
    assert second.tags == {"site": "lab"}
    assert second.groups == ("beta",)
    store.leave("beta", ["home-2"])
    assert store.groups() == {}


def test_what_a_device_said_last_stands_when_its_last_will_comes(store: FleetStore) -> None:
    hear(store, "status", status(time_ms=NOW + 5_000))
    hear(store, "status", status(online=False, time_ms=0), now=NOW + 60_000)
    found = store.view("home-1")
    assert (found.presence, found.agent, found.skew_ms, found.seen_ms) == ("offline", "0.2.0", 5_000, NOW + 60_000)


def test_what_the_broker_retained_says_what_was_and_not_that_it_is_heard_now(store: FleetStore) -> None:
    hear(store, "status", status(time_ms=NOW - 10**9), live=False)
    found = store.view("home-1")
    assert (found.presence, found.seen_ms, found.skew_ms) == ("online", 0, 0)
    assert store.log("home-1") == []


def test_nobody_speaks_for_another_and_strangers_are_not_written_down(store: FleetStore) -> None:
    assert hear(store, "status", status("home-2"), device="home-1") == 0
    assert hear(store, "status", status("stranger"), device="stranger") == 0
    assert store.view("home-1").presence == "unknown"


def test_the_log_holds_changes_and_not_every_minute(store: FleetStore) -> None:
    for n in range(5):
        hear(store, "status", status(time_ms=NOW + n), now=NOW + n)
    rejected = msgspec.msgpack.encode(Rejected(code="AGT203", source="room", reason="no JSON", count=1, time_ms=NOW))
    hear(store, "rejected", rejected)
    hear(store, "rejected", rejected)
    assert [row.kind for row in store.log("home-1")] == ["status", "rejected", "rejected"]
    assert store.log("home-1", kinds=["rejected"])[0].value["code"] == "AGT203"
    assert [row.id for row in store.log("home-1", after=1)] == [2, 3]


def test_an_alert_speaks_for_its_own_device_only() -> None:
    said = msgspec.json.encode(alert(1))
    assert word("home-1", "alert", said, NOW, live=True, as_json=True) is not None
    assert word("home-2", "alert", said, NOW, live=True, as_json=True) is None


def test_the_log_is_bounded(store: FleetStore) -> None:
    alerts = [msgspec.msgpack.encode(alert(n)) for n in range(LOG_ROWS_MAX + 50)]
    heard = [word("home-1", "alert", one, NOW, live=True, as_json=False) for one in alerts]
    assert store.hear([one for one in heard if one is not None]) == len(alerts)
    rows = store.log("home-1", limit=1_000)
    assert (len(rows), rows[-1].value) == (LOG_ROWS_MAX, msgspec.to_builtins(alert(LOG_ROWS_MAX + 49)))


@settings(max_examples=300)
@given(st.sampled_from(["status", "reported", "rejected", "alert"]), st.binary(max_size=80), st.booleans())
def test_whatever_bytes_are_published_nobody_falls(kind: str, payload: bytes, as_json: bool) -> None:
    word("home-1", kind, payload, NOW, live=True, as_json=as_json)


def test_mosquittos_log_tells_who_is_there() -> None:
    came = presence("1638: New client connected from 127.0.0.1:41 as home-1 (p5, c0, k30, u'home-1').", NOW)
    went = presence("1638: Client home-1 disconnected.", NOW)
    assert came is not None and came.device == "home-1" and came.online  # noqa: PT018
    assert went is not None and went.online is False  # noqa: PT018
    assert presence("1638: New connection from 127.0.0.1:41 on port 1883.", NOW) is None


def test_of_two_writers_that_saw_the_same_revision_one_is_refused(store: FleetStore) -> None:
    store.wish(["home-1"], lambda old: old, by=US, if_revision=0, pass_reported=False)
    with pytest.raises(RevisionConflict):
        store.wish(["home-1"], lambda old: old, by=US, if_revision=0, pass_reported=False)


def test_a_conflict_with_one_device_changes_none(store: FleetStore) -> None:
    store.wish(["home-2"], lambda old: old, by=US, pass_reported=False)
    with pytest.raises(RevisionConflict):
        store.wish(["home-1", "home-2"], lambda old: old, by=US, if_revision=0, pass_reported=False)
    assert store.view("home-1").desired.revision == 0


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    Store(tmp_path).enrol("home-1", 1, "key")

    def write(name: str) -> None:
        own = FleetStore(tmp_path)
        for n in range(10):

            def change(old: Desired, key: str = f"{name}-{n}") -> Desired:
                return msgspec.structs.replace(old, bundles={**old.bundles, key: "1"})

            own.wish(["home-1"], change, by=US, pass_reported=False)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = FleetStore(tmp_path).view("home-1").desired
    assert found.revision == 30
    assert len(found.bundles) == 30


def test_nobody_writes_between_the_reading_and_the_writing_of_another(store: FleetStore, tmp_path: Path) -> None:
    def add(key: str) -> None:
        def change(old: Desired) -> Desired:
            return msgspec.structs.replace(old, bundles={**old.bundles, key: "1"})

        FleetStore(tmp_path).wish(["home-1"], change, by=US, pass_reported=False)

    other = threading.Thread(target=add, args=("theirs",))

    def slowly(old: Desired) -> Desired:
        other.start()
        other.join(0.5)  # it must wait for us, not we for it
        return msgspec.structs.replace(old, bundles={**old.bundles, "ours": "1"})

    store.wish(["home-1"], slowly, by=US, pass_reported=False)
    other.join()
    assert set(store.view("home-1").desired.bundles) == {"ours", "theirs"}


def test_a_wish_can_be_numbered_above_what_the_device_reports(store: FleetStore) -> None:
    hear(store, "reported", msgspec.msgpack.encode(Reported(device="home-1", revision=41, bundles={})))
    assert store.wish(["home-1"], lambda old: old, by=US, pass_reported=True)["home-1"].revision == 42


def test_an_unknown_device_is_named(store: FleetStore) -> None:
    with pytest.raises(UnknownDevice, match="home-9"):
        store.view("home-9")


def test_ten_thousand_devices_are_listed_and_examined_within_seconds(tmp_path: Path) -> None:
    """The limits are wide: they catch a query a device, not a slow machine."""
    from coordinator.fleet.health import examine
    from coordinator.fleet.selection import ordered, parse, select

    store = fleet_of(tmp_path, 10_000)
    began = time.perf_counter()
    views = store.views()
    chosen = ordered(select(views, parse(["tag:site=s7", "presence:online"])), "seen")
    found = examine(views, NOW)
    seconds = time.perf_counter() - began
    print(f"10,000 devices: {seconds:.2f} s to read, choose, sort and examine")
    assert len(chosen) == 100
    assert len(found) == 0
    assert seconds < 15


def fleet_of(home: Path, count: int) -> FleetStore:
    """A home with so many devices that have said status and report."""
    names = [f"home-{n:05d}" for n in range(count)]
    Store(home)
    store = FleetStore(home)
    with store.open() as database:
        database.executemany(
            "INSERT INTO device (name, node, public_key, enrolled_ms) VALUES (?, ?, 'key', ?)",
            [(name, n, NOW) for n, name in enumerate(names)],
        )
    store.wish(names, lambda old: msgspec.structs.replace(old, bundles={"a": "1"}), by=US, pass_reported=False)
    state = {"a": BundleState(version="1", state="active")}
    heard = []
    for name in names:
        said = Status(
            device=name, online=True, agent="0.2.0", profile="ab", counters={f"c{i}": i for i in range(20)}, time_ms=NOW
        )
        heard.append(word(name, "status", msgspec.msgpack.encode(said), NOW, live=True, as_json=False))
        report = Reported(device=name, revision=1, bundles=state, time_ms=NOW)
        heard.append(word(name, "reported", msgspec.msgpack.encode(report), NOW, live=True, as_json=False))
    with store.open() as database:
        database.executemany(
            "INSERT INTO fleet_tag VALUES (?, 'site', ?)", [(name, f"s{n % 100}") for n, name in enumerate(names)]
        )
    began = time.perf_counter()
    store.hear([one for one in heard if one is not None])
    print(f"{2 * count:,} messages written down in {time.perf_counter() - began:.2f} s")
    return store
