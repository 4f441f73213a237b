"""`make release`: what it refuses, what it writes into the changelog, what its sums name."""

import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "release"))
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n- A thing.\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit of version 0.1.0 with something to tell."""
    (tmp_path / "edge_agent").mkdir()
    (tmp_path / "edge_agent" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "somebody")
    git(tmp_path, "config", "user.email", "somebody@localhost")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout


def test_unreleased_becomes_the_section_of_the_version_once(repository: Path) -> None:
    assert TOOL["faults"](repository) == []
    TOOL["announce"](repository)
    TOOL["announce"](repository)
    assert git(repository, "log", "--format=%s") == "Release 0.1.0\nBegin\n"
    sections = TOOL["sections"]((repository / "CHANGELOG.md").read_text())
    assert sections == {"Unreleased": "", "0.1.0": "### Added\n- A thing."}
    assert TOOL["faults"](repository) == []


def test_what_is_released_is_not_released_again(repository: Path) -> None:
    git(repository, "tag", "v0.1.0")
    assert "v0.1.0 is released already" in TOOL["faults"](repository)[0]


def test_what_is_not_committed_and_what_has_nothing_to_tell_stand_in_the_way(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("## [Unreleased]\n")
    assert TOOL["faults"](repository) == ["not everything is committed", "CHANGELOG.md: nothing to release"]


def test_news_after_the_section_was_cut_stand_in_the_way(repository: Path) -> None:
    TOOL["announce"](repository)
    path = repository / "CHANGELOG.md"
    path.write_text(path.read_text().replace("## [Unreleased]\n", "## [Unreleased]\n- More.\n"))
    git(repository, "commit", "--quiet", "--all", "--message", "More")
    (said,) = TOOL["faults"](repository)
    assert "0.1.0 has a section already" in said


def test_the_sums_name_every_kind_of_file_and_nothing_else(tmp_path: Path) -> None:
    names = ("a-1.tar.gz", "a-1-py3-none-any.whl", "a_1_amd64.deb", "agent.cdx.json")
    for name in (*names, "SHA256SUMS", "notes.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "SHA256SUMS").write_text(TOOL["sums"](tmp_path))
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == len(names)


def test_this_changelog_has_one_section_for_what_is_not_released_and_each_kind_of_news_once() -> None:
    sections = TOOL["sections"]((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert next(iter(sections)) == "Unreleased"
    for text in sections.values():
        kinds = [line for line in text.splitlines() if line.startswith("### ")]
        assert len(kinds) == len(set(kinds))


def test_it_reminds_of_each_database_whose_newest_schema_is_stored_nowhere(tmp_path: Path) -> None:
    for folder in TOOL["SCHEMAS"].values():
        assert list((ROOT / folder).glob("0001_*.sql")), "it is where the code has it"
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0001_start.sql").touch()
    (tmp_path / "coordinator" / "shell" / "schema" / "0002_more.sql").touch()
    (tmp_path / "tests" / "stored").mkdir(parents=True)
    for name in ("agent_schema_1", "coordinator_schema_1"):
        (tmp_path / "tests" / "stored" / f"{name}.sql").touch()
    coordinator, dashboard = TOOL["reminders"](tmp_path)
    assert coordinator.startswith("tests/stored/coordinator_schema_2.sql is not there")
    assert dashboard.startswith("tests/stored/dashboard_schema_1.sql is not there")
