"""`tools/setup` with a pip that only writes down what it was asked for: nothing comes without a lock unasked."""

import os
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
[ "$1" = -VV ] && { echo Python 3.14.0; exit 0; }
[ "$1" = -c ] && exit "$COVERED"
echo "$*" >> asked
[ -z "$REFUSAL" ] || { echo "$REFUSAL" >&2; exit 1; }
touch .venv/bin/edge-agent && chmod +x .venv/bin/edge-agent
"""
MISMATCH = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what the script reads, its Python, and an apt-get that has nothing."""
    for name in ("setup.cfg", "pyproject.toml", "tools/setup"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "packaging" / "locks", tmp_path / "packaging" / "locks")
    for name, text in (("python", PYTHON), ("apt-get", "#!/bin/sh\nexit 1\n")):
        program = tmp_path / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    return tmp_path


def set_up(
    clone: Path, what: str, *, covered: bool = True, unlocked: str = "", refusal: str = ""
) -> tuple[int, str, list[str]]:
    """(exit status, what it says, what pip was asked to install)"""
    environment = {
        "PATH": f"{clone / '.venv' / 'bin'}:{os.environ['PATH']}",
        "COVERED": "0" if covered else "1",
        "REFUSAL": refusal,
        "EDGEWARD_UNLOCKED": unlocked,
    }
    command = [str(clone / "tools" / "setup"), what]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    asked = clone / "asked"
    return done.returncode, done.stdout + done.stderr, asked.read_text().splitlines() if asked.exists() else []


@pytest.mark.parametrize("what", ["demo", "dev", "officer"])
def test_all_that_is_installed_is_a_wheel_by_its_hash_or_built_here_without_an_index(clone: Path, what: str) -> None:
    status, said, asked = set_up(clone, what)
    assert status == 0, said
    assert any(f"-r packaging/locks/{what}.txt -r packaging/locks/build.txt" in line for line in asked)
    for line in asked:
        words = shlex.split(line)
        by_hashes = {"--require-hashes", "--only-binary"} <= set(words)
        assert by_hashes or {"--no-index", "--no-build-isolation", "--no-deps"} <= set(words)
        for lock in (word for before, word in pairwise(words) if before == "-r"):
            assert (ROOT / lock).is_file()


def test_what_the_tests_want_alone_comes_by_hashes_and_brings_nothing_with_it(clone: Path) -> None:
    _, _, asked = set_up(clone, "dev")
    (alone,) = [line for line in asked if "dev-alone" in line]
    assert "--require-hashes" in alone
    assert "--no-deps" in alone


def test_a_second_set_up_installs_again_only_when_a_lock_has_changed(clone: Path) -> None:
    set_up(clone, "demo")
    assert len(set_up(clone, "demo")[2]) == 2
    lock = clone / "packaging" / "locks" / "demo.txt"
    lock.write_text(lock.read_text() + "# renewed\n")
    assert len(set_up(clone, "demo")[2]) == 4


def test_a_python_that_the_locks_are_not_for_is_refused_by_name_and_told_both_ways_on(clone: Path) -> None:
    status, said, asked = set_up(clone, "demo", covered=False)
    assert status == 2
    assert "the locks are for CPython 3.11 to 3.13, and .venv has Python 3.14.0" in said
    assert "rm -r .venv" in said
    assert "EDGEWARD_UNLOCKED=1 tools/setup demo" in said
    assert asked == []


def test_who_says_so_gets_what_setup_cfg_allows(clone: Path) -> None:
    status, said, asked = set_up(clone, "demo", covered=False, unlocked="1")
    assert status == 0, said
    assert "without pins" in said
    assert [line.split()[-2:] for line in asked] == [["-e", ".[tflite,coordinator,web]"]]


@pytest.mark.parametrize("word", ["", "0", "no"])
def test_any_other_word_leaves_the_locks_in_force(clone: Path, word: str) -> None:
    assert "--require-hashes" in set_up(clone, "demo", unlocked=word)[2][0]


def test_a_file_that_is_not_the_locked_one_ends_it_without_a_hint_to_do_without_locks(clone: Path) -> None:
    status, said, asked = set_up(clone, "demo", refusal=MISMATCH)
    assert status == 1
    assert "a file is not the one that packaging/locks names" in said
    assert "EDGEWARD_UNLOCKED" not in said
    assert len(asked) == 1


def test_any_other_failure_shows_what_pip_said_and_how_to_see_all_of_it(clone: Path) -> None:
    status, said, asked = set_up(clone, "demo", refusal="ERROR: No matching distribution found for numpy")
    assert status == 1
    assert "No matching distribution found for numpy" in said
    assert "--require-hashes --only-binary :all: -r packaging/locks/demo.txt" in said
    assert len(asked) == 1
