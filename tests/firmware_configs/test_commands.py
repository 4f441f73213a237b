"""What all four commands have in common."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("edge-agent", "edge-models", "edge-coordinator", "edge-audit")
HEAVY = ("onnxruntime", "numpy", "flwr", "paho", "torch", "cryptography", "tuf")


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@pytest.mark.parametrize("name", COMMANDS)
def test_version_and_help_work_and_name_examples(name: str) -> None:
    version = subprocess.run([_script(name), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith(f"{name} ")
    told = subprocess.run([_script(name), "--help"], capture_output=True, text=True, check=True)
    assert "Examples:" in told.stdout


@pytest.mark.parametrize("module", ["edge_agent.cli", "models.cli", "coordinator.cli", "firmware_configs.cli"])
def test_a_command_starts_without_the_heavy_libraries(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(name: str, shell: str) -> None:
    done = subprocess.run([_script(name), "completion", shell], capture_output=True, text=True, check=True)
    assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_command_exits_2(name: str) -> None:
    assert subprocess.run([_script(name), "nonsense"], capture_output=True, check=False).returncode == 2
