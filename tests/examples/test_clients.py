"""The examples for clients do what they say, each against a real broker and agent."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.pages.house import House
from tests.browser import corner_shop as shop
from tests.conformance.brokers import MOSQUITTO

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
C_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wformat=2", "-Wno-format-nonliteral", "-Werror")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed (apt-get install gcc)")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed (apt-get install nodejs)")
pytestmark = pytest.mark.skipif(
    not Path(MOSQUITTO).exists(), reason="mosquitto is not installed (apt-get install mosquitto)"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with shop.house(tmp_path_factory.mktemp("shop")) as found:
        yield found


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("board") / "edgeward"
    subprocess.run(["gcc", *C_FLAGS, "-o", str(out), str(EXAMPLES / "esp" / "edgeward.c")], check=True)
    return out


def _run(*command: str, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)  # type: ignore[call-overload,no-any-return]


def test_the_client_in_python_moves_what_is_shown(house: House) -> None:
    joined = shop.counted(house, "feedback.joined")
    words = ("--broker", f"127.0.0.1:{house.broker}", "--subject", "py", "--touch", "teapot")
    done = _run(sys.executable, str(EXAMPLES / "python" / "client.py"), *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0] in {"green-tea", "honey"}
    shop.until(lambda: shop.counted(house, "feedback.joined") == joined + 1, "the feedback")


@needs_gcc
def test_the_client_for_boards_moves_what_is_shown(house: House, board: Path) -> None:
    for item, shown in (("grinder", "grinder"), ("teapot", "green-tea")):
        done = _run(str(board), "127.0.0.1", str(house.broker), "shop-1", f"board-{item}", item)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["items"][0] == shown


@needs_gcc
def test_the_client_for_boards_refuses_what_would_break_its_topics_and_payloads(board: Path) -> None:
    for words in (("shop/1", "ann", "x"), ("shop-1", "#", "x"), ("shop-1", "ann", '"}'), ("shop-1", "a" * 600, "x")):
        done = _run(str(board), "127.0.0.1", "1", *words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")


@needs_gcc
def test_the_client_for_boards_says_that_no_broker_is_there(board: Path) -> None:
    done = _run(str(board), "127.0.0.1", "1")
    assert (done.returncode, done.stderr) == (1, "error: no broker there\n")


@needs_node
def test_the_client_in_javascript_is_a_program() -> None:
    done = _run("node", "--check", str(EXAMPLES / "javascript" / "client.cjs"))
    assert done.returncode == 0, done.stderr


@needs_node
@pytest.mark.slow
def test_the_client_in_javascript_moves_what_is_shown(house: House, tmp_path: Path) -> None:
    install = _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), "mqtt@5")
    assert install.returncode == 0, install.stderr
    words = (f"mqtt://127.0.0.1:{house.broker}", "shop-1", "js", "teapot")
    place = {"PATH": str(Path(shutil.which("node") or "").parent), "NODE_PATH": str(tmp_path / "node_modules")}
    done = _run("node", str(EXAMPLES / "javascript" / "client.cjs"), *words, env=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0] in {"green-tea", "honey"}
