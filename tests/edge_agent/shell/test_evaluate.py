"""`edge-agent evaluate` on a real database: figures, words, exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.commands.group import main
from edge_agent.effects import Append
from edge_agent.shell import database
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from tests.edge_agent.evaluation_house import RATES, lived, written

LONG_AGO = 1_700_000_000_000
EXPLORING = '{ kind = "epsilon-greedy", epsilon = 0.6 }'


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _stored(tmp_path_factory.mktemp("state"), EXPLORING, 600)


def _stored(folder: Path, policy: str, count: int) -> Path:
    house = lived(policy, count, seed=3, start_ms=LONG_AGO)
    store = Store(folder / database.FILE, 16)
    writes = Writes()
    writes.add([effect for effect in house.effects if isinstance(effect, Append)])
    assert store.commit(writes, durable=False)
    store.close()
    return folder


def _run(state: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", "--state-dir", str(state), *words])


def test_it_tells_what_others_would_have_earned(state: Path) -> None:
    ran = _run(state, "--json", "--policy", "best", "--policy", "uniform")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert (found["placement"], found["decisions"], found["over"]) == ("next-pick", 600, "decisions")
    best, uniform = found["policies"]
    assert best["estimates"]["snips"]["normal"]["low"] <= RATES["milk"] <= best["estimates"]["snips"]["normal"]["high"]
    assert set(uniform["estimates"]) == {"ips", "snips", "dm", "dr"}
    assert found["logged_policies"] == {"epsilon-greedy": 600}


def test_words_hold_the_same_figures(state: Path) -> None:
    told = _run(state).stdout
    assert told.startswith("next-pick: 600 decisions")
    for word in ("as it was", "best", "uniform", "ips", "dr", "decisions of its own"):
        assert word in told


def test_a_clip_is_said(state: Path) -> None:
    assert "careful: " in _run(state, "--clip", "0.5").stdout


def test_what_is_no_number_is_null_in_json(state: Path) -> None:
    ran = _run(state, "--json", "--policy", '{kind = "threshold", minimum = 0.9}')
    assert "NaN" not in ran.stdout
    assert json.loads(ran.stdout)["policies"][0]["estimates"]["snips"]["value"] is None


def test_a_candidate_profile_is_evaluated(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "next.toml"
    path.write_text(written('{ kind = "threshold", minimum = 0.7 }'))
    ran = _run(state, "--profile", str(path))
    assert ran.exit_code == 0
    assert "profile: threshold minimum=0.7" in ran.stdout
    assert "takes nothing that the log took" in ran.stdout


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("--placement", "attic"), "AGT103", 2),
        (("--policy", "bestt"), "AGT102", 2),
        (("--since", "yesterday"), "AGT101", 2),
        (("--since", "2026-01-01"), "AGT305", 1),
        (("--profile", "/nowhere.toml"), "no such file", 2),
    ],
)
def test_what_cannot_be_done_is_named_with_its_fix(state: Path, words: tuple[str, ...], code: str, status: int) -> None:
    ran = _run(state, *words)
    assert ran.exit_code == status
    assert code in ran.stderr
    assert "fix:" in ran.stderr


def test_a_log_without_chance_is_refused_with_the_way_out(tmp_path: Path) -> None:
    ran = _run(_stored(tmp_path, '{ kind = "best" }', 20), "--policy", "uniform")
    assert ran.exit_code == 1
    assert "probability 1" in ran.stderr
    assert "explore" in ran.stderr


def test_a_folder_without_a_database_is_named(tmp_path: Path) -> None:
    ran = _run(tmp_path)
    assert ran.exit_code == 1
    assert "AGT301" in ran.stderr


def test_rows_of_a_form_not_known_are_passed_over(tmp_path: Path) -> None:
    state = _stored(tmp_path, EXPLORING, 30)
    store = Store(state / database.FILE, 16)
    writes = Writes()
    writes.add(
        [
            Append(shelf=shelf, id="odd", group="next-pick", value=b"\xc1", made_ms=LONG_AGO, expires_ms=0)
            for shelf in ("decision", "outcome")
        ]
    )
    assert store.commit(writes, durable=False)
    store.close()
    found = json.loads(_run(state, "--json").stdout)
    assert (found["decisions"], found["left_out"]) == (30, {"unreadable": 2})


def test_help_shows_examples() -> None:
    told = _run(Path("/"), "--help").stdout
    assert "edge-agent evaluate --placement shelf" in told
    assert "Exit code 1" in told
