"""What a device refuses to run, and that both backends see the same."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import arrays
from models.build import GRAPHS
from models.bundle import open_bundle, write_bundle
from models.check import Finding, check_bundle
from models.errors import GraphForbidden
from models.onnx_graph import read_graph
from models.session import Predictor
from models.zoo import SHIPPED
from tests.models.sample import parts, zoo_path

# Protobuf merges what is appended, so a few bytes behind a model add to its graph. Field numbers: onnx.proto.
EXTERNAL_TENSOR = b"\x3a\x04\x2a\x02\x70\x01"  # graph { initializer { data_location: EXTERNAL } }
EXTERNAL_ENTRY = b"\x3a\x04\x2a\x02\x6a\x00"  # graph { initializer { external_data { } } }
SUBGRAPH = b"\x3a\x09\x0a\x07\x22\x03Add\x2a\x00"  # graph { node { op_type: "Add" attribute { } } }
LOOP = b"\x3a\x08\x0a\x06\x22\x04Loop"  # graph { node { op_type: "Loop" } }
CUSTOM = b"\x3a\x0c\x0a\x0a\x22\x03Add\x3a\x03com"  # graph { node { op_type: "Add" domain: "com" } }
BRANCH = b"\x3a\x0d\x0a\x0b\x22\x03Add\x2a\x04\x32\x02\x08\x01"  # … attribute { g { … } }
FUNCTION = b"\xca\x01\x02\x08\x01"  # functions { … }
OPSET = b"\x42\x02\x10\x63"  # opset_import { version: 99 }
IR = b"\x08\x63"  # ir_version: 99


def graph(name: str, file: str = "predict.onnx") -> bytes:
    return (GRAPHS / name / file).read_bytes()


@pytest.mark.parametrize("file", sorted(path.relative_to(GRAPHS) for path in GRAPHS.rglob("*.onnx")), ids=str)
def test_the_committed_graphs_use_only_what_devices_run(file: Path) -> None:
    facts = read_graph((GRAPHS / file).read_bytes())
    assert facts.faults == ()
    assert (facts.opset, facts.ir_version) == (18, 10)


@pytest.mark.parametrize(
    ("tail", "word"),
    [
        (EXTERNAL_TENSOR, "external data"),
        (EXTERNAL_ENTRY, "external data"),
        (LOOP, "operator Loop"),
        (CUSTOM, "operator com::Add"),
        (BRANCH, "graph or sparse tensor inside"),
        (FUNCTION, "local functions"),
        (OPSET, "opset 99"),
        (IR, "IR version 99"),
    ],
)
def test_a_graph_that_would_do_more_is_refused(tail: bytes, word: str, tmp_path: Path) -> None:
    document, files = parts("affinity")
    path = write_bundle(tmp_path, document, {**files, "predict.onnx": files["predict.onnx"] + tail})
    (finding,) = check_bundle(path, "onnx")
    assert (finding.code, finding.where) == ("MOD105", "predict.onnx")
    assert word in finding.what


def test_an_attribute_alone_is_no_fault() -> None:
    assert read_graph(graph("affinity") + SUBGRAPH).faults == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_a_crash(raw: bytes) -> None:
    try:
        facts = read_graph(raw)
    except GraphForbidden:
        return
    assert facts.faults


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("backend", ["onnx", "both"])
def test_the_shipped_bundles_pass(name: str, backend: str) -> None:
    assert check_bundle(zoo_path(name), backend) == []


def test_tflite_is_asked_for_where_there_is_none() -> None:
    (finding,) = check_bundle(zoo_path("affinity"), "tflite")
    assert (finding.code, finding.where) == ("MOD101", "model.tflite")


def _only(path: Path, backend: str = "both") -> Finding:
    (finding,) = check_bundle(path, backend)
    return finding


def test_weights_that_do_not_give_the_golden_outputs_are_refused(tmp_path: Path) -> None:
    document, files = parts("context")
    weights = dict(arrays.unpack(files["weights.npz"], "weights"))
    weights["out_bias"] = weights["out_bias"] + np.float32(0.5)
    path = write_bundle(tmp_path, document, {**files, "weights.npz": arrays.pack(weights)})
    assert (_only(path, "onnx").code, _only(path, "onnx").where) == ("MOD106", "golden.npz")
    assert (_only(path, "tflite").code, _only(path, "tflite").where) == ("MOD106", "model.tflite")


def test_another_models_graph_is_refused_by_its_inputs(tmp_path: Path) -> None:
    document, files = parts("context")
    path = write_bundle(tmp_path, document, {**files, "predict.onnx": graph("affinity")})
    assert "inputs are" in _only(path, "onnx").what


def test_a_step_that_trains_something_else_is_refused(tmp_path: Path) -> None:
    document, files = parts("affinity")
    path = write_bundle(tmp_path, document, {**files, "train_step.onnx": graph("affinity")})
    assert _only(path, "onnx").where == "train_step.onnx"


@pytest.mark.parametrize("wrong", [b"", b"TFL3", b"\x1c\x00\x00\x00TFL3" + bytes(60)])
def test_a_broken_tflite_file_is_refused(wrong: bytes, tmp_path: Path) -> None:
    document, files = parts("context")
    path = write_bundle(tmp_path, document, {**files, "model.tflite": wrong})
    code = (
        "import sys; from pathlib import Path; from models.check import check_bundle;"
        "print(*[f.code for f in check_bundle(Path(sys.argv[1]), 'tflite')])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip() == "MOD105") or done.returncode < 0, done.stderr


def test_golden_outputs_may_not_be_left_out(tmp_path: Path) -> None:
    document, files = parts("affinity")
    path = write_bundle(tmp_path, document, {**files, "golden.npz": arrays.pack({})})
    assert _only(path).code == "MOD106"


def test_a_bundle_without_training_passes(tmp_path: Path) -> None:
    document, files = parts("affinity")
    del files["train_step.onnx"]
    golden = {k: v for k, v in arrays.unpack(files["golden.npz"], "g").items() if k.startswith("predict/")}
    files["golden.npz"] = arrays.pack(golden)
    path = write_bundle(tmp_path, msgspec.structs.replace(document, train=None), files)
    assert check_bundle(path) == []


@settings(deadline=None, max_examples=60)
@given(rows=hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(4)), elements=st.floats(-50, 2000, width=32)))
def test_onnx_and_tflite_give_the_same_scores(rows: np.ndarray) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle = open_bundle(zoo_path("context"))
    feeds = {**bundle.weights(), "features": rows}
    runner = Interpreter(model_content=bundle.read("model.tflite"), num_threads=1).get_signature_runner("infer")
    onnx = Predictor(bundle.read("predict.onnx"))(bundle.weights(), {"features": rows})
    np.testing.assert_allclose(runner(**feeds)["score"], onnx, atol=1e-5)
