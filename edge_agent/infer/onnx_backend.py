"""`predict.onnx` on onnxruntime."""

from collections.abc import Mapping

import numpy as np

from edge_agent.infer.initialisers import with_defaults
from edge_agent.infer.model import F32, Array, Runner
from models.bundle import Bundle
from models.errors import FeedRefused
from models.session import FAILURES, open_session, runner


def open_runner(bundle: Bundle) -> Runner:
    """A runner for the bundle's ONNX graph: one thread, deterministic kernels, the weights inside.

    Raises:
        GraphForbidden: onnxruntime refuses the graph.
    """
    session = open_session(with_defaults(bundle.read("predict.onnx"), bundle.weights()))
    what = f"{bundle.spec.name} {bundle.spec.version}"
    run, wanted = runner(session), ["score"]

    def score(feeds: Mapping[str, Array]) -> F32:
        try:
            (scores,) = run(wanted, feeds)
        except FAILURES as error:
            raise FeedRefused(
                f"{what} does not take these inputs: {error}",
                hint="compare names, dtypes and shapes with bundle.toml",
            ) from error
        return np.asarray(scores, dtype=np.float32)

    return score
