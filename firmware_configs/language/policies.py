"""How a placement chooses among what is eligible."""

from typing import Annotated

from msgspec import Meta, Struct

from firmware_configs.language.terms import Positive, Share


class EpsilonGreedy(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="epsilon-greedy", tag_field="kind"
):
    """The best score, or with probability epsilon any candidate, uniformly."""

    epsilon: Share = 0.1


class Thompson(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="thompson", tag_field="kind"):
    """Beta-Bernoulli Thompson sampling per item, the model's score as prior mean."""

    prior_strength: Annotated[Positive, Meta(description="pseudo-observations the model's score counts for")] = 10.0


class Best(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="best", tag_field="kind"):
    """The best score, no exploration; ties go to the first candidate."""


class Threshold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="threshold", tag_field="kind"):
    """The best score if it reaches `minimum`, else the fallback."""

    minimum: float = 0.5


Policy = EpsilonGreedy | Thompson | Best | Threshold
