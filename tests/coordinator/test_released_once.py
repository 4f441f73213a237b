"""Noise that the devices add is paid for once: however often a run is cut off, no second sum of a round is seen."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.accountant import Budget
from coordinator.errors import AggregationFailed, RunInterrupted, TooFewReports
from coordinator.rounds import Round
from coordinator.shell.job import Job, Private
from coordinator.shell.late import Late
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.secret_grid import Secret, Summed
from coordinator.shell.steps import Steps
from models import flat
from models.bundle import open_bundle
from tests.coordinator.answering import Cut, Door, in_a_server_app  # noqa: F401 - a fixture
from tests.coordinator.fleet import CONTEXT
from tests.coordinator.written import begin, job_of

pytestmark = pytest.mark.usefixtures("in_a_server_app")
KEY = "run-1"
NOISED = Private(
    population="homes",
    budget=Budget(epsilon=1e9, delta=1e-5, accountant="rdp"),
    noise_multiplier=1.0,
    rate=1.0,
    devices=3,
    noise_by="devices",
)
SIZE = flat.size_of(open_bundle(CONTEXT).spec.of_share("shared"))
POINTS = ("planned", "open", "closing", "unmasking", "entered", "unmasked", "combined", "saved", "aggregated")
"""Where a round can be cut off, in order; `entered` is when its price is paid, and at `combined` its sum is on disk."""
PAID = POINTS.index("entered")
KEPT = POINTS.index("combined")


class Sums:
    """Secret sums without devices: each is known once its masks are off."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        """Contexts of the sums that were unmasked."""
        self.fails_before: Exception | None = None
        self.fails_after: Exception | None = None
        self.value = 1e-3

    def __call__(
        self, _grid: object, _nodes: object, context: str, *_more: object, **calls: Callable[..., None]
    ) -> Summed:
        calls["closing"](3)
        if self.fails_before is not None:
            raise self.fails_before
        calls["unmasking"]()
        self.seen.append(context)
        calls["unmasked"]()
        if self.fails_after is not None:
            raise self.fails_after
        return Summed(total=np.full(SIZE, self.value), members=3, refusals=(), bytes_up=1, bytes_down=1)


class Place:
    """One round of a run whose noise is the devices', as often begun as it takes."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch, **more: Any) -> None:
        self.store, self.sums = begin(home, KEY, NOISED), Sums()
        self.job: Job = msgspec.structs.replace(
            job_of(home, KEY, NOISED),
            bundle=str(CONTEXT),
            secret=Secret(multiplier=1.0),
            join_s=0.0,
            back_off_s=0.0,
            **more,
        )
        self.cut_at = ""
        patch.setattr("coordinator.shell.round.sum_in_secret", self.sums)
        patch.setattr("coordinator.shell.fault.point", self._point)

    def _point(self, name: str, _number: int = 0) -> None:
        if name == self.cut_at:
            raise Cut

    def go_on(self, cut_at: str = "") -> bool:
        """Whether the round came to its end, in a process of its own that may be cut off."""
        self.cut_at = cut_at
        late = Late(Door([1, 2, 3]), self.store, KEY, name=False)  # type: ignore[arg-type]
        steps = Steps(Door([1, 2, 3]), self.job, self.store, late, 0.0)  # type: ignore[arg-type]
        try:
            steps.through(1, next(iter(self.store.rounds(KEY)), None), steps.start())
        except Cut:
            return False
        return True

    @property
    def row(self) -> Round:
        return self.store.rounds(KEY)[0]

    @property
    def entered(self) -> int:
        return len(PrivacyStore(Path(self.job.home)).entries("context", "homes"))


@settings(max_examples=30)
@given(cuts=st.lists(st.sampled_from(POINTS), max_size=5), keep=st.booleans())
def test_however_a_run_is_cut_off_a_rounds_sum_is_seen_once_and_paid_for_once(cuts: list[str], keep: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = Place(Path(folder), patch, keep_reports=keep)
        for cut in cuts:
            place.go_on(cut)
        assert place.go_on()
        assert len(place.sums.seen) <= 1
        assert place.entered == 1
        assert place.row.state in ("accounted", "abandoned")
        assert place.entered >= len(place.sums.seen)
        if place.row.state == "accounted":
            assert len(place.sums.seen) == 1
        else:
            assert "asking again would cost a second time" in place.row.reason


@pytest.mark.parametrize("point", POINTS)
def test_a_round_is_lost_exactly_where_its_price_is_paid_and_its_sum_is_not_on_disk_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    place = Place(tmp_path, monkeypatch)
    assert not place.go_on(point)
    assert place.entered == (POINTS.index(point) >= PAID)
    assert place.go_on()
    lost = PAID <= POINTS.index(point) < KEPT
    assert place.row.state == ("abandoned" if lost else "accounted")
    assert place.entered == 1
    assert place.row.attempt == (2 if POINTS.index(point) < PAID else 1)


def test_a_sum_that_fails_before_its_price_is_paid_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, monkeypatch, retries=2)
    place.sums.fails_before = TooFewReports("2 devices are in the secret sum", hint="")
    with pytest.raises(TooFewReports):
        place.go_on()
    assert (place.row.attempt, place.entered, place.sums.seen) == (3, 0, [])


def test_a_sum_that_fails_after_its_price_is_paid_is_not_asked_for_again_whatever_the_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, monkeypatch, retries=5)
    place.sums.fails_after = AggregationFailed("the masks could not be taken off", hint="")
    assert place.go_on()
    assert (place.row.state, place.row.attempt, place.entered, len(place.sums.seen)) == ("abandoned", 1, 1, 1)


def test_a_kept_sum_that_gives_nothing_is_not_asked_for_again_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, monkeypatch, retries=5)
    place.sums.value = float("nan")
    place.go_on("combined")
    assert place.go_on()
    assert (place.row.state, place.row.attempt, place.entered, len(place.sums.seen)) == ("abandoned", 1, 1, 1)


def test_nothing_is_paid_for_a_sum_that_nobody_is_there_to_unmask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, monkeypatch, control="127.0.0.1:1")
    with pytest.raises(RunInterrupted, match="the SuperLink is gone"):
        place.go_on()
    assert (place.entered, place.sums.seen) == (0, [])
    place.job = msgspec.structs.replace(place.job, control="")
    assert place.go_on()
    assert (place.row.state, place.row.attempt, place.entered, len(place.sums.seen)) == ("accounted", 2, 1, 1)
