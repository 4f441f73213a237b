"""The Debian package: its scripts parse, its unit is ours, and what it installs starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.shell import service

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "packaging" / "debian"
SCRIPTS = ("build", "postinst", "prerm", "postrm")
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb (a Debian-like system)")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_are_executable(name: str) -> None:
    path = RECIPE / name
    shell = path.read_text().splitlines()[0].rsplit("/", 1)[1].split()[-1]
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0
    assert os.access(path, os.X_OK)


def test_the_unit_is_the_one_that_install_service_writes() -> None:
    printed = subprocess.run(
        [sys.executable, RECIPE / "unit.py"], capture_output=True, text=True, check=True, cwd="/"
    ).stdout
    assert printed == service.unit("/usr/bin/edge-agent", service.FOLDER / "agent.toml", service.USER, None)


def test_a_removed_package_keeps_profiles_and_keys_and_a_purged_one_does_not(tmp_path: Path) -> None:
    script = (RECIPE / "postrm").read_text()
    for folder in ("/var/lib/edgeward", "/etc/edgeward"):
        assert folder in script
        (tmp_path / folder.lstrip("/")).mkdir(parents=True)
        script = script.replace(folder, f"{tmp_path}{folder}")
    for word, stays in (("remove", True), ("upgrade", True), ("purge", False)):
        subprocess.run(["sh", "-c", script, "postrm", word], check=True)
        assert (tmp_path / "var/lib/edgeward").exists() == stays


@needs_dpkg
@pytest.mark.slow
def test_what_the_package_holds_starts(tmp_path: Path) -> None:
    """Without the libraries, which would take minutes to fetch: those of this environment stand in for them."""
    environment = {**os.environ, "PYTHON": sys.executable, "WITHOUT_LIBRARIES": "1", "COMPRESSION": "gzip"}
    built = subprocess.run(
        [RECIPE / "build", tmp_path], env=environment, capture_output=True, text=True, check=True, timeout=250
    )
    package = Path(built.stdout.split()[-1])
    told = subprocess.run(["dpkg-deb", "--info", package], capture_output=True, text=True, check=True).stdout
    assert "Package: edgeward" in told
    assert "Depends: python3 (>= 3.11), python3 (<< 3.12)" in told
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    assert (root / "usr/lib/systemd/system" / service.NAME).exists()
    assert os.access(root / "usr/bin/edge-agent", os.X_OK)
    lib = root / "opt/edgeward/lib"
    assert not (lib / "coordinator").exists()
    profile = lib / "firmware_configs/profiles/home-gateway.toml"
    for words, expected in ((["--version"], "edge-agent "), (["check", profile], "fine")):
        run = subprocess.run(
            [sys.executable, "-m", "edge_agent.cli", *words],
            env={**os.environ, "PYTHONPATH": str(lib), "PYTHONSAFEPATH": "1"},
            capture_output=True, text=True, check=True, cwd="/",
        )  # fmt: skip
        assert expected in run.stdout
