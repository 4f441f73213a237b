"""The one door to Flower's server side: its own commands, with a configuration of their own and telemetry off."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from coordinator.errors import FlowerFailed

APP = Path(__file__).parents[1] / "flower-app"
CONNECTION = "edgeward"
CALL_S = 60


def environment(home: Path) -> dict[str, str]:
    """What every process of Flower's gets: its own home, no telemetry, no update check, our scripts on the path."""
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        # A line for each call of each device would fill the disk.
        "FLWR_LOG_LEVEL": os.environ.get("FLWR_LOG_LEVEL", "WARNING"),
        "PYTHONUNBUFFERED": "1",
    }


def script(name: str) -> str:
    """A console script beside this interpreter."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def write_connection(home: Path, address: str, ca: Path) -> None:
    """Tell Flower's commands where the SuperLink is."""
    folder = home / "flower"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        f'address = "{address}"\nroot-certificates = "{ca}"\n'
    )


def superlink_command(home: Path, host: str, port: int, ca: Path, certificate: Path, key: Path) -> list[str]:
    """The SuperLink: TLS, node authentication, state on disk; it installs nothing at run time."""
    return [
        script("flower-superlink"),
        "--host",
        host,
        "--port",
        str(port),
        "--ssl-ca-certfile",
        str(ca),
        "--ssl-certfile",
        str(certificate),
        "--ssl-keyfile",
        str(key),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        "--database",
        str(home / "superlink.db"),
    ]


def register(home: Path, public_key: Path) -> int:
    """Enrol a node's public key; returns Flower's node id.

    Raises:
        FlowerFailed: with Flower's own words.
    """
    done = _call(home, "supernode", "register", str(public_key), CONNECTION)
    return int(done["node-id"])


def unregister(home: Path, node: int) -> None:
    """Revoke a node."""
    _call(home, "supernode", "unregister", str(node), CONNECTION)


def start_run(home: Path, app: Path, job: Path) -> tuple[str, str]:
    """Start the server app; returns (Flower's run id, sha256 of the app bundle, hex).

    Args:
        job: the file that the server app reads.
    """
    app_hash = hash_of(app)
    done = _call(home, "run", str(app), CONNECTION, "--run-config", f'job="{job}"')
    return str(done["run-id"]), app_hash


def hash_of(app: Path) -> str:
    """sha256 (hex) of the app bundle that `flwr run` makes of a folder."""
    from flwr.cli.build import build_fab_from_disk

    return sha256(build_fab_from_disk(app.resolve())).hexdigest()


def stop_run(home: Path, run: str) -> None:
    """End a run.

    Raises:
        FlowerFailed: it has ended already, or the SuperLink is gone.
    """
    _call(home, "stop", run, CONNECTION)


def _call(home: Path, *words: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [script("flwr"), *words, "--format", "json"],
            capture_output=True,
            text=True,
            timeout=CALL_S,
            env=environment(home),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FlowerFailed(f"`flwr {words[0]}` took longer than {CALL_S} s", hint="is the SuperLink up?") from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = {"success": False, "error-message": (done.stderr or done.stdout).strip()[-500:]}
    if done.returncode or not answer.get("success"):
        said = " ".join(str(answer.get("error-message", "")).split())
        raise FlowerFailed(f"`flwr {' '.join(words[:2])}` failed: {said}", hint="see `edge-coordinator up`'s log")
    return answer
