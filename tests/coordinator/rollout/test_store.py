"""A rollout on the disk: killed at any point, the next process goes on where it stood; a log that tells on changes."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from coordinator.errors import AlreadyRunning, LogDamaged, NotRunning, RolloutStateInvalid, RolloutTaken, UnknownRollout
from coordinator.rollout.state import Rollout, Wish
from coordinator.shell.rollout_line import Said
from coordinator.shell.rollout_loop import RolloutLoop, alone
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.store import Store
from firmware_configs.messages import BundleState, Desired, Reported, Sums
from tests.coordinator.rollout.plans import NEW, OLD, planned, tally


class Kill(BaseException):
    """The process dies here."""


class Town:
    """Devices at the other end of a line that keeps what was published, as a broker does."""

    def __init__(self, devices: Sequence[str]) -> None:
        self.wanted: dict[str, Desired] = {}
        self.published = 0
        self.dies_after = -1
        self.up = True
        self.decisions = dict.fromkeys(devices, 0)
        self.fails = False

    def hear(self, _seconds: float) -> list[Said]:
        return [Said(device=device, reported=self._report(device)) for device in self.decisions]

    def _report(self, device: str) -> Reported:
        wanted = self.wanted.get(device)
        state = BundleState(version=OLD, state="active")
        if wanted is not None and wanted.bundles["context"] == NEW:
            self.decisions[device] += 15
            sums = Sums(new=tally(self.decisions[device]), old=tally(self.decisions[device]))
            state = BundleState(version=NEW, state="canary", serving=OLD, sums=sums if wanted.watch else None)
            if self.fails:
                state = BundleState(version=NEW, state="failed", reason="boom", serving=OLD)
        return Reported(device=device, revision=0, bundles={"context": state})

    def publish(self, wanted: Sequence[tuple[str, Desired]]) -> None:
        for device, desired in wanted:
            if self.published == self.dies_after:
                self.dies_after = -1
                raise Kill
            old = self.wanted.get(device)
            assert old is None or desired.revision >= old.revision, "what is wanted never goes back in time"
            self.wanted[device] = desired
            self.published += 1


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        self.ms += 10_000
        return self.ms


def begun(home: Path) -> Rollout:
    rollout = planned()
    store = RolloutStore(home)
    store.begin(rollout, Wish(kind="start", who="ann"))
    store.close()
    return rollout


def live(home: Path, town: Town, clock: Clock, turns: int = 60) -> Rollout:
    store = RolloutStore(home)
    loop = RolloutLoop(store, town, clock, lambda _line: None)
    try:
        for _ in range(turns):
            if not loop.turn(0.0):
                break
        return store.rollout("r")
    finally:
        store.close()


def test_a_rollout_lives_on_the_disk_and_asks_what_it_committed(tmp_path: Path) -> None:
    rollout = begun(tmp_path)
    town = Town(list(rollout.members))
    done = live(tmp_path, town, Clock())
    assert done.state == "done"
    assert {desired.bundles["context"] for desired in town.wanted.values()} == {NEW}
    assert all(Store(tmp_path).desired(device) == desired for device, desired in town.wanted.items())
    assert RolloutStore(tmp_path).due() == []


@pytest.mark.parametrize("fails", [False, True])
def test_killed_at_any_publication_the_next_process_goes_on(tmp_path: Path, fails: bool) -> None:
    kills = 0
    for at in (0, 2, 3, 8, 11) if not fails else (0, 2, 4):
        home = tmp_path / str(at)
        rollout = begun(home)
        town, clock = Town(list(rollout.members)), Clock()
        town.fails, town.dies_after = fails, at
        while True:
            try:
                done = live(home, town, clock)
                break
            except Kill:
                kills += 1
        assert done.state == ("rolled-back" if fails else "done")
        if fails:
            assert len(town.wanted) == 3, "nobody else was touched"
            assert {desired.bundles["context"] for desired in town.wanted.values()} == {OLD}
        RolloutStore(home).verify("r")
    assert kills == (3 if fails else 5)


def test_killed_within_a_transaction_nothing_of_the_step_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = begun(tmp_path)
    town, clock = Town(list(rollout.members)), Clock()
    real = RolloutStore._want

    def dies(self: RolloutStore, *words: object) -> None:
        real(self, *words)  # type: ignore[arg-type]
        raise Kill

    monkeypatch.setattr(RolloutStore, "_want", dies)
    with pytest.raises(Kill):
        live(tmp_path, town, clock)
    store = RolloutStore(tmp_path)
    assert store.rollout("r") == rollout
    assert (store.log("r"), store.due(), len(store.wishes("r"))) == ([], [], 1)
    monkeypatch.setattr(RolloutStore, "_want", real)
    assert live(tmp_path, town, clock).state == "done"


def test_what_the_broker_did_not_take_stays_due(tmp_path: Path) -> None:
    rollout = begun(tmp_path)
    town = Town(list(rollout.members))
    store = RolloutStore(tmp_path)
    loop = RolloutLoop(store, town, Clock(), lambda _line: None)
    taking = town.publish

    def away(_wanted: object) -> None:
        raise NotRunning("away", hint="wait")

    town.publish = away  # type: ignore[assignment]
    with pytest.raises(NotRunning):
        loop.turn(0.0)
    assert len(store.due()) == 3
    town.publish = taking  # type: ignore[method-assign]
    loop.publish()
    assert store.due() == []
    assert len(town.wanted) == 3


def test_while_the_broker_is_away_no_time_passes(tmp_path: Path) -> None:
    rollout = begun(tmp_path)
    town, clock = Town(list(rollout.members)), Clock()
    live(tmp_path, town, clock, turns=3)
    before = RolloutStore(tmp_path).rollout("r")
    town.up = False
    assert live(tmp_path, town, clock, turns=100) == before


def test_of_one_bundle_there_is_one_rollout_at_a_time(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(RolloutTaken, match="r of context is planned"):
        begun(tmp_path)


def test_a_wish_is_refused_where_it_cannot_be_had(tmp_path: Path) -> None:
    begun(tmp_path)
    store = RolloutStore(tmp_path)
    with pytest.raises(RolloutStateInvalid, match="nothing to resume"):
        store.wish("r", Wish(kind="resume", who="ann"))
    with pytest.raises(UnknownRollout, match="no rollout `s`"):
        store.wish("s", Wish(kind="pause", who="ann"))


def test_the_log_says_who_did_what_and_why(tmp_path: Path) -> None:
    rollout = begun(tmp_path)
    town, clock = Town(list(rollout.members)), Clock()
    live(tmp_path, town, clock, turns=2)
    store = RolloutStore(tmp_path)
    store.wish("r", Wish(kind="rollback", who="ben", reason="a complaint"))
    live(tmp_path, town, clock)
    entries = store.log("r")
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    told = [(entry.note.who, entry.note.what) for entry in entries]
    assert told[0] == ("ann", "start")
    assert ("ben", "rollback") in told
    assert told[-1] == ("rollout", "rolled back")
    assert store.verify("r") == entries[-1].hash


@pytest.mark.parametrize(
    "damage", ["UPDATE rollout_log SET value = x'80' WHERE number = 2", "DELETE FROM rollout_log WHERE number = 2"]
)
def test_a_log_that_was_changed_is_found_out(tmp_path: Path, damage: str) -> None:
    rollout = begun(tmp_path)
    live(tmp_path, Town(list(rollout.members)), Clock())
    with sqlite3.connect(tmp_path / "coordinator.db") as database:
        database.execute(damage)
    with pytest.raises(LogDamaged, match="line 2"):
        RolloutStore(tmp_path).verify("r")


def test_one_process_carries_the_rollouts_of_a_home_on(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(AlreadyRunning), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass
