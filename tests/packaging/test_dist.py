"""What `make dist` and `make sbom` make: the same bytes twice, all that is needed in it, a bill that fits."""

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"


def tool(name: str, *words: object) -> str:
    """Run a tool; without a registry there is nothing to test."""
    command = [sys.executable, str(TOOLS / name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    if done.returncode and re.search(r"(?i)failed to fetch|dns|network|connect", done.stderr):
        pytest.skip("no registry can be reached from here")
    assert done.returncode == 0, done.stderr
    return done.stdout


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_two_builds_in_two_folders_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool("dist", tmp_path / "one")
    umask = os.umask(0o077)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "C")
    try:
        tool("dist", tmp_path / "two")
    finally:
        os.umask(umask)
    assert sums(tmp_path / "one") == sums(tmp_path / "two")
    wheel, sdist = next((tmp_path / "one").glob("*.whl")), next((tmp_path / "one").glob("*.tar.gz"))
    listed = dict(reversed(line.split("  ")) for line in (tmp_path / "one" / "SHA256SUMS").read_text().splitlines())
    assert listed == {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in (sdist, wheel)}
    assert_complete(wheel, sdist)


def assert_complete(wheel: Path, sdist: Path) -> None:
    """Package data of each package is in the wheel, and nothing of tests or of this machine is in either."""
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "edge_agent/shell/schema/0001_start.sql",
        "coordinator/costs.toml",
        "coordinator/shell/dashboard/templates/",
        "models/zoo/bundles/context-",
        "firmware_configs/profiles/home-gateway.toml",
    ):
        assert any(name.startswith(needed) for name in names), needed
    assert not [name for name in names if name.startswith(("tests/", "demo/", "tools/"))]
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
        assert {(one.uid, one.gid, one.uname, one.gname) for one in members} == {(0, 0, "", "")}
        assert len({one.mtime for one in members}) == 1
    with zipfile.ZipFile(wheel) as opened:
        stated = opened.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in stated or "License: Apache-2.0" in stated


def test_an_archive_that_is_packed_anew_has_the_same_files_in_order_of_one_time_and_no_owner(tmp_path: Path) -> None:
    anew = runpy.run_path(str(TOOLS / "dist"))["packed_anew"]
    made = []
    for number, order in enumerate((("b", "a"), ("a", "b"))):
        source = tmp_path / f"{number}.tar.gz"
        with tarfile.open(source, "w:gz") as archive:
            for name in order:
                (tmp_path / name).write_text(f"content of {name}")
                (tmp_path / name).chmod(0o600 + number * 0o044)
                archive.add(tmp_path / name, name)
        anew(source, tmp_path / f"{number}.anew", 1_700_000_000)
        made.append((tmp_path / f"{number}.anew").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "0.anew") as archive:
        assert [one.name for one in archive.getmembers()] == ["a", "b"]
        opened = archive.extractfile("b")
        assert opened
        assert opened.read() == b"content of b"


def of_schema(document: dict[str, Any]) -> None:
    """Hold a bill of materials to CycloneDX's own schema, strictly."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    assert fault is None, fault


@pytest.mark.slow
def test_a_bill_of_materials_names_each_locked_library_with_licence_and_hashes(tmp_path: Path) -> None:
    tool("sbom", tmp_path, "officer")
    document = json.loads((tmp_path / "officer.cdx.json").read_text())
    of_schema(document)
    components = {one["name"].lower().replace("_", "-"): one for one in document["components"]}
    locked = runpy.run_path(str(TOOLS / "sbom"))["hashes_of"]("officer")
    assert set(components) <= set(locked) | {"edgeward"}
    assert {"click", "msgspec", "cryptography"} <= set(components)
    for name, component in components.items():
        assert component.get("licenses"), f"{name} states no licence"
        assert component["purl"].startswith("pkg:pypi/")
        if name in locked:
            assert {one["hashes"][0]["content"] for one in component["externalReferences"] if "hashes" in one}


def test_a_lock_read_as_a_bill_of_materials_fits_the_schema(tmp_path: Path) -> None:
    """cyclonedx-py on the lock itself: no registry is needed."""
    made = tmp_path / "officer.json"
    command = [
        str(Path(sys.executable).with_name("cyclonedx-py")),
        "requirements",
        "--output-reproducible",
        "--sv",
        "1.6",
    ]
    lock = ROOT / "packaging" / "locks" / "officer.txt"
    subprocess.run([*command, "-o", str(made), str(lock)], check=True, capture_output=True)
    document = json.loads(made.read_text())
    of_schema(document)
    assert len(document["components"]) >= 6
