"""A command whose extra is not installed says which one it is, instead of a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs.extras import choose, extra_of

WALL = """
import importlib.abc, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {walled!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Wall())
from {package}.cli import main
sys.argv = ["edge", *{words!r}]
main()
"""


def without(walled: str, package: str, *words: str) -> "subprocess.CompletedProcess[str]":
    program = WALL.format(walled=walled, package=package, words=list(words))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("walled", "package", "words", "extra"),
    [
        ("iotcore", "coordinator", ("up",), "coordinator"),
        ("starlette", "edge_agent", ("web", "--settings", "nowhere.toml"), "web"),
    ],
)
def test_the_missing_extra_is_named(
    walled: str, package: str, words: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    done = without(walled, package, *words, *(("--home", str(tmp_path)) if package == "coordinator" else ()))
    assert done.returncode == 2
    assert f"fix: pip install 'edgeward[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_no_extra_brings_is_a_mistake_of_ours_and_shows_as_one() -> None:
    assert extra_of("no_such_thing", "edge-agent") == ""
    assert extra_of("pytest", "edge-agent") == "", "what only developers need is no advice for users"
    done = without("numpy", "coordinator", "capacity", "--devices", "1e6")
    assert done.returncode == 0, "the plan needs no numbers' library"


def test_the_extra_is_the_callers_where_several_have_it() -> None:
    assert extra_of("starlette.routing", "edge-coordinator") == "coordinator"
    assert extra_of("starlette.routing", "edge-agent") == "web"
    assert extra_of("opentelemetry.sdk.trace", "edge-agent") == "telemetry"
    assert extra_of("torch", "edge-models") == "build"


def test_an_auditor_without_the_runtime_is_told_what_measuring_needs() -> None:
    root = Path(__file__).parents[2]
    profile = root / "firmware_configs" / "profiles" / "home-gateway.toml"
    data = root / "data" / "occupancy" / "datatraining.txt.gz"
    columns = "temperature,humidity,light,co2,ratio,occupied"
    done = without("numpy", "firmware_configs", "minimise", str(profile), "--data", str(data), "--columns", columns)
    assert done.returncode == 2, done.stderr
    assert "not installed: numpy" in done.stderr
    assert "tools/setup demo" in done.stderr
    assert "Traceback" not in done.stderr


@given(st.text(max_size=30), st.lists(st.text(max_size=60), max_size=5))
def test_any_metadata_is_read(module: str, stated: list[str]) -> None:
    assert isinstance(choose(module, "edge-agent", stated), str)
