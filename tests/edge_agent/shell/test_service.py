"""`install-service`: what systemd gets is verified by systemd, nothing is half-installed, and settings survive."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.settings import load
from edge_agent.shell import service
from firmware_configs.errors import ServiceRefused
from firmware_configs.profile import Device
from firmware_configs.service import Plan
from tests.benchmarks.load import DEVICE, Driver, broker, process, write_agent
from tests.edge_agent.house import ROOT
from tests.edge_agent.shell.test_run import command

PROFILE = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
SMALL = Device(class_="c", fleet="f", memory_mib_max=96)
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze (Debian's systemd package)")
UNIT = f"etc/systemd/system/{service.NAME}"
EXPOSURE_MAX = 2.0
"""systemd's own measure, 0 to 10; a service without hardening has 9.6."""


def planned(*, start: bool = False) -> Plan:
    return service.plan("edgeward", PROFILE, SMALL, sys.executable, start=start, web=True, otlp=True)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_timer(tmp_path: Path) -> None:
    for file in planned().files:
        if file.path.suffix in {".service", ".timer"}:
            (tmp_path / file.path.name).write_text(file.content)
    path = tmp_path / service.RENEW_TIMER
    verified = subprocess.run([ANALYZE, "verify", path], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", [service.NAME, service.WEB_NAME, service.OTLP_NAME, service.RENEW_NAME])
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text({file.path.name: file.content for file in planned().files}[name])
    verified = subprocess.run([ANALYZE, "verify", path], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    found = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", path], capture_output=True, text=True, check=False
    ).stdout
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", found)
    assert exposure is not None, found
    assert float(exposure[1]) < EXPOSURE_MAX


def test_memory_is_bounded_by_the_profile_and_children_have_room() -> None:
    text = service.unit("/opt/x/edge-agent", Path("/etc/a.toml"), "u", SMALL)
    assert f"MemoryMax={96 + service.CHILDREN_MIB}M" in text
    assert "Type=notify" in text
    assert "ProtectHome=yes" in text
    assert "ProtectHome=read-only" in service.unit("/home/me/.venv/bin/edge-agent", Path("/a"), "u", None)


def test_it_writes_unit_settings_and_profile_once_and_keeps_what_was_changed(tmp_path: Path) -> None:
    first = command("install-service", "--prefix", tmp_path, "--profile", PROFILE)
    assert first.returncode == 0, first.stderr
    settings = tmp_path / "etc/edgeward/agent.toml"
    loaded = load(settings, {})
    assert (loaded.state_dir, loaded.profile) == ("/var/lib/edgeward", "/etc/edgeward/profile.toml")
    assert settings.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc/edgeward/profile.toml").read_text() == PROFILE.read_text()
    settings.write_text("changed")
    again = command("install-service", "--prefix", tmp_path, "--profile", PROFILE)
    assert f"kept {settings}" in again.stdout
    assert settings.read_text() == "changed"


def test_page_and_collector_have_units_of_their_own_only_where_they_are_wanted(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    always = [service.NAME, service.RENEW_NAME, service.RENEW_TIMER]
    command("install-service", "--prefix", tmp_path)
    assert sorted(path.name for path in units.iterdir()) == always
    done = command("install-service", "--prefix", tmp_path, "--web", "--otlp")
    started = (service.NAME, service.RENEW_TIMER, service.WEB_NAME, service.OTLP_NAME)
    assert f"systemctl enable --now {' '.join(started)}\n" in done.stdout
    assert sorted(path.name for path in units.iterdir()) == sorted([*always, service.WEB_NAME, service.OTLP_NAME])
    command("uninstall-service", "--prefix", tmp_path)
    assert list(units.iterdir()) == []


def test_dry_run_and_print_write_nothing(tmp_path: Path) -> None:
    told = command("install-service", "--prefix", tmp_path, "--dry-run", "--now").stdout
    assert "run useradd --system" in told
    assert "run systemctl enable --now edgeward-agent.service" in told
    assert command("install-service", "--prefix", tmp_path, "--print").stdout.startswith("# Written by")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/edgeward").write_text("a file where a folder should be")
    with pytest.raises(ServiceRefused, match="not installed"):
        service.install(planned(), tmp_path)
    assert not (tmp_path / UNIT).exists()


def test_a_failing_step_gives_an_older_unit_back(tmp_path: Path) -> None:
    path = tmp_path / UNIT
    path.parent.mkdir(parents=True)
    path.write_text("older")
    (tmp_path / "etc/edgeward").write_text("a file where a folder should be")
    with pytest.raises(ServiceRefused):
        service.install(planned(), tmp_path)
    assert path.read_text() == "older"


def test_uninstall_keeps_settings_and_state_unless_told_otherwise(tmp_path: Path) -> None:
    service.install(planned(), tmp_path)
    (tmp_path / "var/lib/edgeward").mkdir(parents=True)
    told = command("uninstall-service", "--prefix", tmp_path)
    assert told.returncode == 0
    assert not (tmp_path / UNIT).exists()
    assert (tmp_path / "etc/edgeward/agent.toml").exists()
    assert "there was no" in command("uninstall-service", "--prefix", tmp_path).stdout
    command("uninstall-service", "--prefix", tmp_path, "--purge")
    assert not (tmp_path / "etc/edgeward").exists()
    assert not (tmp_path / "var/lib/edgeward").exists()


def test_without_root_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    with pytest.raises(ServiceRefused, match="needs root"):
        service.install(planned(), None)
    with pytest.raises(ServiceRefused, match="needs root"):
        service.uninstall(None, purge=False)


@pytest.mark.parametrize("user", ["root", "", "Me", "a b", "x;y", "-a"])
def test_odd_users_are_refused(user: str) -> None:
    with pytest.raises(ServiceRefused, match="no user for a service"):
        service.plan(user, None, None, "/x", start=False)


@pytest.mark.parametrize(
    ("host", "device"),
    [("pi", "pi"), ("my gateway!", "my-gateway"), ("", "device-1"), ("é" * 9, "device-1"), ("a" * 99, "a" * 63)],
)
def test_a_device_is_named_after_its_host(host: str, device: str) -> None:
    assert service._device_id(host) == device


FORBID_WRITABLE_CODE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)   # PR_SET_MDWE: what MemoryDenyWriteExecute=yes means
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_the_agent_decides_under_the_units_memory_protection(tmp_path: Path) -> None:
    probe = subprocess.run([sys.executable, "-c", FORBID_WRITABLE_CODE, "-c", "pass"], check=False)
    if probe.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    with broker("iotcore", tmp_path) as port:
        settings = write_agent(tmp_path / "a", port)
        words = ("-m", "edge_agent.cli", "run", "--settings", str(settings))
        with process(sys.executable, "-c", FORBID_WRITABLE_CODE, *words, log=tmp_path / "log"):
            driver = Driver(port, "driver")
            driver.listen(f"edgeward/1/{DEVICE}/decision/#")
            driver.warm(f"bench/{DEVICE}/in")
            driver.close()
