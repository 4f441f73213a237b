"""The short way into the daemon: it takes exactly what it understands, and leaves the rest to click."""

import subprocess
import sys

import pytest

from edge_agent.cli import plain_run


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["run"], {}),
        (["run", "--settings", "a.toml"], {"settings_path": "a.toml"}),
        (["run", "--profile", "p", "--settings", "a"], {"profile": "p", "settings_path": "a"}),
    ],
)
def test_a_plain_run_is_taken(words: list[str], given: dict[str, str]) -> None:
    assert plain_run(words) == given


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--version"],
        ["status"],
        ["run", "--help"],
        ["run", "--settings"],
        ["run", "--settings=a"],
        ["run", "--settings", "--profile"],
        ["run", "--broker", "b"],
        ["run", "a", "b"],
    ],
)
def test_everything_else_is_clicks(words: list[str]) -> None:
    assert plain_run(words) is None


def test_a_plain_run_loads_no_click_and_names_a_missing_file_with_its_fix(tmp_path: object) -> None:
    code = "import sys; from edge_agent.cli import main\ntry: main()\nfinally: print('click' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code, "run", "--settings", f"{tmp_path}/none.toml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout.strip()) == (2, "False")
    assert "error: [AGT101]" in ended.stderr
    assert "fix:" in ended.stderr
