"""The probe: loads a bundle in a process of its own, where a crash or a hang harms nobody.

It checks form, hashes, operators and golden outputs; limits of memory and time hold for whatever the runtime does.
"""

import resource
import sys
from pathlib import Path

from edge_agent.errors import ProbeFailed
from edge_agent.shell.pipe import Ended, ProbeTask, parent_line
from firmware_configs.errors import EdgeError

MEMORY_BYTES_MAX = 4 * 1024**3
"""Address space, not resident memory: onnxruntime reserves far more than it uses."""
CPU_S_MAX = 60


def main() -> None:
    """Entry of the child process."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, ProbeTask):
        sys.exit(2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code, reason = "", ""
    try:
        probe(Path(task.path), task.backend)
    except EdgeError as error:
        code, reason = error.code, f"{error.what}; fix: {error.hint}"
    except Exception as error:  # noqa: BLE001 - the process's last line: a runtime may raise anything
        code, reason = ProbeFailed.code, f"{type(error).__name__}: {error}"
    line.send(Ended(code=code, reason=reason))


def probe(path: Path, backend: str) -> None:
    """Check a bundle as if it were hostile.

    Args:
        backend: `onnx` or `tflite`, what this device will run.
    Raises:
        ProbeFailed: the first finding.
    """
    from models.check import check_bundle

    findings = check_bundle(path, "tflite" if backend == "tflite" else "onnx")
    for finding in findings:
        raise ProbeFailed(f"{path.name}: {finding.where}: {finding.what}", hint=finding.fix)


if __name__ == "__main__":
    main()
