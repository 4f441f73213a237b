"""Experiments: arms or factors, who takes part, what is measured, and what may be done about it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.policies import Policy
from firmware_configs.language.terms import Name, Positive, Share

Instant = Annotated[
    str,
    Meta(
        pattern=r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$",
        description="a time with its zone, such as 2026-11-30T06:00Z; empty: none",
    ),
]

Slate = Annotated[int, Meta(ge=1, le=100)]


class Treatment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done differently; what is not named stays as the placement has it."""

    policy: Annotated[Policy | None, Meta(description="how it chooses")] = None
    models: Annotated[tuple[Name, ...] | None, Meta(description="other models (bundles) that score, in order")] = None
    items: Annotated[
        tuple[str, ...] | None, Meta(description="only these of the placement's fixed candidates, in its order")
    ] = None
    slate: Annotated[Slate | None, Meta(description="another number of items in one decision")] = None
    channel: Annotated[str | None, Meta(description="another way to reach people")] = None


class Arm(Treatment, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of an experiment; one that changes nothing is the placement as it is."""

    name: Name
    weight: Positive = 1.0


class Level(Treatment, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One level of a factor."""

    name: Name


class Factor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that is varied independently of the other factors."""

    name: Name
    levels: Annotated[tuple[Level, ...], Meta(min_length=2, max_length=8, description="the first one is the baseline")]


class ExperimentMetric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric that the experiment is judged by: one number a person, within bounds."""

    name: Annotated[Name, Meta(description="`reward`, or a declared metric")]
    role: Annotated[
        Literal["goal", "guard"],
        Meta(description="goal: what is to get better; guard: what must not get worse by more than `margin`"),
    ] = "goal"
    better: Literal["higher", "lower"] = "higher"
    per: Annotated[
        Literal["decision", "outcome", "person"],
        Meta(
            description="a person's number is the sum of its values: divided by the decisions (rewards, rates, dwell), "
            "divided by the values (their mean: times, lifetime value), or as it is"
        ),
    ] = "decision"
    lower: Annotated[float, Meta(description="smaller numbers of a person count as this")] = 0.0
    upper: Annotated[float, Meta(description="larger numbers of a person count as this")] = 1.0
    margin: Annotated[float, Meta(ge=0.0, description="how much worse a guard may get, in the metric's own unit")] = 0.0


class Adaptive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the coordinator may move traffic between arms: losers are pruned, winners promoted, in bounded steps."""

    people_min: Annotated[
        int, Meta(ge=2, description="people in an arm and in the control before anything is concluded about it")
    ] = 200
    step_max: Annotated[
        float, Meta(gt=0.0, le=1.0, description="largest change of an arm's share at once; harm ends an arm at once")
    ] = 0.2
    share_max: Annotated[float, Meta(gt=0.0, lt=1.0, description="largest share of the best arm")] = 0.9
    control_min: Annotated[float, Meta(gt=0.0, lt=1.0, description="the control's share never falls below this")] = 0.1


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People are assigned to arms by keyed hash, for as long as the experiment's name stays."""

    name: Name
    arms: Annotated[tuple[Arm, ...], Meta(max_length=16, description="the arms; or else `factors`")] = ()
    factors: Annotated[
        tuple[Factor, ...], Meta(max_length=8, description="every combination of their levels becomes an arm")
    ] = ()
    generators: Annotated[
        tuple[str, ...],
        Meta(
            max_length=6,
            description="a fraction of the combinations: `d = a*b*c` sets the two-level factor d by that product",
        ),
    ] = ()
    control: Annotated[str, Meta(description="the arm that others are compared with; empty: the first")] = ""
    layer: Annotated[
        str, Meta(description="experiments of one layer never meet in a person; empty: a layer of its own")
    ] = ""
    position: Annotated[float, Meta(ge=0.0, lt=1.0, description="where in the layer its share begins")] = 0.0
    share: Annotated[Share, Meta(description="share of the layer's people that take part at all")] = 1.0
    starts: Annotated[
        Instant, Meta(description="nobody takes part before; what was measured until then sharpens the result (CUPED)")
    ] = ""
    ends: Annotated[Instant, Meta(description="nobody takes part after")] = ""
    window_s: Annotated[
        Positive, Meta(description="a person is measured for so long from the first decision, and counts then, once")
    ] = 604_800.0
    metric: Annotated[tuple[ExperimentMetric, ...], Meta(max_length=16)] = (ExperimentMetric(name="reward"),)
    alpha: Annotated[
        float, Meta(gt=0.0, le=0.5, description="how often, at most, a difference is claimed that is none")
    ] = 0.05
    people_expected: Annotated[
        int, Meta(ge=10, description="people at which the intervals are narrowest; they hold at any number")
    ] = 2_000
    report_every_s: Annotated[Positive, Meta(description="how often a device sends its sums, if they changed")] = (
        21_600.0
    )
    adaptive: Annotated[Adaptive | None, Meta(description="without it the shares stay as they are")] = None


class Layer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A division of all people, independent of every other layer's."""

    name: Name
    holdout: Annotated[float, Meta(ge=0.0, lt=1.0, description="share of people in none of its experiments")] = 0.0


class Experiments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all experiments of a device share."""

    holdout: Annotated[float, Meta(ge=0.0, lt=1.0, description="share of people who are in no experiment at all")] = 0.0
    layer: Annotated[tuple[Layer, ...], Meta(max_length=20)] = ()
