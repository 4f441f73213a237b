"""Exporting again gives the committed graphs. Needs the [build] extra; not part of `make test`."""

import msgspec
import numpy as np
import pytest

from models.build import GRAPHS, zoo_module
from models.onnx_graph import read_graph
from models.optimiser import Optimiser, owner
from models.session import Predictor, TrainStep
from models.zoo import ZOO
from tests.models.autograd import LR, example, reference

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ZOO)
def test_exporting_again_gives_graphs_that_compute_the_same(name: str) -> None:
    pytest.importorskip("torch")
    from models.export import export_onnx

    architecture = zoo_module(name).ARCHITECTURE
    files = export_onnx(architecture)
    parameters = {tensor.name for tensor in architecture.parameters}
    feeds = example(architecture, axis=21, batch=13, seed=11)
    weights = {name: value for name, value in feeds.items() if owner(name) in parameters}
    inputs = {rows.name: feeds[rows.name] for rows in architecture.inputs}
    want = reference(architecture, feeds)
    for step in (files["train_step.onnx"], (GRAPHS / name / "train_step.onnx").read_bytes()):
        after, loss = TrainStep(step)(weights, inputs, feeds["label"], LR)
        assert abs(loss - want["loss"]) <= 1e-5
        assert all(np.max(np.abs(after[one] - want[f"{one}.next"])) <= 1e-5 for one in after)
    only = {name: weights[name] for name in parameters}
    np.testing.assert_allclose(Predictor(files["predict.onnx"])(only, inputs), want["score"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("name", ZOO)
def test_every_optimiser_of_every_model_equals_autograd(name: str, optimiser: Optimiser) -> None:
    pytest.importorskip("torch")
    from models.export import export_onnx

    architecture = msgspec.structs.replace(zoo_module(name).ARCHITECTURE, optimiser=optimiser)
    parameters = {tensor.name for tensor in architecture.parameters}
    feeds = example(architecture, axis=21, batch=13, seed=11)
    want = reference(architecture, feeds)
    weights = {key: value for key, value in feeds.items() if owner(key) in parameters}
    inputs = {rows.name: feeds[rows.name] for rows in architecture.inputs}
    after, loss = TrainStep(export_onnx(architecture)["train_step.onnx"])(weights, inputs, feeds["label"], LR)
    assert abs(loss - want["loss"]) <= 1e-5
    assert {f"{key}.next" for key in after} == set(want) - {"loss", "score"}
    assert all(np.max(np.abs(after[key] - want[f"{key}.next"])) <= 1e-5 for key in after)


@pytest.mark.parametrize("name", ZOO)
def test_graphs_name_nothing_of_the_machine_that_made_them(name: str) -> None:
    pytest.importorskip("torch")
    from models.export import export_onnx

    for raw in export_onnx(zoo_module(name).ARCHITECTURE).values():
        assert b"torch" not in raw
        assert b".py" not in raw
        assert read_graph(raw).faults == ()


@pytest.mark.parametrize("name", [name for name in ZOO if zoo_module(name).ARCHITECTURE.tflite])
def test_converting_again_gives_a_tflite_file_that_computes_the_same(name: str) -> None:
    pytest.importorskip("tensorflow")
    from ai_edge_litert.interpreter import Interpreter

    from models.export_tflite import export_tflite

    architecture = zoo_module(name).ARCHITECTURE
    feeds = example(architecture, axis=1, batch=13, seed=12)
    wanted = {one.name for one in architecture.parameters} | {one.name for one in architecture.inputs}
    feeds = {name: value for name, value in feeds.items() if name in wanted}
    scores = [
        Interpreter(model_content=raw).get_signature_runner("infer")(**feeds)["score"]
        for raw in (export_tflite(architecture), (GRAPHS / name / "model.tflite").read_bytes())
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
