"""A bundle in fewer bytes: the same graphs, its weights as float16 or int8, and a card that says what that costs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import arrays
from models.build import Options, zoo_module
from models.bundle import Bundle, matched, write_bundle
from models.errors import SpecInvalid
from models.golden import predict_inputs, read_golden, regolden
from models.session import Predictor
from models.stored import Storage, packed, restored
from models.zoo import FROM_RATINGS, ZOO

F32 = NDArray[np.float32]
POINTS_MAX = 0.5
"""What quantising may cost of the headline figure, in percentage points, without the card saying so."""
SHARE_MAX = 0.3
"""And what share of the bytes of the float32 weights may remain."""


class Quantised(Struct, frozen=True, kw_only=True):
    """What was gained and lost."""

    path: Path
    storage: Storage
    bytes_before: int
    bytes_after: int
    weights_share: float
    """Bytes of weights.npz, after ÷ before."""
    score_change_max: float
    """Largest change of a golden score."""
    figure_before: float | None
    """The zoo's headline figure in percent; None when it could not be measured."""
    figure_after: float | None


def quantise(bundle: Bundle, storage: Storage, out: Path, ratings: Path | None = None) -> Quantised:
    """Write the bundle again with its weights in another form, under the same name and version.

    Args:
        bundle: with float32 weights.
        storage: int8 or float16.
        out: file or folder to write to; not the bundle's own file.
        ratings: what models of interactions are measured on.
    Raises:
        SpecInvalid: it is quantised already, or a weight does not fit.
    """
    if bundle.storage != "float32":
        raise SpecInvalid(f"its weights are {bundle.storage} already", hint="start from the float32 bundle")
    before = bundle.weights()
    files = {name: bundle.read(name) for name in bundle.files}
    size = len(files["weights.npz"])
    files["weights.npz"] = arrays.pack(packed(before, storage))
    after = matched(bundle.spec, restored(arrays.unpack(files["weights.npz"], "weights.npz")))
    files["golden.npz"] = regolden(bundle, after)
    figures = _figures(bundle, before, after, ratings)
    change = _score_change(bundle, before, after)
    share = len(files["weights.npz"]) / size
    files["card.md"] += _paragraph(storage, share, size, change, figures).encode()
    path = write_bundle(out, bundle.spec, files)
    return Quantised(
        path=path,
        storage=storage,
        bytes_before=bundle.size,
        bytes_after=path.stat().st_size,
        weights_share=share,
        score_change_max=change,
        figure_before=figures[0] if figures else None,
        figure_after=figures[1] if figures else None,
    )


def _figures(
    bundle: Bundle, before: Mapping[str, F32], after: Mapping[str, F32], ratings: Path | None
) -> tuple[float, float] | None:
    name = bundle.spec.name
    if name not in ZOO or (ratings is None and name in FROM_RATINGS and name != "affinity"):
        return None
    options = Options(ratings=ratings if name in FROM_RATINGS else None)
    measure = zoo_module(name).measure
    return measure(before, options), measure(after, options)


def _score_change(bundle: Bundle, before: Mapping[str, F32], after: Mapping[str, F32]) -> float:
    inputs, predict = predict_inputs(read_golden(bundle)), Predictor(bundle.read("predict.onnx"))
    return float(np.max(np.abs(predict(before, inputs) - predict(after, inputs))))


def _paragraph(storage: Storage, share: float, size: int, change: float, figures: tuple[float, float] | None) -> str:
    lines = [
        f"\n## Weights in {storage}\n",
        f"Weights take {share:.3f} of their {size:,} bytes in float32, on disk and on the wire;",
        f"in memory they are float32 again. Golden scores change by up to {change:.4g}.",
    ]
    if figures is None:
        lines.append("What that does to the quality was not measured here.")
    else:
        lost = figures[0] - figures[1]
        lines.append(f"Headline figure: {figures[0]:.3f} before, {figures[1]:.3f} after (percent), {lost:+.3f} lost.")
        if lost >= POINTS_MAX:
            lines.append(f"That is more than {POINTS_MAX:g} points: think twice.")
    if storage == "int8" and share > SHARE_MAX:
        lines.append(f"The weights are so few that the archive's own headers weigh: not the {SHARE_MAX:g} aimed at.")
    return "\n".join(lines) + "\n"
