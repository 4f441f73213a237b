"""The device profile: what is collected, why, for how long, what is decided, and what may leave.

A profile is TOML. Each struct of the language is one table of it; each field's `Meta` carries the sentence that
the reference profile and the JSON Schema print. Unknown keys are errors: see `loader`. The tables lie in
`firmware_configs/language/`, one subject a module; here is the whole, and every name.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from firmware_configs.language.accountability import Approval, Controller, People
from firmware_configs.language.bundles import Learn, Model, Subgroups, Swap
from firmware_configs.language.channels import (
    Audience,
    Cap,
    Channel,
    Contact,
    ContactCap,
    Delivery,
    DoNotDisturb,
    Importance,
    Moment,
    QuietHours,
    Theme,
)
from firmware_configs.language.drift import DriftDetector
from firmware_configs.language.egress import Actuator, ActuatorLimit, Egress, Privacy
from firmware_configs.language.experiments import (
    Adaptive,
    Arm,
    Experiment,
    ExperimentMetric,
    Experiments,
    Factor,
    Layer,
    Level,
    Treatment,
)
from firmware_configs.language.identity import Apart, CertainLink, Evidence, Identity
from firmware_configs.language.objectives import Objective
from firmware_configs.language.outcomes import (
    Attribution,
    Creditable,
    Dwell,
    FirstTouch,
    LastTouch,
    LifetimeValue,
    Linear,
    Measure,
    Metric,
    Outcome,
    PositionBased,
    Rate,
    ReturnVisit,
    Segment,
    TimeDecay,
    TimeTo,
    View,
    Worth,
)
from firmware_configs.language.placements import (
    Candidate,
    OnEvent,
    OnRequest,
    Placement,
    Popular,
    Reward,
    Rule,
    Stability,
    Trigger,
)
from firmware_configs.language.policies import (
    Best,
    EpsilonGreedy,
    Exploration,
    LinThompson,
    LinUcb,
    Policy,
    SquareCb,
    Thompson,
    ThompsonGaussian,
    Threshold,
)
from firmware_configs.language.purposes import Purpose, Retention, Sensitive
from firmware_configs.language.sources import (
    Bucket,
    CoarseLocation,
    Keep,
    KeyedHash,
    Round,
    Source,
    SourceField,
    Transform,
    TruncateTime,
)
from firmware_configs.language.terms import Cel, Name, Positive, Share, Stage
from firmware_configs.windows import PATTERN, WINDOWS_MAX

__all__ = [
    "Actuator",
    "ActuatorLimit",
    "Adaptive",
    "Apart",
    "Approval",
    "Arm",
    "Attribution",
    "Audience",
    "Best",
    "Bucket",
    "Candidate",
    "Cap",
    "Cel",
    "CertainLink",
    "Channel",
    "CoarseLocation",
    "Contact",
    "ContactCap",
    "Controller",
    "Creditable",
    "Delivery",
    "Device",
    "DoNotDisturb",
    "DriftDetector",
    "Dwell",
    "Egress",
    "EpsilonGreedy",
    "Evidence",
    "Experiment",
    "ExperimentMetric",
    "Experiments",
    "Exploration",
    "Factor",
    "FirstTouch",
    "Identity",
    "Importance",
    "Keep",
    "KeyedHash",
    "LastTouch",
    "Layer",
    "Learn",
    "Level",
    "LifetimeValue",
    "LinThompson",
    "LinUcb",
    "Linear",
    "Measure",
    "Metric",
    "Model",
    "Moment",
    "Name",
    "Objective",
    "OnEvent",
    "OnRequest",
    "Outcome",
    "People",
    "Placement",
    "Policy",
    "Popular",
    "PositionBased",
    "Positive",
    "Privacy",
    "Profile",
    "Purpose",
    "QuietHours",
    "Rate",
    "Retention",
    "ReturnVisit",
    "Reward",
    "Round",
    "Rule",
    "Segment",
    "Sensitive",
    "Share",
    "Source",
    "SourceField",
    "SquareCb",
    "Stability",
    "Stage",
    "Subgroups",
    "Swap",
    "Theme",
    "Thompson",
    "ThompsonGaussian",
    "Threshold",
    "TimeDecay",
    "TimeTo",
    "Transform",
    "Treatment",
    "Trigger",
    "TruncateTime",
    "View",
    "Worth",
    "schema_json",
]


class Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"class_": "class"}):
    """What kind of device this profile is for."""

    class_: Annotated[Name, Meta(description="device class; a fleet may have several")]
    fleet: Annotated[Name, Meta(description="the fleet that trains and rolls out together")]
    memory_mib_max: Annotated[
        int, Meta(ge=32, description="resident memory the agent may use, MiB; reported when exceeded")
    ] = 128
    disk_mib_max: Annotated[
        int, Meta(ge=4, description="size the agent's database may reach, MiB; then the oldest rows go")
    ] = 256


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole device profile."""

    schema: Annotated[Literal[1], Meta(description="version of this language")]
    name: Name
    version: Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+$", description="rises with every change")]
    device: Device
    source: Annotated[tuple[Source, ...], Meta(min_length=1, max_length=100)]
    purpose: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=50)]
    retention: Annotated[dict[str, Retention], Meta(description="data category → how long")]
    identity: Annotated[
        Identity | None, Meta(description="which subjects belong to one person; empty: each is one of its own")
    ] = None
    model: Annotated[tuple[Model, ...], Meta(max_length=20)] = ()
    placement: Annotated[tuple[Placement, ...], Meta(max_length=50)] = ()
    egress: Annotated[tuple[Egress, ...], Meta(max_length=20)] = ()
    actuator: Annotated[tuple[Actuator, ...], Meta(max_length=50)] = ()
    sensitive: Sensitive = Sensitive()
    view: Annotated[tuple[View, ...], Meta(max_length=20)] = ()
    outcome: Annotated[tuple[Outcome, ...], Meta(max_length=20)] = ()
    metric: Annotated[tuple[Metric, ...], Meta(max_length=20)] = ()
    segment: Annotated[tuple[Segment, ...], Meta(max_length=16)] = ()
    objective: Annotated[tuple[Objective, ...], Meta(max_length=50)] = ()
    drift: Annotated[tuple[DriftDetector, ...], Meta(max_length=50)] = ()
    experiments: Experiments = Experiments()
    channel: Annotated[tuple[Channel, ...], Meta(max_length=20)] = ()
    theme: Annotated[tuple[Theme, ...], Meta(max_length=50)] = ()
    contact: Contact = Contact()
    controller: Controller = Controller()
    people: People = People()
    approval: Approval = Approval()
    maintenance: Annotated[
        tuple[Annotated[str, Meta(pattern=PATTERN)], ...],
        Meta(
            max_length=WINDOWS_MAX,
            description="when updates and rounds may begin, by the device's local clock: `daily 02:00-05:00`, "
            "`mon-fri 22:00-06:00`, `sat+sun 10:00-16:00`; empty: at any time",
        ),
    ] = ()


def schema_json() -> bytes:
    """The profile language as JSON Schema (draft 2020-12)."""
    return msgspec.json.encode(msgspec.json.schema(Profile))
