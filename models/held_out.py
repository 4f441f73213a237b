"""A bundle asked about rows or people that it should not have learned from, through its own graph."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models import datasets, negatives
from models.bundle import Bundle
from models.calibration import apply
from models.errors import SpecInvalid
from models.optimiser import belonging
from models.session import Predictor, TrainStep
from models.spec import ItemSequence, OneHot

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Array = NDArray[np.generic]
TABULAR = ("context", "propensity")
"""Models with test rows of their own."""


def rows(bundle: Bundle) -> tuple[dict[str, Array], F32]:
    """The test rows of a tabular model's own data: inputs by name and labels (n,).

    Raises:
        SpecInvalid: there are none for this model.
        DatasetInvalid: the data was not found.
    """
    if bundle.spec.name == "context":
        from models.bench.occupancy import columns

        x, y = columns("test")
        return {"features": x}, y
    if bundle.spec.name == "propensity":
        from models.zoo import propensity

        features = tuple(f for given in bundle.spec.inputs for f in given.features if isinstance(f, OneHot))
        inputs, label = propensity.arrays(datasets.read_open_bandit("random"), features, list(bundle.catalogue()))
        return dict(inputs), label
    raise SpecInvalid(
        f"{bundle.spec.name} has no test rows of its own",
        hint=f"they exist for {', '.join(TABULAR)}; others take ratings",
    )


def probabilities(bundle: Bundle, inputs: Mapping[str, Array]) -> F32:
    """As the agent serves them: the graph's scores through the bundle's calibration, (n,)."""
    score = Predictor(bundle.read("predict.onnx"))(bundle.weights(), inputs)
    return apply(score, bundle.spec.task, bundle.spec.calibration)


class Person:
    """A bundle as it would rank for people, one after the other.

    Attributes:
        catalogue: its item ids, in the order of its rows.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Open the graphs.

        Raises:
            SpecInvalid: it ranks no items, or wants features that interactions do not give.
        """
        spec = bundle.spec
        features = [feature for given in spec.inputs for feature in given.features]
        if not spec.catalogue or not all(isinstance(feature, ItemSequence) for feature in features):
            raise SpecInvalid(
                f"{spec.name} cannot be asked about interactions alone",
                hint="compare models whose inputs are items and sequences of items",
            )
        self._spec = spec
        self.catalogue = bundle.catalogue()
        self._weights = bundle.weights()
        self._predict = Predictor(bundle.read("predict.onnx"))
        self._step = TrainStep(bundle.read("train_step.onnx")) if spec.train is not None else None
        self._candidate = next(given.name for given in spec.inputs if given.from_ == "candidate")
        self._lengths = {given.name: given.shape[1] for given in spec.inputs if given.from_ == "features"}

    def scores(self, history: I64, items: I64, own: Mapping[str, F32]) -> F32:
        """Scores of `items` (rows of the bundle's catalogue) after `history`, with personal parameters `own`."""
        inputs: dict[str, Array] = {self._candidate: items}
        for name, length in self._lengths.items():
            inputs[name] = before(history, length)[-1:].repeat(len(items), 0)
        return self._predict({**self._weights, **own}, inputs)

    def personalised(self, history: I64, seed: Sequence[int]) -> dict[str, F32]:
        """The personal parameters after training on the person's own history, as the bundle's [train] says."""
        train, own = self._spec.train, {p.name for p in self._spec.of_share("personal")}
        held = {name: self._weights[name] for name in own}
        if train is None or self._step is None or not own or not len(history):
            return held
        dice, given = np.random.default_rng(seed), dict(held)
        pool = negatives.untouched(len(self.catalogue), history)
        for _ in range(train.epochs):
            drawn = negatives.draw(pool, train.negatives * len(history), dice)
            item = np.concatenate([history, drawn])
            place = np.concatenate([np.arange(len(history)), np.repeat(np.arange(len(history)), train.negatives)])
            label = (np.arange(len(item)) < len(history)).astype(np.float32)
            order = dice.permutation(len(item))
            for at in np.split(order, np.arange(train.batch, len(order), train.batch)):
                inputs: dict[str, Array] = {self._candidate: item[at]}
                for name, length in self._lengths.items():
                    inputs[name] = before(history, length)[:-1][place[at]]
                after, _ = self._step({**self._weights, **held}, inputs, label[at], train.lr)
                held = belonging(after, given)  # with what the optimiser remembers of them
        return {name: held[name] for name in given}


def before(history: I64, length: int) -> F32:
    """The `sequence` feature before each interaction and after the last: float32 (n + 1, length), rows plus 1."""
    padded = np.concatenate([np.zeros(length, np.float32), history + np.float32(1.0)])
    return np.lib.stride_tricks.sliding_window_view(padded, length).astype(np.float32)
