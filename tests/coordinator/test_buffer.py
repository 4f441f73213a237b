"""Reports of an asynchronous run lie on disk until they are in a version: a cut loses none and counts none twice."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import rounds
from coordinator.errors import TooFewReports
from coordinator.shell import buffered
from coordinator.shell.buffer import Buffer, Came
from coordinator.shell.job import Job
from coordinator.shell.late import Late
from coordinator.shell.steps import Steps
from coordinator.shell.store import Store
from coordinator.strategies.asynchronous import Asynchronous
from tests.coordinator.answering import Cut, Door, in_a_server_app  # noqa: F401 - a fixture
from tests.coordinator.fleet import CONTEXT
from tests.coordinator.strategies.fleet import reports
from tests.coordinator.written import begin, job_of

pytestmark = pytest.mark.usefixtures("in_a_server_app")
KEY, VERSIONS, FULL = "run-1", 3, 2
COUNTS = st.lists(st.integers(0, 4), max_size=4)


def job_in(home: Path, *, keep_reports: bool = True, deadline_s: float = 30.0) -> Job:
    return msgspec.structs.replace(
        job_of(home, KEY), bundle=str(CONTEXT), rounds=VERSIONS, deadline_s=deadline_s, keep_reports=keep_reports
    )


def folder_of(home: Path) -> Path:
    folder = home / "runs" / KEY
    folder.mkdir(parents=True)
    return folder


def some(count: int, seed: int = 0) -> list[Came]:
    return [Came(n, report) for n, report in enumerate(reports(count, seed), 1)]


def same(ones: list[Came], others: list[Came]) -> bool:
    def told(came: Came) -> tuple[Any, ...]:
        own = came.report
        parts = tuple((n, v.dtype.str, v.shape, v.tobytes()) for n, v in own.delta.items())
        return (came.version, parts, own.scales, own.examples, own.node)

    return [told(one) for one in ones] == [told(one) for one in others]


@settings(max_examples=30)
@given(first=st.integers(0, 3), later=COUNTS, data=st.data())
def test_what_is_cut_off_in_the_middle_of_a_report_reads_as_the_reports_before_it(
    tmp_path_factory: pytest.TempPathFactory, first: int, later: list[int], data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("home")
    buffer, path = Buffer(job_in(home), 1), folder_of(home) / "reports-1.frames"
    wrote, ends = some(first), [0]
    buffer.begin(wrote)
    for n, count in enumerate(later):
        buffer.append(some(count, seed=n))
        wrote += some(count, seed=n)
    assert same(buffer.read(), wrote)
    raw = path.read_bytes()
    for one in wrote:
        buffer.begin([one])
        ends.append(ends[-1] + len(path.read_bytes()))
    cut = data.draw(st.integers(0, len(raw)))
    path.write_bytes(raw[:cut])
    whole = sum(end <= cut for end in ends) - 1
    assert same(buffer.read(), wrote[:whole])
    # What comes after the cut is read again, too.
    buffer.append(some(1, seed=9))
    assert same(buffer.read(), wrote[:whole] + some(1, seed=9))
    assert path.stat().st_mode & 0o777 == 0o600


@given(st.binary(max_size=64))
def test_whatever_lies_in_its_place_is_no_report_or_one(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (folder_of(home) / "reports-1.frames").write_bytes(raw)
    assert all(isinstance(one, Came) for one in Buffer(job_in(home), 1).read())


def test_a_run_that_keeps_no_reports_writes_none(tmp_path: Path) -> None:
    folder, buffer = folder_of(tmp_path), Buffer(job_in(tmp_path, keep_reports=False), 1)
    buffer.begin(some(1))
    buffer.append(some(2))
    assert buffer.read() == []
    assert list(folder.iterdir()) == []


def session(job: Job, store: Store, door: Door, asked: Asynchronous) -> None:
    """One life of the server app."""
    steps = Steps(door, job, store, Late(door, store, KEY, name=True), 0.0)  # type: ignore[arg-type]
    done = rounds.done_of(store.rounds(KEY))
    now = steps.result(done[-1]) if done else steps.start()
    buffered.as_they_come(door, job, asked, store, steps, now)  # type: ignore[arg-type]


def used(store: Store) -> float:
    """Σ of the losses of all reports in versions: each report has a loss of its own."""
    return sum(row.loss_before * row.reports for row in rounds.done_of(store.rounds(KEY)))


@pytest.mark.parametrize("steps", range(1, 16))
def test_a_run_that_is_cut_after_any_call_uses_each_report_that_came_in_once(tmp_path: Path, steps: int) -> None:
    """Three devices answer each time, a version takes two: one report is always left over for the next."""
    job, asked = job_in(tmp_path), Asynchronous(buffer=FULL)
    store = begin(tmp_path, KEY)
    first, second = Door([1, 2, 3], steps=steps), Door([1001, 1002, 1003])
    try:
        session(job, store, first, asked)
    except Cut:
        session(job, Store(tmp_path), second, asked)
    done = rounds.done_of(store.rounds(KEY))
    assert [(row.number, row.reports) for row in done] == [(n, FULL) for n in range(1, VERSIONS + 1)]
    came = sorted([*first.given.elements()]) + sorted([*second.given.elements()])
    # The oldest count first, and what came in before the cut comes before what came in after it.
    assert used(store) == pytest.approx(sum(came[: VERSIONS * FULL]), rel=1e-6)
    assert not list((tmp_path / "runs" / KEY).glob("*.frames"))


@pytest.mark.parametrize("point", ["buffered:3", "saved:1", "aggregated:1", "accounted:1", "saved:2"])
def test_a_run_that_is_cut_between_two_writes_uses_each_report_that_came_in_once(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, asked = job_in(tmp_path), Asynchronous(buffer=FULL)
    store = begin(tmp_path, KEY)
    first, second = Door([1, 2, 3]), Door([1001, 1002, 1003])

    def cut(name: str, number: int = 0) -> None:
        if f"{name}:{number}" == point:
            raise Cut

    with monkeypatch.context() as patched:
        patched.setattr("coordinator.shell.fault.point", cut)
        with pytest.raises(Cut):
            session(job, store, first, asked)
    session(job, Store(tmp_path), second, asked)
    came = sorted([*first.given.elements()]) + sorted([*second.given.elements()])
    assert used(store) == pytest.approx(sum(came[: VERSIONS * FULL]), rel=1e-6)
    assert {row.attempt for row in store.rounds(KEY)} == {1}, "nothing had to be asked for again"


def test_without_kept_reports_the_row_tells_how_many_were_lost(tmp_path: Path) -> None:
    job, asked = job_in(tmp_path, keep_reports=False), Asynchronous(buffer=FULL)
    store = begin(tmp_path, KEY)
    with pytest.raises(Cut):
        session(job, store, Door([1], steps=4), asked)
    session(job, Store(tmp_path), Door([1, 2, 3]), asked)
    lost = store.attempts(KEY)[0]
    assert (lost.state, lost.reports) == ("abandoned", 1)
    assert "ended while it was open" in lost.reason


def test_a_buffer_that_does_not_fill_waits_for_the_run_to_be_gone_on_with(tmp_path: Path) -> None:
    job, asked = job_in(tmp_path, deadline_s=0.3), Asynchronous(buffer=FULL)
    store = begin(tmp_path, KEY)
    first, second = Door([1]), Door([1001, 1002])
    with pytest.raises(TooFewReports, match="1 reports came in"):
        session(job, store, first, asked)
    session(msgspec.structs.replace(job, deadline_s=30.0), Store(tmp_path), second, asked)
    came = [*first.given.elements(), *sorted(second.given.elements())]
    assert used(store) == pytest.approx(sum(came[: VERSIONS * FULL]), rel=1e-6)


def test_who_has_a_report_in_the_open_version_is_not_asked_about_it_again(tmp_path: Path) -> None:
    """Or one device alone could fill a buffer by letting the server die."""
    job, asked = job_in(tmp_path, deadline_s=0.3), Asynchronous(buffer=FULL)
    store = begin(tmp_path, KEY)
    for _ in range(2):
        with pytest.raises(TooFewReports, match="1 reports came"):
            session(job, store, Door([7]), asked)
