"""Service level objectives: which share of what the device does must go well, over a period."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Name, Positive


class Objective(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One objective; what goes badly spends its error budget, and burning it too fast raises an alert."""

    name: Name
    indicator: Annotated[
        Literal["latency", "fallback", "rounds"],
        Meta(
            description="what is counted. latency: decisions, good when the line to the broker has them `within_ms` of "
            "their event's arrival; fallback: decisions, good when a policy made them and no rung of the fallback "
            "ladder; rounds: federated rounds that this device took part in, good when they did not fail"
        ),
    ]
    placement: Annotated[str, Meta(description="of latency and fallback: whose decisions")] = ""
    target: Annotated[
        float, Meta(gt=0.0, lt=1.0, description="share that must be good; the rest of the period is the error budget")
    ] = 0.99
    within_ms: Annotated[
        Positive | None,
        Meta(
            description="of latency, read up to the next bound of the histogram (at most 19 % more); not written: the "
            "placement's budget_ms"
        ),
    ] = None
    period_days: Annotated[int, Meta(ge=1, le=90, description="over which the target is to be met")] = 30
    bad_min: Annotated[
        int, Meta(ge=1, description="bad ones there must be in an alert's longer window: one alone alarms nobody")
    ] = 5
