"""The Debian package: its scripts parse, its unit is ours, and what it installs starts."""

import os
import re
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


def test_the_units_are_those_that_install_service_writes() -> None:
    command, settings = "/usr/bin/edge-agent", service.FOLDER / "agent.toml"
    plan = service.plan(service.USER, None, None, command, start=False, web=True, otlp=True)
    installed = {file.path.name: file.content for file in plan.files if file.path != settings}
    listed = re.search(r"for unit in (.*); do", (RECIPE / "build").read_text())
    assert listed is not None
    assert set(listed[1].split()) == set(installed)
    for word, wanted in installed.items():
        printed = subprocess.run(
            [sys.executable, RECIPE / "unit.py", word], capture_output=True, text=True, check=True, cwd="/"
        ).stdout
        assert printed == wanted


def test_a_removed_package_keeps_profiles_and_keys_and_a_purged_one_does_not(tmp_path: Path) -> None:
    script = (RECIPE / "postrm").read_text()
    for folder in ("/var/lib/edgeward", "/etc/edgeward"):
        assert folder in script
        (tmp_path / folder.lstrip("/")).mkdir(parents=True)
        script = script.replace(folder, f"{tmp_path}{folder}")
    for word, stays in (("remove", True), ("upgrade", True), ("purge", False)):
        subprocess.run(["sh", "-c", script, "postrm", word], check=True)
        assert (tmp_path / "var/lib/edgeward").exists() == stays


@pytest.mark.parametrize("word", ["remove", "upgrade"])
def test_what_was_compiled_goes_before_the_package_does(tmp_path: Path, word: str) -> None:
    """It is not the package's own: dpkg would leave it, and its folders."""
    (tmp_path / "a" / "__pycache__").mkdir(parents=True)
    (tmp_path / "a" / "__pycache__" / "b.cpython-311.pyc").touch()
    (tmp_path / "a" / "b.py").touch()
    script = (RECIPE / "prerm").read_text().replace("/opt/edgeward/lib", str(tmp_path))
    subprocess.run(["sh", "-c", script.replace("-d /run/systemd/system", "-d /nowhere"), "prerm", word], check=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.py"]


def test_a_package_is_compiled_by_force_when_it_is_installed() -> None:
    """Two packages may have files of one time and size: then Python would go on with what was compiled before."""
    assert "python3 -m compileall -q -f" in (RECIPE / "postinst").read_text()


@needs_dpkg
@pytest.mark.slow
def test_what_the_package_holds_starts(tmp_path: Path) -> None:
    """Without the libraries, which would take minutes to fetch: those of this environment stand in for them."""
    environment = {**os.environ, "PYTHON": sys.executable, "WITHOUT_LIBRARIES": "1", "COMPRESSION": "gzip"}
    built = subprocess.run(
        [RECIPE / "build", tmp_path], env=environment, capture_output=True, text=True, check=True, timeout=250
    )
    package = Path(built.stdout.split()[-1])
    again = subprocess.run(
        [RECIPE / "build", tmp_path / "again"], env=environment, capture_output=True, text=True, check=True, timeout=250
    )
    assert Path(again.stdout.split()[-1]).read_bytes() == package.read_bytes()
    told = subprocess.run(["dpkg-deb", "--info", package], capture_output=True, text=True, check=True).stdout
    assert "Package: edgeward" in told
    assert "Depends: python3 (>= 3.11), python3 (<< 3.12)" in told
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    for name in (service.NAME, service.WEB_NAME, service.OTLP_NAME, service.RENEW_NAME, service.RENEW_TIMER):
        assert (root / "usr/lib/systemd/system" / name).exists()
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
