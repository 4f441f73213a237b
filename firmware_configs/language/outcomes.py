"""What becomes of decisions: views, outcomes that come as events, metrics, and the segments that they are told for."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Cel, Name, Positive, Share

Window = Annotated[Positive, Meta(description="seconds from the decision in which it counts")]
Day = Annotated[float, Meta(gt=0.0, le=3_650.0)]


class LastTouch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="last-touch", tag_field="kind"):
    """All credit to the newest decision before the outcome."""


class FirstTouch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="first-touch", tag_field="kind"):
    """All credit to the oldest decision in its window."""


class Linear(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="linear", tag_field="kind"):
    """The same credit to each decision in its window."""


class TimeDecay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="time-decay", tag_field="kind"):
    """Credit halves with every `half_life_s` between decision and outcome."""

    half_life_s: Annotated[Positive, Meta(description="seconds after which a decision counts half")] = 86_400.0


class PositionBased(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="position-based", tag_field="kind"
):
    """Stated shares to the first and the last decision, the rest to those between, alike."""

    first: Annotated[Share, Meta(description="share of the oldest decision")] = 0.4
    last: Annotated[Share, Meta(description="share of the newest decision; first + last at most 1")] = 0.4


Attribution = LastTouch | FirstTouch | Linear | TimeDecay | PositionBased


class Creditable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A placement whose decisions an outcome may be credited to."""

    placement: Name
    window_s: Window = 86_400.0
    item: Annotated[
        str,
        Meta(description="field of the outcome that names an item; only decisions that hold it count. Empty: any"),
    ] = ""
    seen: Annotated[bool, Meta(description="only decisions count that a [[view]] says were seen")] = False


class Outcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome that comes as an event (a purchase, an arrival, a switch by hand), not as feedback on a decision."""

    name: Name
    source: Name
    when: Annotated[str, Meta(description="CEL over the event's fields; empty: every event of the source")] = ""
    value: Annotated[float, Meta(ge=0.0, description="what it is worth, in its own unit, up to `value_max`")] = 1.0
    value_field: Annotated[str, Meta(description="field that holds the value instead; without it: `value`")] = ""
    value_max: Annotated[Positive, Meta(description="values are clipped to it; value / value_max is the reward")] = 1.0
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    credit: Annotated[tuple[Creditable, ...], Meta(min_length=1, max_length=50)]
    attribution: Annotated[Attribution, Meta(description="how credit is shared; it adds up to one")] = LastTouch()
    reward: Annotated[
        bool, Meta(description="credit times value rewards the policy and becomes an example; false: it is counted")
    ] = True
    paths: Annotated[
        Literal["", "channel", "placement"],
        Meta(description="count which channels or placements led to it, for the coordinator; empty: do not"),
    ] = ""


class View(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that say that a decision was seen, and for how long."""

    source: Name
    placements: Annotated[tuple[Name, ...], Meta(min_length=1, description="whose decisions are seen")]
    start: Annotated[Cel, Meta(description="CEL over the event's fields; true: it came into view")]
    end: Annotated[str, Meta(description="CEL; true: it went out of view; empty: nothing tells")] = ""
    decision: Annotated[str, Meta(description="field that holds the decision's id; empty: the person's newest")] = ""
    item: Annotated[str, Meta(description="field that names the item seen; the newest decision that holds it")] = ""


class Dwell(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="dwell", tag_field="kind"):
    """Seconds in view, all views of a decision together; decisions that were never seen do not count."""

    cap_s: Annotated[Positive, Meta(description="longest single view that is believed, seconds")] = 300.0
    missing_end: Annotated[
        Literal["cap", "zero", "drop"],
        Meta(description="a view without an end counts as `cap_s`, as nothing, or drops the observation"),
    ] = "drop"
    window_s: Window = 3_600.0


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rate", tag_field="kind"):
    """Share of decisions with such an outcome within the window: click-through, conversion."""

    outcomes: Annotated[
        tuple[str, ...], Meta(min_length=1, description="names of [[outcome]], or of the placements' own rewards")
    ]
    window_s: Window = 86_400.0


class TimeTo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="time-to", tag_field="kind"):
    """Seconds to the first such outcome; without one by the end of the window: the window, censored."""

    outcomes: Annotated[
        tuple[str, ...], Meta(min_length=1, description="names of [[outcome]], or of the placements' own rewards")
    ]
    window_s: Window = 86_400.0


class Worth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="value", tag_field="kind"):
    """Sum of what such outcomes within the window were worth, times the credit that the decision got."""

    outcomes: Annotated[
        tuple[str, ...], Meta(min_length=1, description="names of [[outcome]], or of the placements' own rewards")
    ]
    window_s: Window = 86_400.0


class ReturnVisit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="return", tag_field="kind"):
    """Whether the person was back in the `day`-th 24 hours after a decision. One observation a person at a time."""

    source: Name
    when: Annotated[str, Meta(description="CEL over the event's fields; empty: every event of the source")] = ""
    day: Annotated[int, Meta(ge=1, le=365, description="1: from 24 to 48 hours after")] = 1


class LifetimeValue(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="lifetime-value", tag_field="kind"
):
    """What a person may still be worth, from recency, frequency and mean value; estimated `after_days` a decision."""

    source: Name
    when: Annotated[str, Meta(description="CEL over the event's fields; empty: every event of the source")] = ""
    value_field: Annotated[str, Meta(description="field that holds an event's value; empty: each is worth 1")] = ""
    value_max: Annotated[Positive, Meta(description="values are clipped to it")] = 1.0
    after_days: Annotated[Day, Meta(description="days after the decision at which it is estimated")] = 30.0
    horizon_days: Annotated[Day, Meta(description="days ahead that are estimated")] = 365.0
    discount_year: Annotated[float, Meta(ge=0.0, le=10.0, description="a year's interest: 0.1 is 10 %")] = 0.1
    lifetime_days: Annotated[Positive, Meta(description="mean days after which a person stays away for good")] = 365.0
    prior_events: Annotated[Positive, Meta(description="what a person is taken to have done, events in")] = 1.0
    prior_days: Annotated[Positive, Meta(description="this many days, before anything was seen")] = 30.0
    prior_value: Annotated[float, Meta(ge=0.0, description="mean value of an event before anything was seen")] = 1.0


Measure = Dwell | Rate | TimeTo | Worth | ReturnVisit | LifetimeValue


class Metric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that is observed of decisions, added up by placement, arm and segment."""

    name: Annotated[Name, Meta(description="`reward` is taken: every placement has it")]
    placements: Annotated[tuple[Name, ...], Meta(min_length=1, description="whose decisions it is observed of")]
    measure: Measure
    lower: Annotated[float, Meta(description="observations are clipped to it, in the metric's unit")] = 0.0
    upper: Annotated[float, Meta(description="the same above; what one decision can change is upper - lower")] = 1.0
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]


class Segment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group that metrics are told apart for; the first that holds counts, and without one `other`."""

    name: Annotated[Name, Meta(description="of the group; with `model`, the model's own names are taken")]
    when: Annotated[
        str, Meta(max_length=1_000, description="CEL over `fields`, `features`, `session`, `hour`, `weekday`")
    ] = ""
    model: Annotated[str, Meta(description="model whose best candidate names the group, instead of `when`")] = ""
