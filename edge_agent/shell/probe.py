"""The probe: loads a bundle in a process of its own, where a crash or a hang harms nobody.

It checks form, hashes, operators, golden outputs, and what a call costs, on the very runner that the agent will use;
limits of memory, processor time and files hold for whatever the runtime does.
"""

import resource
import sys
import time
from pathlib import Path
from typing import Literal

from edge_agent.errors import ProbeFailed
from edge_agent.shell.pipe import Ended, ProbeTask, parent_line
from firmware_configs.errors import EdgeError

ADDRESS_BYTES_MAX = 4 * 1024**3
"""Address space, not memory: onnxruntime reserves far more than it uses."""
RUNTIME_MIB = 160
"""Private memory of the interpreter and both runtimes without a model, MiB (70 with one
OpenBLAS thread, as the agent starts it, 110 with two)."""
FILES_MAX = 64
"""File descriptors."""
LOAD_S_MAX = 2.0
CALL_S_MAX = 0.5
"""Longest load, and longest scoring call on the golden inputs, s of processor time: the agent does both in the one
thread that decides. (A runtime computes at load whatever is constant in a graph.)"""


def main() -> None:
    """Entry of the child process."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, ProbeTask):
        sys.exit(2)
    confine(task)
    code, reason = "", ""
    try:
        probe(Path(task.path), task.backend, task.holds)
    except EdgeError as error:
        code, reason = error.code, f"{error.what}; fix: {error.hint}"
    except MemoryError:
        code, reason = ProbeFailed.code, f"it needs more than the device's {task.memory_mib} MiB"
    except Exception as error:  # noqa: BLE001 - the process's last line: a runtime may raise anything
        code, reason = ProbeFailed.code, f"{type(error).__name__}: {error}"
    line.send(Ended(code=code, reason=reason))


def confine(task: ProbeTask) -> None:
    """Limit this process to what a bundle may cost; it may write to no file."""
    data = (RUNTIME_MIB + task.memory_mib) * 1024**2
    limits = {
        resource.RLIMIT_AS: ADDRESS_BYTES_MAX,
        resource.RLIMIT_DATA: data,
        resource.RLIMIT_CPU: task.cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: FILES_MAX,
    }
    for kind, most in limits.items():
        allowed = resource.getrlimit(kind)[1]
        # Not above what the system allows this process anyway. A second between the limits of processor time: the
        # signal then says what it was.
        hard = most + 1 if kind == resource.RLIMIT_CPU else most
        hard = hard if allowed == resource.RLIM_INFINITY else min(hard, allowed)
        resource.setrlimit(kind, (min(most, hard), hard))


def probe(path: Path, backend: str, holds: str = "") -> None:
    """Check a bundle as if it were hostile.

    Args:
        backend: `onnx` or `tflite`, what this device will run.
        holds: `NAME VERSION` that it must be; empty: anything.
    Raises:
        ProbeFailed: the first finding.
    """
    from models.check import check_bundle

    chosen: Literal["onnx", "tflite"] = "tflite" if backend == "tflite" else "onnx"
    # A device that scores with TFLite trains with ONNX all the same.
    for finding in check_bundle(path, "both" if chosen == "tflite" else "onnx"):
        raise ProbeFailed(f"{path.name}: {finding.where}: {finding.what}", hint=finding.fix)
    _refuse_other(path, holds)
    _run_as_the_agent_will(path, chosen)


def _refuse_other(path: Path, holds: str) -> None:
    from models.bundle import open_bundle

    spec = open_bundle(path).spec
    if holds and holds != f"{spec.name} {spec.version}":
        raise ProbeFailed(
            f"{path.name}: it holds {spec.name} {spec.version}, and {holds} was asked for",
            hint="publish it again under its own name",
        )


def _run_as_the_agent_will(path: Path, backend: Literal["onnx", "tflite"]) -> None:
    import numpy as np

    from edge_agent.infer.bundle import load_model
    from models import golden
    from models.bundle import open_bundle

    stored = golden.read_golden(open_bundle(path))
    started = time.process_time()
    model = load_model(path, backend)
    if time.process_time() - started > LOAD_S_MAX:
        raise ProbeFailed(f"{path.name}: loading takes more than {LOAD_S_MAX:g} s", hint="build a smaller model")
    inputs, want = golden.predict_inputs(stored), stored["predict/score"]
    quickest = CALL_S_MAX
    # As many rows as were stored, then one, then twice as many: a graph may hold on to a number of rows.
    for take in (slice(None), slice(1), np.r_[: len(want), : len(want)]):
        started = time.process_time()
        score = model.predict({name: rows[take] for name, rows in inputs.items()})
        quickest = min(quickest, time.process_time() - started)
        golden.compare(backend, {"predict/score": score}, {"predict/score": want[take]})
    if quickest >= CALL_S_MAX:
        raise ProbeFailed(f"{path.name}: a call takes more than {CALL_S_MAX:g} s", hint="build a smaller model")


if __name__ == "__main__":
    main()
