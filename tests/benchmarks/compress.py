"""`python -m tests.benchmarks.compress --json`: smaller models side by side, quality and latency of each.

Variants of `sequence-attention` on interactions (--ratings, or ml-100k where it lies) and of `context` on the office:
weights stored as float16 or int8 (what `edge-models quantise` writes), weights baked into the graph and quantised by
onnxruntime's own tool, dynamically and statically (needs `onnx`, of the [build] extra), and item embeddings shared by
hashing. Latency is that of 100 candidates for one person, or of one reading: the fastest of several blocks, one thread.
Nothing but the storage of weights ships; this says why.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models import arrays, datasets, evaluate, ranking
from models.build import GRAPHS
from models.session import Predictor, TrainStep, open_session
from models.stored import Storage, packed, restored
from models.zoo import context, sequence, sequence_attention

Score = Callable[[Mapping[str, np.ndarray]], np.ndarray]
SHARES = {"hashed to a half": 2, "hashed to a quarter": 4}


def stored(graph: bytes, weights: dict[str, np.ndarray], storage: Storage) -> tuple[Score, int]:
    """The committed graph fed with weights as a bundle of that storage gives them, and their bytes."""
    raw = arrays.pack(packed(weights, storage))
    fed = {name: np.asarray(value) for name, value in restored(arrays.unpack(raw, "weights")).items()}
    predict = Predictor(graph)
    return lambda inputs: predict(fed, inputs), len(raw)


def baked(graph: bytes, weights: Mapping[str, np.ndarray]) -> Any:
    """An ONNX model whose weights are constants, which onnxruntime's quantiser asks for."""
    import onnx

    model = onnx.load_model_from_string(graph)
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def quantised(
    graph: bytes, weights: Mapping[str, np.ndarray], samples: Sequence[Mapping[str, np.ndarray]], how: str
) -> tuple[Score, int]:
    """onnxruntime's own int8: `dynamic` scales activations at each call, `static` once, from samples."""
    import onnx
    from onnxruntime import quantization

    class Samples(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> Any:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        onnx.save(baked(graph, weights), source)
        if how == "dynamic":
            quantization.quantize_dynamic(source, target, weight_type=quantization.QuantType.QInt8)
        else:
            quantization.quantize_static(source, target, Samples(), weight_type=quantization.QuantType.QInt8)
        raw = target.read_bytes()
    session = open_session(raw)
    return lambda inputs: session.run(["score"], dict(inputs))[0], len(raw)


def fastest_us(score: Score, inputs: Mapping[str, np.ndarray], calls: int = 100) -> float:
    blocks = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(calls):
            score(inputs)
        blocks.append(time.perf_counter() - start)
    return round(min(blocks) / calls * 1e6, 1)


def variants(
    graph: bytes,
    weights: dict[str, np.ndarray],
    samples: Sequence[Mapping[str, np.ndarray]],
    quality: Callable[[Score], float],
) -> dict[str, dict[str, float]]:
    """Name → quality in percent, bytes of the weights (with the graph where they are inside), µs."""
    found: dict[str, tuple[Score, int]] = {
        f"weights in {storage}": stored(graph, weights, storage) for storage in ("float32", "float16", "int8")
    }
    found |= {f"graph in int8, {how}": quantised(graph, weights, samples, how) for how in ("dynamic", "static")}
    return {
        name: {"quality": round(quality(score), 3), "bytes": size, "us": fastest_us(score, samples[0])}
        for name, (score, size) in found.items()
    }


def of_context(epochs: int) -> dict[str, dict[str, float]]:
    graph = (GRAPHS / "context" / "predict.onnx").read_bytes()
    (x, y), (test_x, test_y) = (context.arrays(datasets.read_occupancy(split)) for split in ("training", "test"))
    step = TrainStep((GRAPHS / "context" / "train_step.onnx").read_bytes())
    weights = context.train(step, x, y, epochs or context.TRAIN.epochs, np.random.default_rng(0))
    samples = [{"features": x[row : row + 1]} for row in range(0, len(x), 40)]
    return variants(
        graph, weights, samples, lambda score: 100.0 * evaluate.accuracy(score({"features": test_x}), test_y)
    )


def of_sequence(ratings: Path, epochs: int) -> dict[str, dict[str, float]]:
    rows = datasets.read_ratings(ratings)
    catalogue = sorted({row.item for row in rows}, key=ranking.item_order)
    people = ranking.histories(rows, catalogue)
    candidates = ranking.candidates(people, len(catalogue), sequence.NEGATIVES_RANKED, 0)
    graph = (GRAPHS / "sequence-attention" / "predict.onnx").read_bytes()
    step = TrainStep((GRAPHS / "sequence-attention" / "train_step.onnx").read_bytes())

    def trained(known: Sequence[ranking.History], items: int) -> dict[str, np.ndarray]:
        dice = np.random.default_rng(0)
        begin = sequence.start(sequence_attention.ARCHITECTURE, items, dice)
        return sequence.train(step, begin, known, epochs or sequence.TRAIN.epochs, dice)

    def inputs(known: Sequence[ranking.History], items: np.ndarray) -> list[dict[str, np.ndarray]]:
        return [
            {"recent": sequence.before(one.lived, len(one.lived))[None].repeat(len(row), 0), "item": row}
            for one, row in zip(known, items, strict=True)
        ]

    def hits(score: Score, asked: Sequence[Mapping[str, np.ndarray]]) -> float:
        return 100.0 * evaluate.hit_rate(evaluate.ranks(np.array([score(one) for one in asked])))

    asked = inputs(people, candidates)
    found = variants(graph, trained(people, len(catalogue)), asked[:100], lambda score: hits(score, asked))
    for name, share in SHARES.items():
        size = len(catalogue) // share
        row_of = (np.arange(len(catalogue), dtype=np.uint64) * 2_654_435_761 % 2**32 % size).astype(np.int64)
        known = [
            ranking.History(user=one.user, lived=row_of[one.lived], held_out=int(row_of[one.held_out]))
            for one in people
        ]
        weights = trained(known, size)
        score, stored_bytes = stored(graph, weights, "float32")
        shared = inputs(known, row_of[candidates])
        found[f"embeddings {name}"] = {
            "quality": round(hits(score, shared), 3),
            "bytes": stored_bytes,
            "us": fastest_us(score, shared[0]),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=Path, default=datasets.find("ml-100k/ratings.dat"))
    parser.add_argument("--epochs", type=int, default=0, help="0: as the zoo trains")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    asked = parser.parse_args()
    models = {"context": of_context(asked.epochs)}
    if asked.ratings is not None:
        models["sequence-attention"] = of_sequence(asked.ratings, asked.epochs)
    if not asked.json:
        for model, table in models.items():
            for name, row in table.items():
                print(f"{model:<20}{name:<30}{row['quality']:>8.3f} %{row['bytes']:>10,} bytes{row['us']:>10.1f} µs")
    print(json.dumps({"models": models, "versions": {n: version(n) for n in ("numpy", "onnxruntime", "onnx")}}))


if __name__ == "__main__":
    main()
