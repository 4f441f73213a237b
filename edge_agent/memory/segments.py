"""Which group a decision's subject is in, so that metrics can be told apart: declared conditions, or a model's word."""

from collections.abc import Callable, Sequence
from typing import Any

from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression
from firmware_configs.profile import Segment

OTHER = "other"
"""Who is in none."""


class Segments:
    """The profile's segments, compiled; the first that holds counts."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = [(segment, compile_expression(segment.when) if segment.when else None) for segment in segments]

    def of(self, values: dict[str, Any], best: Callable[[str], str]) -> str:
        """The name of the group.

        Args:
            values: what conditions may read: fields, features (input → row), session, hour, weekday.
            best: model → its best candidate now; empty when it cannot say.
        """
        for segment, condition in self._segments:
            if condition is None:
                if name := best(segment.model):
                    return name
                continue
            try:
                if condition.holds(values):
                    return segment.name
            except ExpressionError:
                continue  # what it reads is not there: it does not hold
        return OTHER
