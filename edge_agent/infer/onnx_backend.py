"""`predict.onnx` on onnxruntime."""

from collections.abc import Mapping

import numpy as np

from edge_agent.infer.model import F32, Array, Runner
from models.bundle import Bundle
from models.errors import FeedRefused
from models.session import FAILURES, open_session


def open_runner(bundle: Bundle) -> Runner:
    """A runner for the bundle's ONNX graph: one thread, deterministic kernels.

    Raises:
        GraphForbidden: onnxruntime refuses the graph.
    """
    session = open_session(bundle.read("predict.onnx"))
    wanted = [given.name for given in session.get_inputs()]
    what = f"{bundle.spec.name} {bundle.spec.version}"
    run = session.run

    def score(feeds: Mapping[str, Array]) -> F32:
        try:
            (scores,) = run(["score"], {name: feeds[name] for name in wanted})
        except KeyError as error:
            raise FeedRefused(f"{what} was not given {error}", hint="pass every input by name") from error
        except FAILURES as error:
            raise FeedRefused(
                f"{what} does not take these inputs: {error}", hint="compare dtypes and shapes with bundle.toml"
            ) from error
        return np.asarray(scores, dtype=np.float32)

    return score
