"""How a placement chooses among what is eligible, and how far it may go in trying."""

from typing import Annotated

from msgspec import Meta, Struct

from firmware_configs.language.terms import Positive, Share

HalfLifeRewards = Annotated[
    float,
    Meta(ge=0.0, le=1e9, description="rewards of the placement after which a reward counts half; 0: never"),
]
HalfLife = Annotated[float, Meta(ge=0.0, le=1e9, description="seconds after which a reward counts half; 0: never")]
Ridge = Annotated[
    float,
    Meta(gt=0.0, le=1e6, description="pseudo-observations that hold each coefficient to the model's score"),
]
Shared = Annotated[
    bool,
    Meta(description="one regression for all items, on the bundle's item features, so that items teach each other"),
]


class EpsilonGreedy(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="epsilon-greedy", tag_field="kind"
):
    """The best score, or with probability epsilon any candidate, uniformly."""

    epsilon: Share = 0.1


class Thompson(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="thompson", tag_field="kind"):
    """Beta-Bernoulli Thompson sampling per item, the model's score as prior mean."""

    prior_strength: Annotated[Positive, Meta(description="pseudo-observations the model's score counts for")] = 10.0
    half_life_rewards: HalfLifeRewards = 0.0
    half_life_s: HalfLife = 0.0


class ThompsonGaussian(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="thompson-gaussian", tag_field="kind"
):
    """Thompson sampling with normal posteriors per item, for rewards that are amounts rather than yes or no."""

    prior_strength: Annotated[Positive, Meta(description="pseudo-observations the model's score counts for")] = 10.0
    noise: Annotated[Positive, Meta(description="standard deviation of one reward about its item's mean")] = 0.5
    half_life_rewards: HalfLifeRewards = 0.0
    half_life_s: HalfLife = 0.0


class LinUcb(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="lin-ucb", tag_field="kind"):
    """The highest optimistic estimate of a regression per item on the model's features and score."""

    alpha: Annotated[float, Meta(ge=0.0, le=100.0, description="deviations of optimism")] = 0.3
    epsilon: Annotated[
        Share, Meta(description="share of choices that are uniform; 0: other policies cannot be evaluated on the log")
    ] = 0.0
    ridge: Ridge = 0.3
    shared: Shared = False
    half_life_rewards: HalfLifeRewards = 0.0
    half_life_s: HalfLife = 0.0


class LinThompson(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="lin-thompson", tag_field="kind"):
    """Thompson sampling from a regression per item on the model's features and score."""

    spread: Annotated[Positive, Meta(description="width of the posterior, in deviations of the regression")] = 0.25
    ridge: Ridge = 0.3
    half_life_rewards: HalfLifeRewards = 0.0
    half_life_s: HalfLife = 0.0


class SquareCb(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="square-cb", tag_field="kind"):
    """Chosen less often the further behind the best: the model's score, corrected by a regression per item."""

    gamma: Annotated[Positive, Meta(description="how sharply; γ = gamma · (1 + rewards seen)^exponent")] = 100.0
    exponent: Annotated[float, Meta(ge=0.0, le=1.0, description="how fast it sharpens with what is learned")] = 0.5
    optimism: Annotated[
        float, Meta(ge=0.0, le=100.0, description="deviations added to each estimate; 0: as in the paper")
    ] = 0.3
    ridge: Ridge = 0.1
    shared: Shared = False
    half_life_rewards: HalfLifeRewards = 0.0
    half_life_s: HalfLife = 0.0


class Best(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="best", tag_field="kind"):
    """The best score, no exploration; ties go to the first candidate."""


class Threshold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="threshold", tag_field="kind"):
    """The best score if it reaches `minimum`, else the fallback."""

    minimum: float = 0.5


Policy = EpsilonGreedy | Thompson | ThompsonGaussian | LinUcb | LinThompson | SquareCb | Best | Threshold


class Exploration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a placement's policy may go in trying what does not look best. What is not written does not bind."""

    share_per_day: Annotated[
        Share, Meta(description="of a day's decisions so far, at most this share may be explorations; days are UTC")
    ] = 1.0
    decisions_per_day: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="at most so many explorations a day")
    ] = None
    loss_per_day: Annotated[
        Annotated[float, Meta(ge=0.0)] | None,
        Meta(description="at most so much reward a day may be expected to be lost by exploring, summed"),
    ] = None
    floor: Annotated[
        Share,
        Meta(description="what may be worth less than this share of the best estimate is not explored; 0: no floor"),
    ] = 0.0
    confidence: Annotated[
        float, Meta(ge=0.0, le=10.0, description="deviations below its estimate at which the floor asks an item")
    ] = 1.0
    baseline: Annotated[
        Share,
        Meta(description="share of what the model's own best is estimated to bring that a choice brings at least"),
    ] = 0.0
