"""`make wheels`: what pip's resolver says of machines that are not this one. It asks the registry, so it is slow."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "platforms.md").read_text()
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "wheels"))


def test_the_page_has_a_row_for_each_role_and_machine() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| (\w+) \|", PAGE, flags=re.MULTILINE)
    assert [row for row in rows if row[0] != "role"] == [(role, m) for role in TOOL["ROLES"] for m in TOOL["PLATFORMS"]]


@pytest.mark.slow
def test_an_agent_installs_from_wheels_on_an_aarch64_board_and_not_on_a_32_bit_one() -> None:
    if TOOL["resolves"](["click"], "x86_64", "3.11"):
        pytest.skip("no registry can be reached from here")
    wanted = runpy.run_path(str(ROOT / "tools" / "locks"))["wanted"]()["agent"]
    assert TOOL["missing"](wanted, "aarch64", "3.13") == []
    assert "onnxruntime" in TOOL["missing"](["onnxruntime>=1.20"], "armv7l", "3.13")
