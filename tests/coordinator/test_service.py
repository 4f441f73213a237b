"""`edge-coordinator install-service`: units that systemd finds sound and little exposed, and that really come up."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.shell import service
from firmware_configs.errors import ServiceRefused
from tests.benchmarks.load import process, wait_for
from tests.edge_agent.shell.test_service import EXPOSURE_MAX, FORBID_WRITABLE_CODE

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze (Debian's systemd package)")
UP = ["--host", "10.0.0.1", "--name", "fleet.example.org"]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@needs_systemd
@pytest.mark.parametrize("number", [0, 1], ids=["coordinator", "dashboard"])
def test_systemd_finds_nothing_wrong_with_the_units_and_little_exposed(tmp_path: Path, number: int) -> None:
    planned = service.plan(service.USER, sys.executable, UP, UP, start=False).files[number]
    path = tmp_path / planned.path.name
    path.write_text(planned.content)
    verified = subprocess.run([ANALYZE, "verify", path], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    found = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", path], capture_output=True, text=True, check=False
    ).stdout
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", found)
    assert exposure is not None, found
    assert float(exposure[1]) < EXPOSURE_MAX


def test_it_writes_what_is_asked_for_and_takes_it_away_but_for_the_home(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    done = call("install-service", "--prefix", tmp_path, "--name", "fleet.example.org", "--dashboard")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in units.iterdir()) == [service.NAME, service.DASHBOARD_NAME]
    text = (units / service.NAME).read_text()
    assert f"up --home {service.STATE} --host 0.0.0.0 --name fleet.example.org --broker mosquitto" in text
    assert "--tls" in (units / service.DASHBOARD_NAME).read_text()
    (tmp_path / "var/lib/edgeward-coordinator").mkdir(parents=True)
    assert call("uninstall-service", "--prefix", tmp_path).exit_code == 0
    assert list(units.iterdir()) == []
    assert (tmp_path / "var/lib/edgeward-coordinator").exists()
    call("uninstall-service", "--prefix", tmp_path, "--purge")
    assert not (tmp_path / "var/lib/edgeward-coordinator").exists()


def test_dry_run_and_print_write_nothing(tmp_path: Path) -> None:
    told = call("install-service", "--prefix", tmp_path, "--dry-run", "--now").output
    assert "run useradd --system" in told
    assert f"run systemctl enable --now {service.NAME}" in told
    assert call("install-service", "--prefix", tmp_path, "--print").output.startswith("# Written by")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["a b", "50%", "$HOME", "it's", 'a"b', "a\\b", ""])
def test_an_argument_reaches_the_command_as_it_was_given(word: str) -> None:
    """As systemd reads a command line: `%%` is `%`, `$$` is `$`, quotes as a shell's."""
    line = service._escaped([word]).replace("%%", "%").replace("$$", "$")
    assert shlex.split(line) == [word]


@pytest.mark.parametrize("folder", ["replies", "a/../replies", f"{service.STATE}/replies"])
def test_the_record_of_replies_lies_in_the_home_where_the_unit_may_write(folder: str) -> None:
    unit = call("install-service", "--print", "--replies", folder).output
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert line.endswith(f" --replies {service.STATE}/replies")
    assert f"StateDirectory={service.STATE.name}" in unit
    assert "ProtectSystem=strict" in unit
    assert "ReadWritePaths" not in unit


def test_nothing_is_recorded_that_nobody_asked_for() -> None:
    assert "--replies" not in call("install-service", "--print").output


@pytest.mark.parametrize("folder", ["/srv/replies", "..", ".", "../edgeward-coordinator-2", "a/../../b"])
def test_a_record_where_the_unit_may_not_write_is_refused_with_the_place_that_is_right(folder: str) -> None:
    refused = call("install-service", "--print", "--replies", folder)
    assert refused.exit_code == 2
    assert "the service cannot write to" in refused.output
    assert "--replies replies" in refused.output


@given(st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_whatever_is_named_lies_below_the_home_or_is_refused(named: str) -> None:
    try:
        folder = service.replies_folder(Path(named))
    except ServiceRefused:
        return
    assert ".." not in folder.parts
    assert folder != service.STATE
    assert folder.is_relative_to(service.STATE)


def test_odd_users_are_refused() -> None:
    with pytest.raises(ServiceRefused, match="no user for a service"):
        service.plan("root", "/x", [], None, start=False)


def test_it_comes_up_under_the_units_memory_protection_and_tells_the_manager(tmp_path: Path) -> None:
    probe = subprocess.run([sys.executable, "-c", FORBID_WRITABLE_CODE, "-c", "pass"], check=False)
    if probe.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    words = ("-m", "coordinator.cli", "up", "--home", str(tmp_path / "home"), "--ready-file", str(tmp_path / "ready"))
    log = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with process(sys.executable, "-c", FORBID_WRITABLE_CODE, *words, log=log, environment=environment) as up:
            wait_for(lambda: (tmp_path / "ready").exists() or up.poll() is not None, "the coordinator", 60)
            assert up.poll() is None, log.read_text()
            assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"
