"""Watching a run: every change once, until it ends, and nothing of it is touched."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from coordinator.cli import main
from coordinator.errors import UnknownRun
from coordinator.progress import Spent, Standing, changes, size
from coordinator.rounds import NEXT, Round, State
from coordinator.shell.hold import COMMAND_LOCK, hold
from coordinator.shell.screen import picture
from coordinator.shell.store import Store
from coordinator.shell.watching import STILL_S, Watched, chosen, follow
from tests.coordinator.written import NOW_MS, PRIVATE, begin, row, spend

RUN = "20270115-080000-abcdef"
SCRIPT = Path(sys.executable).parent / "edge-coordinator"


def call(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--home", str(home)])


class Clock:
    """Time that passes only while one sleeps; what happens meanwhile is given by step."""

    def __init__(self, *steps: Callable[[], None]) -> None:
        self.now, self._steps = 0.0, list(steps)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._steps:
            self._steps.pop(0)()


def followed(home: Path, *steps: Callable[[], None]) -> list[Standing]:
    clock = Clock(*steps)
    return list(follow(Watched(home, RUN), lambda: clock.now, clock.sleep))


def test_each_state_of_each_round_is_seen_once_until_the_run_is_published(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN)
    states: list[State] = ["planned", "open", "closing", "aggregated", "accounted"]
    steps = [lambda s=state: store.put_round(row(RUN, 1, state=s)) for state in states]  # type: ignore[misc]
    with hold(tmp_path / "runs" / RUN / COMMAND_LOCK):
        seen = followed(
            tmp_path,
            *steps,
            lambda: None,
            lambda: store.publish_rounds(RUN, "1.0.1"),
            lambda: store.end(RUN, result="1.0.1"),
        )
    told = [change for before, after in zip([None, *seen], seen, strict=False) for change in changes(before, after)]
    assert [c.data["state"] for c in told if c.what == "round"] == [*states, "published"]
    assert [c.data["state"] for c in told if c.what == "run"] == ["running", "running", "published"]
    assert seen[-1].over
    assert not seen[-2].over


def test_a_run_that_nobody_drives_is_cut_off_and_says_how_it_goes_on(tmp_path: Path) -> None:
    begin(tmp_path, RUN).put_round(row(RUN, 1, state="open"))
    seen = followed(tmp_path)
    assert [one.state for one in seen] == ["running", "cut off"]
    assert f"rounds resume {RUN}" in seen[-1].fix


def test_a_run_whose_command_lives_is_waited_for_however_still_it_is(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN)
    still = [lambda: None] * int(20 * STILL_S)
    with hold(tmp_path / "runs" / RUN / COMMAND_LOCK):
        seen = followed(tmp_path, *still, lambda: store.end(RUN, failure="too few"))
    assert [one.state for one in seen] == ["running", "failed"]


def test_what_was_spent_is_told_with_what_is_left(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN, PRIVATE)
    spend(tmp_path, "20270114-080000-before", [1])

    def second() -> None:
        spend(tmp_path, RUN, [1])
        store.put_round(row(RUN, 1, loss_before=0.0, loss_after=0.0))

    with hold(tmp_path / "runs" / RUN / COMMAND_LOCK):
        seen = followed(tmp_path, second, lambda: store.end(RUN, result="1.0.1"))
    spent = [one.spent for one in seen if one.spent is not None]
    assert 0.0 < spent[0].epsilon < spent[-1].epsilon < spent[-1].epsilon_max == 8.0
    assert spent[-1].left == pytest.approx(8.0 - spent[-1].epsilon)
    told = [change for before, after in zip([None, *seen], seen, strict=False) for change in changes(before, after)]
    assert len([c for c in told if c.what == "privacy"]) == 2
    assert "loss" not in next(c.text for c in told if c.what == "round")


def test_the_newest_run_that_has_not_ended_is_meant(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun, match="no run yet"):
        chosen(tmp_path)
    for n, key in enumerate(["first", "second"]):
        begin(tmp_path, key, started_ms=NOW_MS + n).end(key, failure="too few")
    assert chosen(tmp_path) == "second"
    with Store(tmp_path).transaction() as database:
        database.execute("UPDATE run SET ended = 0 WHERE key = 'first'")
    assert chosen(tmp_path) == "first"
    assert chosen(tmp_path, "second") == "second"
    with pytest.raises(UnknownRun, match="no run `third`"):
        chosen(tmp_path, "third")


def test_the_command_prints_a_line_a_change_and_fails_with_an_abandoned_run(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN)
    store.put_round(row(RUN, 1))
    store.put_round(row(RUN, 2, state="abandoned", reports=1, reason="1 usable reports of 10, 3 are needed"))
    store.end(RUN, failure="1 usable reports of 10, 3 are needed")
    done = call(tmp_path, "watch", "--json")
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["change"], line["state"]) for line in lines] == [
        ("run", "failed"),
        ("round", "published"),
        ("round", "abandoned"),
    ]
    assert (lines[1]["reports"], lines[1]["late"], lines[1]["bytes_up"]) == (8, 1, 123_456)
    text = call(tmp_path, "watch", RUN)
    assert text.exit_code == 1
    assert "8/10 reports; 1 refused; 1 late; loss 1.0000 → 0.9000; 123.5 kB up, 456.8 kB down; 2.5 s" in text.output
    assert "3 are needed" in text.output


def test_the_command_succeeds_with_a_published_run(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN)
    store.put_round(row(RUN, 1))
    store.end(RUN, result="1.0.1")
    assert call(tmp_path, "watch").exit_code == 0


def test_ctrl_c_ends_the_watching_and_leaves_the_run_alone(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN)
    store.put_round(row(RUN, 1, state="open"))
    before = (store.runs(), store.attempts(RUN))
    with hold(tmp_path / "runs" / RUN / COMMAND_LOCK):
        with subprocess.Popen(
            # A job in the background of a script ignores the signal, and so would what it starts.
            ["env", "--default-signal=INT", SCRIPT, "watch", "--home", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert RUN in child.stdout.readline()
            time.sleep(0.2)
            os.kill(child.pid, signal.SIGINT)
            _, said = child.communicate(timeout=60)
        assert child.returncode == 130
        assert "is left as it is" in said
        assert (store.runs(), store.attempts(RUN)) == before


COUNT = st.sampled_from([0, 1, 999, 10**6, 2**62])
LOSS = st.sampled_from([0.0, 0.5, -1e300, float("inf"), float("nan")])
WORDS = st.sampled_from(["", "too few", "[bold]a\nb\x1b[31m", "é" * 200])
ROUND = st.builds(
    Round,
    run=st.just(RUN),
    number=st.integers(1, 9_999),
    attempt=st.integers(1, 3),
    state=st.sampled_from(sorted(NEXT)),
    asked=COUNT,
    late=COUNT,
    bytes_up=COUNT,
    loss_before=LOSS,
    loss_after=LOSS,
    seconds=st.sampled_from([0.0, 1.5, 1e9]),
    reason=WORDS,
)
SPENT = st.builds(
    Spent,
    population=WORDS,
    epsilon=st.sampled_from([0.0, 2.5, float("inf")]),
    epsilon_max=st.just(8.0),
    delta=st.just(1e-5),
    accountant=st.just("pld"),
)
STANDING = st.builds(
    Standing,
    key=st.just(RUN),
    bundle=st.just("affinity"),
    version=st.just("1.0.0"),
    state=st.sampled_from(["running", "at work", "cut off", "published", "failed"]),
    failure=WORDS,
    rounds=st.lists(ROUND, max_size=8, unique_by=lambda row: (row.number, row.attempt)).map(tuple),
    spent=st.none() | SPENT,
)


@settings(max_examples=40, deadline=None)
@given(before=st.none() | STANDING, after=STANDING, width=st.integers(20, 200), height=st.integers(1, 60))
def test_any_sequence_of_round_states_can_be_shown(
    before: Standing | None, after: Standing, width: int, height: int
) -> None:
    console = Console(width=width, height=height, file=io.StringIO())
    console.print(picture(after, width, height, NOW_MS))
    for change in changes(before, after):
        assert "\x1b" not in change.text
        assert change.what == "run" or len(change.text.splitlines()) == 1
    assert list(changes(after, after)) == []


def test_a_loss_that_is_no_number_is_null_and_not_told_again_and_again(tmp_path: Path) -> None:
    store = begin(tmp_path, RUN)
    store.put_round(row(RUN, 1, loss_after=float("nan")))
    with hold(tmp_path / "runs" / RUN / COMMAND_LOCK):
        seen = followed(tmp_path, lambda: None, lambda: None, lambda: store.end(RUN, failure="it diverged"))
    assert [one.state for one in seen] == ["running", "failed"]
    line = call(tmp_path, "watch", "--json").stdout.splitlines()[1]
    assert json.loads(line, parse_constant=pytest.fail)["loss_after"] is None


@given(st.integers(0, 10**16))
def test_sizes_are_short_and_right(count: int) -> None:
    value, unit = size(count).split(" ")
    scale = 1_000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert abs(float(value) * scale - count) <= 0.05 * scale + 1e-6 * count
    assert len(value) <= 7
