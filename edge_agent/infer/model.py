"""A bundle that is ready to score: what the rest of the agent sees of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.spec import Spec

F32 = NDArray[np.float32]
Array = NDArray[np.generic]
Runner = Callable[[Mapping[str, Array]], F32]
"""Every parameter and input by name → `score`, float32 (n,). Raises `ModelError` when the runtime refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One version of one bundle, opened on one backend.

    Attributes:
        spec: the bundle's own description.
        catalogue: item ids in the order of the candidate input's row numbers; empty without a catalogue.
        index: item id → row number.
        shared: parameters averaged by rounds, float32, read-only.
        personal: what a new subject's own parameters start from, float32, read-only.
        path: where the bundle's file lies, for the learner.
        sha256: hash of the bundle's file, hex.
        run: the backend.
    """

    spec: Spec
    catalogue: tuple[str, ...]
    shared: dict[str, F32]
    personal: dict[str, F32]
    path: str
    sha256: str
    run: Runner
    index: dict[str, int] = field(init=False)
    _weights: dict[str, Array] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {item: row for row, item in enumerate(self.catalogue)})
        object.__setattr__(self, "_weights", {**self.shared, **self.personal})

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def version(self) -> str:
        return self.spec.version

    def predict(self, feeds: Mapping[str, Array]) -> F32:
        """Score n rows.

        Args:
            feeds: the inputs by name (`candidate`: int64 (n,); `features`: float32 (n, columns)),
                and the subject's personal parameters where there are some; others are the bundle's.
        Returns:
            float32 (n,), in the order of the rows; a logit for task `rank`, in [0, 1] for `probability`.
        Raises:
            ModelError: the runtime refuses the feeds (wrong shape or dtype), or fails.
        """
        return self.run({**self._weights, **feeds})
