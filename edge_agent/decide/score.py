"""From model outputs to one score a candidate, calibrated."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_configs.expressions import compile_expression
from firmware_configs.profile import Candidate

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def identifier(model: str) -> str:
    """The model's name as CEL can write it."""
    return model.replace("-", "_")


class Scores:
    """A placement's candidate scores, compiled."""

    def __init__(self, candidates: Sequence[Candidate], models: Sequence[str]) -> None:
        self._models = tuple(models)
        self._names = [(identifier(model), model) for model in models]
        self._expressions = [
            (candidate.item, compile_expression(candidate.score)) for candidate in candidates if candidate.score
        ]
        self._any = bool(self._expressions)

    def of(self, outputs: Mapping[str, F32], index: Mapping[str, int]) -> F32:
        """One score a candidate.

        Args:
            outputs: model → float32 of shape (n,) or (1,).
            index: candidate → its place, n of them; a request may ask for some of the declared ones only.
        Returns:
            float32 (n,): each candidate's own expression, or else the first model's score.
        Raises:
            ExpressionError: an expression cannot be evaluated.
        """
        count = len(index)
        first = next((outputs[name] for name in self._models if name in outputs), None)
        if not self._any:
            return np.zeros(count, np.float32) if first is None else _spread(first, count)
        values = {name: float(outputs[model][0]) for name, model in self._names if len(outputs.get(model, ()))}
        scores = [0.0] * count if first is None else first.tolist()
        if len(scores) != count:
            scores = [scores[0] if scores else 0.0] * count
        for item, expression in self._expressions:
            if (n := index.get(item)) is None:
                continue
            value = expression.evaluate(values)
            scores[n] = value if isinstance(value, int | float) else math.nan
        return np.array(scores, np.float32)


def _spread(output: F32, count: int) -> F32:
    return output if len(output) == count else np.full(count, output[0] if len(output) else 0.0, np.float32)


def probabilities(scores: F32, task: str) -> F32:
    """Scores as probabilities for policies that need them: a rank model's logits through the logistic function.

    Args:
        scores: float32 (n,).
        task: the model's task, `rank` or `probability`.
    Returns:
        float32 (n,), in [0, 1], in the same order as the scores.
    """
    if task != "rank":
        return np.clip(scores, 0.0, 1.0)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -60.0, 60.0))), np.float32)
