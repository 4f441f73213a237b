"""`python -m tests.benchmarks.runner --json`: what a call costs, by backend, by option, by how weights go in.

Each variant runs in a process of its own, so that resident memory is its own; variants alternate over several rounds,
and the fastest block of all rounds counts, because on a shared machine the others measure the neighbours. A ratio is to
the first variant, which is what ADR 0005 began with. Cases: the zoo's `context` with 1 and 128 rows, and `affinity`
with a catalogue of 1,682 items (random weights) for 1 and all.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"
ITEMS = 1_682
CASES = {"context": (1, 128), "affinity": (1, ITEMS)}
REPEATS, CALLS = 9, 400

# name → (how the weights go in, session options and entries); the first is the base of the ratios.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx weights fed": ("fed", {}),
    "onnx weights bound": ("bound", {}),
    "onnx weights as defaults": ("defaults", {}),
    "onnx 2 threads": ("defaults", {"intra_op_num_threads": 2}),
    "onnx 2 threads no spinning": ("defaults", {"intra_op_num_threads": 2, "session.intra_op.allow_spinning": "0"}),
    "onnx no arena": ("defaults", {"enable_cpu_mem_arena": False}),
    "onnx no memory pattern": ("defaults", {"enable_mem_pattern": False}),
    "onnx no arena, no pattern": ("defaults", {"enable_cpu_mem_arena": False, "enable_mem_pattern": False}),
    "onnx optimisation off": ("defaults", {"graph_optimization_level": 0}),
    "onnx optimisation basic": ("defaults", {"graph_optimization_level": 1}),
    "onnx optimisation extended": ("defaults", {"graph_optimization_level": 2}),
    "tflite signature, weights fed": ("signature", {}),
    "tflite what differs is set": ("tflite", {}),
    "agent (LoadedModel, onnx)": ("agent-onnx", {}),
    "agent (LoadedModel, tflite)": ("agent-tflite", {}),
}
Call = Callable[[Mapping[str, Any]], Any]


def resident_kib() -> int:
    """Resident memory of this process, KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def measured(how: str, options: dict[str, Any]) -> dict[str, Any]:
    """One variant, in this process: µs a call by case, KiB above the imports."""
    from models.bundle import open_bundle

    _import_runtime(how)
    found: dict[str, Any] = {}
    before = resident_kib()
    for name, sizes in CASES.items():
        bundle = open_bundle(max(BUNDLES.glob(f"{name}-*.edgeward")))
        if how in {"signature", "tflite", "agent-tflite"} and "model.tflite" not in bundle.files:
            continue
        weights = grown(bundle.weights())
        call = call_of(how, bundle, weights, options)
        for rows in sizes:
            found[f"{name}/{rows}"] = _microseconds(partial(call, feeds_of(name, rows)))
    return {"us": found, "kib": resident_kib() - before}


def _import_runtime(how: str) -> None:
    if "tflite" in how or how == "signature":
        from models.tflite import open_interpreter

        bundle = max(BUNDLES.glob("context-*.edgeward"))
        from models.bundle import open_bundle

        open_interpreter(open_bundle(bundle).read("model.tflite"))
    else:
        import models.session  # noqa: F401


def grown(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The same weights, with the catalogue's axis drawn at random for ITEMS items."""
    dice = np.random.default_rng(0)
    return {
        name: dice.normal(size=(ITEMS, *value.shape[1:])).astype(np.float32) if name.startswith("item_") else value
        for name, value in weights.items()
    }


def feeds_of(name: str, rows: int) -> dict[str, Any]:
    if name == "affinity":
        return {"item": np.arange(rows, dtype=np.int64)}
    return {"features": np.random.default_rng(1).normal(size=(rows, 4)).astype(np.float32)}


def call_of(how: str, bundle: Any, weights: dict[str, Any], options: dict[str, Any]) -> Call:
    if how == "signature":
        from models.tflite import open_infer

        signature = open_infer(bundle.read("model.tflite"))
        return lambda feeds: signature(**weights, **feeds)["score"]
    if how == "tflite":
        from edge_agent.infer.tflite_backend import open_runner as open_tflite

        return open_tflite(bundle)
    if how.startswith("agent-"):
        return _agent(bundle, weights, "tflite" if how == "agent-tflite" else "onnx")
    from edge_agent.infer.initialisers import with_defaults

    raw = bundle.read("predict.onnx")
    session = _session(with_defaults(raw, weights) if how == "defaults" else raw, options)
    if how == "bound":
        return _bound(session, weights)
    if how == "fed":
        return lambda feeds: session.run(["score"], {**weights, **feeds})[0]
    return lambda feeds: session.run(["score"], feeds)[0]


def _agent(bundle: Any, weights: dict[str, Any], backend: Any) -> Call:
    import tempfile

    import msgspec

    from edge_agent.infer.bundle import load_model
    from models import arrays
    from models.bundle import write_bundle

    files = {name: bundle.read(name) for name in bundle.files} | {"weights.npz": arrays.pack(weights)}
    items = len(weights.get("item_bias", ()))
    if items:
        files["catalogue.txt"] = "".join(f"i{n}\n" for n in range(items)).encode()
    shaped = tuple(msgspec.structs.replace(p, shape=tuple(weights[p.name].shape)) for p in bundle.spec.parameters)
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder), msgspec.structs.replace(bundle.spec, parameters=shaped), files)
        return load_model(path, backend).predict


def _session(graph: bytes, options: dict[str, Any]) -> Any:
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
    chosen.use_deterministic_compute = True
    chosen.log_severity_level = 4
    for name, value in options.items():
        if "." in name:
            chosen.add_session_config_entry(name, value)
        elif name == "graph_optimization_level":
            level = onnxruntime.GraphOptimizationLevel
            chosen.graph_optimization_level = (
                level.ORT_DISABLE_ALL,
                level.ORT_ENABLE_BASIC,
                level.ORT_ENABLE_EXTENDED,
            )[value]
        else:
            setattr(chosen, name, value)
    return onnxruntime.InferenceSession(graph, chosen, providers=["CPUExecutionProvider"])


def _bound(session: Any, weights: dict[str, Any]) -> Call:
    import onnxruntime

    binding = session.io_binding()
    held = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in weights.items()}
    for name, value in held.items():
        binding.bind_ortvalue_input(name, value)

    def call(feeds: Mapping[str, Any]) -> Any:
        assert held  # the binding does not keep them
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        binding.bind_output("score")  # a bound output keeps the shape of the call before
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()

    return call


def _microseconds(call: Callable[[], Any]) -> float:
    """The fastest of REPEATS blocks of CALLS, µs a call."""
    for _ in range(CALLS // 4):
        call()
    found = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter() - started) / CALLS * 1e6)
    return min(found)


def _in_child(name: str) -> dict[str, Any]:
    code = (
        f"import json; from tests.benchmarks import runner as r; print(json.dumps(r.measured(*r.VARIANTS[{name!r}])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(rounds: int) -> dict[str, Any]:
    """All variants, alternately."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name in VARIANTS:
            told[name].append(_in_child(name))
    base = told[next(iter(VARIANTS))]
    return {
        "variants": {name: _summed_up(runs, base) for name, runs in told.items()},
        "samples": {"rounds": rounds, "repeats": REPEATS, "calls": CALLS},
        "versions": {name: version(name) for name in ("edgeward", "onnxruntime", "ai-edge-litert", "numpy")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def _summed_up(runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, Any]:
    fastest = {case: min(run["us"][case] for run in runs) for case in runs[0]["us"]}
    return {
        "us": {case: round(us, 2) for case, us in fastest.items()},
        "ratio": {case: round(us / min(run["us"][case] for run in base), 3) for case, us in fastest.items()},
        "kib": round(statistics.median(run["kib"] for run in runs)),
    }


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found = compare(given.rounds)
    if not given.json:
        for name, figures in found["variants"].items():
            cases = "  ".join(f"{case} {us:>6.1f} µs" for case, us in figures["us"].items())
            print(f"{name:<30} {figures['kib']:>6} KiB  {cases}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
