"""The hook for pre-commit: it chooses profiles by their names, passes the shipped ones and stops at a bad one."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
PROFILES: Final = sorted((ROOT / "firmware_configs" / "profiles").glob("*.toml"))
SCRIPTS: Final = Path(sys.executable).parent


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    (one,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return dict(one)


def _runs(hook: dict[str, Any], *files: Path) -> "subprocess.CompletedProcess[str]":
    """As pre-commit does: the entry's words, then the files that were chosen."""
    program, *words = shlex.split(hook["entry"])
    command = [str(SCRIPTS / program), *words, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_hook_passes_the_shipped_profiles(hook: dict[str, Any]) -> None:
    assert len(PROFILES) > 1
    done = _runs(hook, *PROFILES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hook_stops_at_a_bad_profile_among_good_ones_and_names_it(hook: dict[str, Any], tmp_path: Path) -> None:
    text = (ROOT / "firmware_configs" / "profiles" / "home-gateway.toml").read_text(encoding="utf-8")
    bad = tmp_path / "bad.toml"
    bad.write_text(text.replace("k_min = 3", "k_min = 1"), encoding="utf-8")
    assert bad.read_text(encoding="utf-8") != text
    done = _runs(hook, *PROFILES, bad)
    assert done.returncode == 1
    assert f"{bad}:" in done.stdout


@pytest.mark.parametrize(
    ("path", "is_chosen"),
    [
        *((str(path.relative_to(ROOT)), True) for path in PROFILES),
        ("profiles/home.toml", True),
        ("profiles/europe/home.toml", True),
        ("kiosk/profile.toml", True),
        ("kiosk-profile.toml", True),
        ("edge-audit.toml", False),
        ("pyproject.toml", False),
        ("agent.toml", False),
        ("profiles/README.md", False),
        ("no-profiles/home.toml", False),
        ("reprofile.toml", False),
    ],
)
def test_the_hook_chooses_profiles_by_their_names(hook: dict[str, Any], path: str, is_chosen: bool) -> None:
    assert bool(re.search(hook["files"], path)) is is_chosen


def test_the_document_for_officers_names_the_hook(hook: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    (block,) = (one for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "hooks:" in one)
    (repository,) = yaml.safe_load(block)
    assert [one["id"] for one in repository["hooks"]] == [hook["id"]]
    assert hook["language"] == "python"
