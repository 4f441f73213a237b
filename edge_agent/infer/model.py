"""A bundle that is ready to score: what the rest of the agent sees of a model."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import force_setattr
from numpy.typing import NDArray

from edge_agent.infer.calibrate import calibrated, scale_of
from models.errors import FeedRefused
from models.spec import Spec

if TYPE_CHECKING:
    from models.warm_start import WarmStart

F32 = NDArray[np.float32]
Array = NDArray[np.generic]
Runner = Callable[[Mapping[str, Array]], F32]
"""Every input by name, and the parameters that differ from the bundle's → `score`, float32 (n,).

Raises `FeedRefused` when a name, dtype or shape is not the model's.
"""


class LoadedModel(Struct, frozen=True, kw_only=True, eq=False):
    """One version of one bundle, opened on one backend.

    Attributes:
        spec: the bundle's own description.
        catalogue: item ids in the order of the candidate input's row numbers; empty without a catalogue.
        index: item id → row number.
        candidate: name of the input that takes row numbers of the catalogue; empty: none.
        personal: what a new subject's own parameters start from, float32, read-only.
        path: where the bundle's file lies, for the learner.
        sha256: hash of the bundle's file, hex.
        run: the backend; it holds the weights.
        warm_start: what policies that learn begin with.
    """

    spec: Spec
    catalogue: tuple[str, ...]
    personal: dict[str, F32]
    path: str
    sha256: str
    run: Runner
    warm_start: "WarmStart | None" = None
    name: str = ""
    version: str = ""
    index: dict[str, int] = {}
    candidate: str = ""
    rows_of: str = ""
    shapes: dict[str, tuple[int, ...]] = {}

    def __post_init__(self) -> None:
        force_setattr(self, "name", self.spec.name)
        force_setattr(self, "version", self.spec.version)
        named = next((given.name for given in self.spec.inputs if given.from_ == "candidate"), "")
        force_setattr(self, "candidate", named)
        force_setattr(self, "index", {item: row for row, item in enumerate(self.catalogue)})
        force_setattr(self, "shapes", {p.name: tuple(p.shape) for p in self.spec.parameters})
        # An input whose length is the number of rows.
        force_setattr(self, "rows_of", self.spec.inputs[0].name)

    @property
    def scale(self) -> Literal["rank", "probability"]:
        """What `score` gives: logits, or probabilities."""
        return scale_of(self.spec)

    def predict(self, feeds: Mapping[str, Array]) -> F32:
        """Score n rows.

        Args:
            feeds: the inputs by name (`candidate`: int64 (n,); `features`: float32 (n, columns)),
                and the subject's personal parameters where there are some; others are the bundle's. n may be 0.
        Returns:
            float32 (n,), in the order of the rows; a logit for task `rank`, in [0, 1] for `probability`.
            A row with NaN gives NaN.
        Raises:
            FeedRefused: the runtime refuses the feeds (wrong name, shape or dtype), fails, or gives no score a row.
        """
        rows = feeds.get(self.rows_of)
        if rows is None or not rows.ndim:
            return self.run(feeds)  # it says what is missing
        if not len(rows):
            return np.zeros(0, np.float32)  # a runtime need not know what no rows are
        scores = self.run(feeds)
        if scores.shape != (len(rows),):
            raise FeedRefused(
                f"{self.name} {self.version} gives scores of shape {scores.shape} for {len(rows)} rows",
                hint="do not deploy it: its graph does not score rows",
            )
        return scores

    def score(self, feeds: Mapping[str, Array]) -> F32:
        """As `predict`, through the bundle's calibration: on the scale that `scale` names."""
        return calibrated(self.predict(feeds), self.spec)

    def warm_up(self) -> None:
        """Score once with one row and once with every row, so that no decision pays for first allocations.

        Raises:
            ModelError: the runtime fails.
        """
        for rows in (1, max(1, len(self.catalogue))):
            self.predict(
                {given.name: np.zeros((rows, *given.shape[1:]), np.dtype(given.dtype)) for given in self.spec.inputs}
            )
