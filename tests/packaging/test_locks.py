"""The locks of packaging/locks: current with setup.cfg, by hashes, and without a word about where files come from."""

import re
import runpy
import subprocess
import sys
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "locks"))
WANTED: dict[str, list[str]] = TOOL["wanted"]()
ROLES = sorted(WANTED)
LOCKS = ROOT / "packaging" / "locks"
PYTHONS = ("3.11", "3.12", "3.13")
LINE = re.compile(r"^([a-z0-9][^\\\n]*?) *\\?$", re.MULTILINE)
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
AUDIT = """
import importlib.abc, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {walled!r}:
            raise ModuleNotFoundError(f"{{name}} is not in the officer's lock")
sys.meta_path.insert(0, Wall())
from firmware_configs.cli import main
main({words!r})
"""
WALLED = ("numpy", "onnxruntime", "paho", "msgpack", "google", "tuf", "flwr", "edge_agent", "coordinator", "models")


@cache
def installed() -> dict[tuple[str, str], Distribution]:
    """(library, version) → it, as this Python has it."""
    return {(TOOL["name_of"](found.name).replace(".", "-"), found.version): found for found in distributions()}


def pinned(role: str) -> dict[str, set[str]]:
    """Library → versions; two where Pythons differ."""
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall((ROOT / "packaging" / "locks" / f"{role}.txt").read_text()):
        found.setdefault(name, set()).add(version)
    return found


def test_every_role_has_its_lock_and_no_lock_is_of_no_role() -> None:
    assert sorted(path.stem for path in (ROOT / "packaging" / "locks").glob("*.txt")) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_a_lock_is_current_with_what_setup_cfg_states(role: str) -> None:
    locked = pinned(role)
    for line in WANTED[role]:
        requirement = Requirement(line)
        versions = locked.get(TOOL["name_of"](requirement.name))
        assert versions, f"{requirement.name} is not locked: make locks"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{line}: {version}; make locks"


@pytest.mark.parametrize("role", ROLES)
def test_every_line_of_a_lock_is_one_version_with_hashes_and_names_no_place(role: str) -> None:
    text = (ROOT / "packaging" / "locks" / f"{role}.txt").read_text()
    assert "://" not in text
    assert not re.search(
        r"^\s*-", re.sub(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$", "", text, flags=re.MULTILINE), re.MULTILINE
    )
    blocks = re.split(
        r"^(?=[a-z0-9])", "\n".join(line for line in text.splitlines() if line[:1] != "#"), flags=re.MULTILINE
    )
    for block in filter(str.strip, blocks):
        assert PIN.match(block), block[:80]
        assert "--hash=sha256:" in block


def test_the_smaller_locks_agree_with_the_larger_ones() -> None:
    """One version of a library in the whole fleet: what was tried together runs together."""
    pairs = [("officer", "agent"), ("agent", "agent-full"), ("agent", "coordinator"), ("coordinator", "demo")]
    for small, large in [*pairs, ("demo", "dev"), ("agent-full", "dev"), ("release", "dev")]:
        mine, theirs = pinned(small), pinned(large)
        assert {name: versions for name, versions in mine.items() if theirs.get(name) != versions} == {}


def test_locks_are_for_each_python_that_is_supported() -> None:
    assert SpecifierSet(">=3.11").contains(TOOL["OLDEST_PYTHON"])


def test_a_locked_version_is_for_each_python_that_its_line_is_for() -> None:
    """pip refuses what is not; uv, which writes the locks, does not heed the upper end of Requires-Python."""
    wrong = []
    for line in LINE.findall((LOCKS / "dev.txt").read_text()):
        requirement = Requirement(line)
        for python in PYTHONS:
            if requirement.marker and not requirement.marker.evaluate({"python_full_version": f"{python}.0"}):
                continue
            known = installed().get((TOOL["name_of"](requirement.name), str(requirement.specifier)[2:]))
            states = known and "Requires-Python" in known.metadata
            if known and states and not SpecifierSet(known.metadata["Requires-Python"]).contains(f"{python}.0"):
                wrong.append(f"{requirement.name} {requirement.specifier} on {python}")
    assert wrong == [], "name an older version in HELD of tools/locks; make locks"


def test_what_the_developers_set_up_installs_is_what_the_lock_says() -> None:
    environment = {"python_full_version": ".".join(map(str, sys.version_info[:3]))}
    lines = [Requirement(line) for line in LINE.findall((LOCKS / "dev.txt").read_text())]
    here = [line for line in lines if not line.marker or line.marker.evaluate(environment)]
    locked = {(TOOL["name_of"](line.name), str(line.specifier)[2:]) for line in here}
    assert locked - set(installed()) == set(), "tools/setup dev"


def test_an_extra_of_ours_stands_for_its_own_lines() -> None:
    extras = {"all": "\nedgeward[one, two]\nthree>=3", "one": "\nfirst>=1", "two": "\n# why\nfirst>=1\nsecond"}
    assert TOOL["_extra"](extras, "all") == ["first>=1", "second", "three>=3"]


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from(["x>=1", "y", "z[q]<2", "# no"]))))
def test_any_extra_is_its_lines_once_and_in_order(extras: dict[str, list[str]]) -> None:
    stated = {name: "\n" + "\n".join(lines) for name, lines in extras.items()}
    stated["all"] = f"\nedgeward[{','.join(extras)}]" if extras else ""
    each = [line for lines in extras.values() for line in lines if not line.startswith("#")]
    assert TOOL["_extra"](stated, "all") == list(dict.fromkeys(each))


@pytest.mark.parametrize(
    "words",
    [
        ["check", "firmware_configs/profiles"],
        ["show", "firmware_configs/profiles/home-gateway.toml"],
        ["ledger", "verify", "examples/officer/home-1.ledger", "--key", "examples/officer/home-1.pub"],
    ],
)
def test_the_auditor_runs_on_the_officers_libraries_alone(words: list[str]) -> None:
    program = AUDIT.format(walled=WALLED, words=words)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
