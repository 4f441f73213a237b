"""Every command of docs/fleet.md, in its order, on one real coordinator."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.shell.home import endpoints_of
from coordinator.shell.invitations import Invitations
from tests.coordinator.seat import MOSQUITTO, until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fleet.md"
SCRIPTS = Path(sys.executable).parent
COMMANDS = re.findall(r"^\$ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
WARNED = {"edge-coordinator fleet doctor": {0, 1, 2}}
"""What it exits with where that tells of the fleet."""

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which the page's commands run, after its first one: on loopback and free ports."""
    home, ready = tmp_path / "home", tmp_path / "ready"
    environment = {
        **os.environ,
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "EDGE_COORDINATOR_HOME": str(home),
    }
    words = shlex.split(COMMANDS[0])
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert set(given) == {"--broker", "--name", "--host", "--port", "--broker-port"}
    given |= {"--host": "127.0.0.1", "--port": "0", "--broker-port": "0", "--name": "127.0.0.1"}
    command = [*words[:2], *(word for pair in given.items() for word in pair), "--ready-file", str(ready)]
    shutil.copy(ROOT / "firmware_configs" / "profiles" / "home-gateway.toml", tmp_path)
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: ready.exists() or up.poll() is not None)
        assert up.poll() is None, (tmp_path / "up.log").read_text()
        url = endpoints_of(home).registry
        yield {**environment, "URL": url, "TOKEN": str(Invitations(home).make(1, 600.0)[0])}
    finally:
        up.terminate()
        up.wait(30)


def test_every_command_of_the_page_works_as_it_stands(stage: dict[str, str], tmp_path: Path) -> None:
    assert len(COMMANDS) > 20
    # A device that is revoked on the way would leave the rest with nobody: that is tried last.
    last = [one for one in COMMANDS if "nodes revoke" in one]
    for command in [*(one for one in COMMANDS[1:] if one not in last), *last]:
        words = [stage.get(word[1:], word) if word.startswith("$") else word for word in shlex.split(command)]
        done = subprocess.run(words, env=stage, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in WARNED.get(command, {0}), f"{command}: {done.stdout}{done.stderr}"
        assert (done.stdout + done.stderr).strip(), command
