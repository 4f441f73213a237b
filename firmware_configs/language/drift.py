"""Drift detectors: what is watched for a change, by which test, and how often it may alarm for nothing."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Name


class DriftDetector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One detector; a shift raises an alert of kind `drift`."""

    name: Name
    watch: Annotated[
        Literal["input", "prediction", "calibration", "reward"],
        Meta(
            description="input: numbers of a source's field, as minimised; prediction: scores of what a placement "
            "chose; calibration: what a choice earned less its score, where scores are probabilities; reward: what it "
            "earned"
        ),
    ]
    source: Annotated[str, Meta(description="of input")] = ""
    field: Annotated[str, Meta(description="of input: a field of the source that holds numbers")] = ""
    placement: Annotated[str, Meta(description="of prediction, calibration and reward: whose decisions")] = ""
    test: Annotated[
        Literal["psi", "ks", "page-hinkley", "adwin"],
        Meta(
            description="psi and ks compare whole windows with the reference, and see any change of the distribution; "
            "page-hinkley and adwin look at each value, and see a change of the mean sooner"
        ),
    ] = "psi"
    reference: Annotated[int, Meta(ge=50, le=10_000, description="values to learn from what is usual")] = 1_000
    window: Annotated[int, Meta(ge=20, le=10_000, description="of psi and ks: values compared at a time")] = 200
    every_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=86_400.0,
            description="one value in so many seconds is taken: neighbours that are alike alarm early",
        ),
    ] = 0.0
    values_between_false_alarms: Annotated[
        int,
        Meta(ge=1_000, le=1_000_000_000, description="on average, while nothing changes and values are independent"),
    ] = 1_000_000
    fleet: Annotated[
        bool,
        Meta(
            description="of psi and ks: where the newest whole window lies in this device's own reference, by tenth, "
            "is added up over the fleet in a secret sum: `edge-coordinator drift`; needs an [[egress]] of kind "
            "statistic with secret_sum"
        ),
    ] = False
