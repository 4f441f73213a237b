"""`edge-coordinator rounds resume|abandon`: what each refuses, what it leaves, and that it names the way on."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from coordinator.cli import main
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store
from tests.coordinator.written import PRIVATE, begin, job_of, row, spend

KEY = "20260101-120000-abcdef"


def rounds(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["rounds", *words, "--home", str(home)])


def refusal(home: Path, *words: str) -> str:
    """What a command says on its way out."""
    done = rounds(home, *words)
    assert done.exit_code in (1, 2), done.output
    assert done.stderr.startswith("error: [CRD")
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("words", [("resume",), ("abandon", "--reason", "why")], ids=["resume", "abandon"])
def test_a_run_that_nobody_knows_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    said = refusal(tmp_path, words[0], "nowhere", *words[1:])
    assert "no run `nowhere`" in said
    assert "fix: edge-coordinator rounds ls" in said


def test_abandoning_asks_for_a_reason(tmp_path: Path) -> None:
    done = rounds(tmp_path, "abandon", KEY)
    assert done.exit_code == 2
    assert "--reason" in done.output


def test_an_unfinished_run_is_given_up_with_its_reason_and_what_it_kept(tmp_path: Path) -> None:
    """Without a coordinator that runs: an operator can clear up first. What was spent stays spent."""
    store = begin(tmp_path, KEY, PRIVATE)
    spend(tmp_path, KEY, [1])
    store.put_round(row(KEY, 1, state="accounted"))
    store.put_round(row(KEY, 2, state="closing"))
    folder = tmp_path / "runs" / KEY
    for name in ("reports-2.msgpack", "reports-2.frames", "result.npz"):
        (folder / name).write_bytes(b"x")
    done = rounds(tmp_path, "abandon", KEY, "--reason", "the wrong bundle", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["run"], told["reason"]) == (KEY, "the wrong bundle")
    assert [one["state"] for one in told["rounds"]] == ["abandoned", "abandoned"]
    assert {one["reason"] for one in told["rounds"]} == {"the wrong bundle"}
    assert not [path for path in folder.iterdir() if path.name.startswith("re")]
    run = store.run(KEY)
    assert run is not None
    assert (run.ended, run.failure, run.result) == (True, "the wrong bundle", "")
    shown = json.loads(rounds(tmp_path, "show", KEY, "--json").output)
    assert (shown["failure"], shown["fix"]) == ("the wrong bundle", "")
    assert shown["rounds"][0]["epsilon"] > 0.0
    # The next run of the bundle may begin, and this one does not come back.
    begin(tmp_path, "next")
    said = refusal(tmp_path, "resume", KEY)
    assert "was given up: the wrong bundle" in said
    assert "train again" in said


def test_a_run_that_has_published_is_neither_given_up_nor_gone_on_with(tmp_path: Path) -> None:
    store = begin(tmp_path, KEY)
    store.put_round(row(KEY, 1, state="accounted"))
    store.publish_rounds(KEY, "1.0.1")
    store.end(KEY, result="1.0.1")
    said = refusal(tmp_path, "abandon", KEY, "--reason", "too late")
    assert "has published affinity 1.0.1" in said
    said = refusal(tmp_path, "resume", KEY)
    assert "is done: it made affinity 1.0.1" in said
    assert [one.state for one in store.rounds(KEY)] == ["published"]


def test_a_run_does_not_go_on_beside_another_of_its_bundle(tmp_path: Path) -> None:
    begin(tmp_path, KEY)
    Store(tmp_path).end(KEY, failure="cut")
    begin(tmp_path, "other")
    said = refusal(tmp_path, "resume", KEY)
    assert "rounds resume other" in said
    assert "rounds abandon other" in said


def test_going_on_needs_a_coordinator_that_runs_and_changes_nothing_without(tmp_path: Path) -> None:
    store = begin(tmp_path, KEY)
    store.put_round(row(KEY, 1, state="accounted"))
    before = (store.run(KEY), store.attempts(KEY), RunStore(tmp_path).plan(KEY))
    said = refusal(tmp_path, "resume", KEY)
    assert "edge-coordinator up" in said
    assert (store.run(KEY), store.attempts(KEY), RunStore(tmp_path).plan(KEY)) == before


def test_a_run_of_counts_is_asked_anew_and_not_gone_on_with(tmp_path: Path) -> None:
    store = begin(tmp_path, "first")
    plan = RunStore(tmp_path).plan("first")
    job = msgspec.structs.replace(job_of(tmp_path, KEY), groups=())
    store.end("first", failure="cut")
    RunStore(tmp_path).begin(KEY, "affinity", "1.0.0", plan.request, job, 0)
    said = refusal(tmp_path, "resume", KEY)
    assert "counts" in said
    assert f"rounds abandon {KEY}" in said
