"""Rounds that are tried again, and replies that come after their round: the server app's own code, no network."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.errors import TooFewReports
from coordinator.rounds import BACK_OFF_MAX_S, back_off_s
from coordinator.shell.job import Job
from coordinator.shell.late import Late
from coordinator.shell.steps import Steps
from coordinator.shell.store import Store
from tests.coordinator.answering import Door, in_a_server_app  # noqa: F401 - a fixture
from tests.coordinator.fleet import CONTEXT
from tests.coordinator.written import begin, job_of

pytestmark = pytest.mark.usefixtures("in_a_server_app")
KEY = "run-1"


def job_in(home: Path, **more: object) -> Job:
    usual = {"bundle": str(CONTEXT), "join_s": 0.0, "deadline_s": 30.0, "back_off_s": 0.0, "minimum_reports": 3}
    return msgspec.structs.replace(job_of(home, KEY), **{**usual, **more})


def steps_of(job: Job, store: Store, door: Door, *, name: bool = True) -> tuple[Steps, Late]:
    late = Late(door, store, KEY, name=name)  # type: ignore[arg-type]
    return Steps(door, job, store, late, 0.0), late  # type: ignore[arg-type]


def attempts(store: Store) -> list[tuple[int, str, int]]:
    return [(row.attempt, row.state, row.asked) for row in store.attempts(KEY)]


class Filling(Door):
    """One more node is online each time that somebody looks."""

    def get_node_ids(self) -> list[int]:
        self.online = [*self.online, len(self.online) + 1]
        return super().get_node_ids()


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_round_that_comes_to_nothing_is_tried_again_as_often_as_the_run_allows(tmp_path: Path, retries: int) -> None:
    store = begin(tmp_path, KEY)
    steps, _ = steps_of(job_in(tmp_path, retries=retries), store, Door([1, 2]))
    with pytest.raises(TooFewReports, match="2 nodes are online, 3 reports are needed"):
        steps.through(1, None, steps.start())
    assert attempts(store) == [(n + 1, "abandoned", 2) for n in range(retries + 1)]
    assert all("2 nodes are online" in row.reason for row in store.attempts(KEY))


def test_a_round_that_enough_come_to_at_the_second_look_is_done(tmp_path: Path) -> None:
    store = begin(tmp_path, KEY)
    steps, _ = steps_of(job_in(tmp_path, retries=5), store, Filling([1]))
    steps.through(1, None, steps.start())
    assert attempts(store) == [(1, "abandoned", 2), (2, "accounted", 3)]


def test_what_is_raised_in_the_end_is_what_went_wrong_first(tmp_path: Path) -> None:
    class Shrinking(Door):
        def get_node_ids(self) -> list[int]:
            self.online = self.online[1:]
            return super().get_node_ids()

    store = begin(tmp_path, KEY)
    steps, _ = steps_of(job_in(tmp_path, retries=1), store, Shrinking([1, 2, 3]))
    with pytest.raises(TooFewReports, match="2 nodes are online"):
        steps.through(1, None, steps.start())
    assert [row.reason.split()[0] for row in store.attempts(KEY)] == ["2", "1"]


@given(first=st.floats(0.1, 60.0), attempt=st.integers(1, 1_000_000))
def test_each_attempt_waits_twice_as_long_as_the_one_before_up_to_a_bound(first: float, attempt: int) -> None:
    waits = back_off_s(first, attempt), back_off_s(first, attempt + 1)
    assert waits[1] in (2 * waits[0], BACK_OFF_MAX_S)
    assert back_off_s(first, 1) == first


@pytest.mark.parametrize("name", [True, False], ids=["plain", "private"])
def test_a_late_reply_is_counted_used_for_nothing_and_named_where_that_tells_no_secret(
    tmp_path: Path, name: bool
) -> None:
    store = begin(tmp_path, KEY)
    for node in (1, 2, 3):
        store.enrol(f"home-{node}", node, f"key {node}")
    door = Door([1, 2, 3], silent={3})
    steps, late = steps_of(job_in(tmp_path, minimum_reports=2, deadline_s=0.3), store, door, name=name)
    after = steps.through(1, None, steps.start())
    door.silent.clear()
    late.rest()
    (row,) = store.rounds(KEY)
    assert (row.state, row.asked, row.reports, row.late) == ("accounted", 3, 2, 1)
    assert row.late_devices == (("home-3",) if name else ())
    assert steps.result(row).shared.keys() == after.shared.keys()
    told = CliRunner().invoke(main, ["rounds", "show", KEY, "--home", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "2/3 reports, 0 refused, 1 late" in told.output
    assert ("late: home-3" in told.output) == name
