"""The probe as a real process: what it lets pass, what it stops, and that nothing a file does reaches its parent."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import ProbeFailed
from edge_agent.shell.pipe import ProbeTask
from edge_agent.shell.probing import probed
from models import arrays, tflite_graph
from models.bundle import write_bundle
from models.tflite import FAILURES as TFLITE_FAILURES
from models.zoo import SHIPPED
from tests.edge_agent.shell import mutants as mutation
from tests.edge_agent.shell.mutants import mutants
from tests.models.sample import parts, zoo_path

Backend = Literal["onnx", "tflite"]
CPU_S = 10
WALL_S = 2 * CPU_S
"""No probe may take longer, however it ends."""

# What the agent does with a bundle that passed: load it, and score. Any exception of ours is fine, an end is not.
AGENT = """
import sys
from pathlib import Path
from edge_agent.infer.bundle import load_model
from models import golden
from models.bundle import open_bundle
from models.errors import ModelError
backend, *paths = sys.argv[1:]
for path in paths:
    try:
        model = load_model(Path(path), backend)
        inputs = golden.predict_inputs(golden.read_golden(open_bundle(Path(path))))
        for rows in (1, 2, 3):
            model.predict({name: value[:rows] for name, value in inputs.items()})
    except ModelError as error:
        print(error.code)
print("alive")
"""


def verdict(path: Path, backend: Backend, **more: int) -> str:
    """Empty when it passes, else the finding; never anything else, and never late."""
    started = time.monotonic()
    try:
        probed(ProbeTask(path=str(path), backend=backend, **{"cpu_s": CPU_S, **more}))
    except ProbeFailed as failed:
        return failed.what
    finally:
        assert time.monotonic() - started < WALL_S
    return ""


def storm(backend: Backend, models: tuple[str, ...], count: int, seed: int, folder: Path) -> list[str]:
    """Probe `count` mutants of each model, then let an agent's process run those that passed; the findings."""
    found, passed = [], []
    for model in models:
        for how, path in mutants(backend, model, count, seed, folder):
            finding = verdict(path, backend)
            found.append(f"{model} {how}: {finding or 'passes'}")
            if not finding:
                passed.append(str(path))
    done = subprocess.run(
        [sys.executable, "-c", AGENT, backend, *passed], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, (done.stderr[-2_000:], passed)
    assert done.stdout.endswith("alive\n")
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_bundles_pass_on_every_backend_they_are_built_for(name: str) -> None:
    assert verdict(zoo_path(name), "onnx") == ""
    spec, files = parts(name)
    if "model.tflite" in files:
        assert verdict(zoo_path(name), "tflite") == ""
    else:
        assert "has no model.tflite" in verdict(zoo_path(name), "tflite")
    assert spec.name == name


def test_it_probes_the_artefact_that_the_device_will_run(tmp_path: Path) -> None:
    spec, files = parts("context")
    path = write_bundle(tmp_path, spec, {**files, "model.tflite": b"no model"})
    assert verdict(path, "onnx") == ""
    assert "model.tflite" in verdict(path, "tflite")


def test_a_graph_that_fills_memory_is_stopped(tmp_path: Path) -> None:
    path = with_graph(tmp_path, lambda graph: mutation.fill_memory(graph, 2**28, 1))
    assert verdict(path, "onnx")


def test_what_the_profile_lets_a_device_use_decides_what_is_too_much(tmp_path: Path) -> None:
    path = with_graph(tmp_path, lambda graph: mutation.fill_memory(graph, 2**25, 1))  # 128 MiB of zeros
    assert verdict(path, "onnx", memory_mib=32)
    assert verdict(path, "onnx", memory_mib=1_024) == ""


def test_a_graph_that_computes_without_end_is_stopped_by_processor_time(tmp_path: Path) -> None:
    path = with_graph(tmp_path, lambda graph: mutation.take_time(graph, 2**20, 2_000, b"user_bias"))
    finding = verdict(path, "onnx", cpu_s=2)
    assert "processor time" in finding or "did not end" in finding


def test_a_graph_that_would_hold_up_the_agent_while_it_loads_or_scores_is_stopped(tmp_path: Path) -> None:
    path = with_graph(tmp_path, lambda graph: mutation.take_time(graph, 2**20, 800, b"user_bias"))
    assert "takes more than" in verdict(path, "onnx", cpu_s=60)


def with_graph(folder: Path, change: Callable[[mutation.Fields], None]) -> Path:
    """`affinity` with a changed predict.onnx."""
    spec, files = parts("affinity")
    model = mutation.fields_of(files["predict.onnx"])
    at = next(n for n, (key, _) in enumerate(model) if key >> 3 == 7)
    graph = mutation.fields_of(model[at][1])
    change(graph)
    model[at] = (model[at][0], mutation.message(graph))
    return write_bundle(folder, spec, {**files, "predict.onnx": mutation.message(model)})


def test_a_bundle_that_scores_otherwise_than_its_maker_saw_is_stopped(tmp_path: Path) -> None:
    spec, files = parts("context")
    golden = dict(arrays.unpack(files["golden.npz"], "golden"))
    golden["predict/score"] = golden["predict/score"] + np.float32(0.01)
    path = write_bundle(tmp_path, spec, {**files, "golden.npz": arrays.pack(golden)})
    for backend in ("onnx", "tflite"):
        assert "than the bundle's maker saw" in verdict(path, backend)  # type: ignore[arg-type]


def test_a_finding_is_one_short_line_whatever_the_file_says(tmp_path: Path) -> None:
    spec, files = parts("affinity")
    words = "line\n" * 2_000
    path = write_bundle(tmp_path, msgspec.structs.replace(spec, summary="x"), {**files, "predict.onnx": words.encode()})
    finding = verdict(path, "onnx")
    assert "\n" not in finding
    assert len(finding) < 700


def test_a_file_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    assert "cannot be read" in verdict(tmp_path / "absent-1.0.0.edgeward", "onnx")


def test_the_numbers_of_allowed_operators_are_those_of_the_schema() -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    assert {name: getattr(BuiltinOperator, name) for name in tflite_graph.OPERATORS} == tflite_graph.OPERATORS


@given(st.binary(max_size=300).map(lambda tail: tail[:4] + b"TFL3" + tail[4:]) | st.binary(max_size=50))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_judged_as_tflite_without_a_crash(raw: bytes) -> None:
    with suppress(*TFLITE_FAILURES):
        assert tflite_graph.faults(raw)


@pytest.mark.parametrize("operator", ["CALL_ONCE", "WHILE", "IF", "CUSTOM", "VAR_HANDLE"])
def test_control_flow_state_and_custom_operators_of_tflite_are_refused(operator: str, tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    spec, files = parts("context")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files["model.tflite"], 0))
    number = getattr(schema.BuiltinOperator, operator)
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = number, min(number, 127)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = write_bundle(tmp_path, spec, {**files, "model.tflite": bytes(builder.Output())})
    assert f"operator {number}" in verdict(path, "tflite")


@pytest.mark.parametrize(("backend", "model", "seed"), [("onnx", "context", 0), ("tflite", "context", 1)])
def test_damaged_models_harm_nobody(backend: Backend, model: str, seed: int, tmp_path: Path) -> None:
    assert len(storm(backend, (model,), 12, seed, tmp_path)) == 12


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("backend", "models", "each"), [("onnx", SHIPPED, 50), ("tflite", ("context", "segment"), 100)]
)
def test_two_hundred_damaged_models_harm_nobody(
    backend: Backend, models: tuple[str, ...], each: int, tmp_path: Path
) -> None:
    found = storm(backend, models, each, 17, tmp_path)
    assert len(found) >= 200
    crashed = [line for line in found if "crashed" in line]
    late = [line for line in found if "processor time" in line or "did not end" in line or "takes more" in line]
    passed = [line for line in found if line.endswith("passes")]
    print(f"{len(found)} mutants: {len(passed)} harmless, {len(crashed)} crashed the probe, {len(late)} were too slow")
