"""`model.tflite` on LiteRT: the signature `infer` takes the same feeds as `predict.onnx`."""

from collections.abc import Mapping

import numpy as np

from edge_agent.infer.model import F32, Array, Runner
from models.bundle import Bundle
from models.errors import FeedRefused
from models.tflite import FAILURES, open_infer


def open_runner(bundle: Bundle) -> Runner:
    """A runner for the bundle's TFLite model, one thread.

    Raises:
        BackendMissing: no TFLite runtime is installed.
        BundleMalformed: the bundle has no model.tflite.
        GraphForbidden: the runtime refuses the file.
    """
    signature = open_infer(bundle.read("model.tflite"))
    wanted = tuple(signature.get_input_details())
    what = f"{bundle.spec.name} {bundle.spec.version}"

    def score(feeds: Mapping[str, Array]) -> F32:
        try:
            scores = signature(**{name: feeds[name] for name in wanted})["score"]
        except KeyError as error:
            raise FeedRefused(f"{what} was not given {error}", hint="pass every input by name") from error
        except FAILURES as error:
            raise FeedRefused(
                f"{what} does not take these inputs: {error}", hint="compare dtypes and shapes with bundle.toml"
            ) from error
        # The runtime's own buffer: it is overwritten by the next call.
        return np.array(scores, dtype=np.float32)

    return score
