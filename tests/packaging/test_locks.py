"""The locks of packaging/locks: current with setup.cfg, by hashes, and without a word about where files come from."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "locks"))
WANTED: dict[str, list[str]] = TOOL["wanted"]()
ROLES = sorted(WANTED)
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
    for small, large in (("officer", "agent"), ("agent", "agent-full"), ("agent", "coordinator")):
        mine, theirs = pinned(small), pinned(large)
        assert {name: versions for name, versions in mine.items() if theirs.get(name) != versions} == {}


def test_locks_are_for_each_python_that_is_supported() -> None:
    assert SpecifierSet(">=3.11").contains(TOOL["OLDEST_PYTHON"])


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
