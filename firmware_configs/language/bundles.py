"""Which bundles a device may run, what they learn from, and how a new version takes over."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Name, Share, Stage


class Learn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that is itself a training example, besides feedback on decisions."""

    source: Name
    item: Annotated[str, Meta(description="field that names the candidate; empty for models without candidates")] = ""
    label: Annotated[float | None, Meta(description="constant label")] = None
    label_field: Annotated[str, Meta(description="field that holds the label, when it is not constant")] = ""


class Swap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a new version takes over from the one that serves, and when it gives way again."""

    start: Annotated[
        Stage,
        Meta(
            description="where a new version starts unless the coordinator says otherwise: scored beside the old one, "
            "serving a share of the subjects, or serving everyone"
        ),
    ] = "full"
    shadow_decisions: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="decisions scored beside the old version before the canary")
    ] = 200
    canary_share: Annotated[
        float, Meta(gt=0.0, le=1.0, description="share of the subjects, by keyed hash, that the new version serves")
    ] = 0.1
    canary_decisions: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="decisions by the new version before it serves everyone")
    ] = 200
    watched_decisions: Annotated[
        int, Meta(ge=0, le=1_000_000_000, description="decisions after which a version that serves everyone is kept")
    ] = 200
    decisions_min: Annotated[
        int, Meta(ge=1, le=1_000_000, description="decisions before errors or latency may bring the old version back")
    ] = 20
    error_max: Annotated[
        Share, Meta(description="share of decisions in which it fails or overruns the placement's budget")
    ] = 0.05
    latency_ratio_max: Annotated[
        float, Meta(ge=1.0, description="mean time of a call, as a multiple of the old version's; counts above 1 ms")
    ] = 3.0
    reward_drop_max: Annotated[
        Share, Meta(description="mean reward below the old version's, beyond bounds that hold whenever one looks")
    ] = 0.05


class CheckIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a device may take part in a round, besides consent and windows; and what the learner may cost."""

    fresh_min: Annotated[
        int, Meta(ge=1, le=1_000_000, description="examples since the last round that this device answered")
    ] = 1
    battery_min: Annotated[
        Share, Meta(description="without mains, only at or above this charge; 1.0: on mains only; 0.0: not looked at")
    ] = 0.0
    unmetered: Annotated[bool, Meta(description="only on a network of which is known that it is not metered")] = False
    load_max: Annotated[
        float, Meta(ge=0.0, description="runnable processes a core above which it counts as busy; 0.0: not looked at")
    ] = 0.0
    memory_mib_max: Annotated[
        int, Meta(ge=64, le=65_536, description="the learner's resident memory; above it, it is killed")
    ] = 256
    seconds_max: Annotated[
        int, Meta(ge=10, le=604_800, description="how long a learner may live, whatever the offer says")
    ] = 14_400


class Subgroups(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between whom a model is compared, and how far apart they may be. Devices count, and tell sums alone."""

    segments: Annotated[
        tuple[Name, ...],
        Meta(min_length=1, max_length=15, description="[[segment]]s with `when`; who is in none is the group `other`"),
    ]
    auc_gap_max: Annotated[
        Share, Meta(description="largest difference in AUC: how much worse it may tell apart for some than for others")
    ] = 0.05
    calibration_gap_max: Annotated[
        Share, Meta(description="largest difference in how far chances are off: mean predicted less what came out")
    ] = 0.05
    exposure_gap_max: Annotated[
        Share, Meta(description="largest difference in the share of decisions in which an item is shown first")
    ] = 0.1


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle that this device may run."""

    name: Name
    versions: Annotated[str, Meta(description="allowed versions, PEP 440 specifiers: `>=1.0,<2`")]
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    backend: Annotated[Literal["onnx", "tflite"], Meta(description="which of the bundle's artefacts to run")] = "onnx"
    federated: Annotated[bool, Meta(description="take part in rounds (an `update` egress is needed too)")] = False
    examples_max: Annotated[int, Meta(ge=1, le=1_000_000, description="examples kept; then the oldest go")] = 10_000
    learn: tuple[Learn, ...] = ()
    check_in: CheckIn = CheckIn()
    subgroups: Annotated[
        Subgroups | None,
        Meta(description="groups whose gaps are watched: `edge-coordinator bias`; needs an [[egress]] `statistic`"),
    ] = None
    swap: Swap = Swap()
