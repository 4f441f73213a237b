"""What may leave the device, and what a decision may switch."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Cel, Name, Positive


class Privacy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differential privacy of an egress, as declared; unit of privacy: one device unless said."""

    clip_norm: Annotated[
        Positive,
        Meta(
            description="L2 norm that an update, a statistic, or a device's sums of an experiment or of all metrics "
            "are clipped to"
        ),
    ]
    noise_multiplier: Annotated[
        float,
        Meta(
            ge=0.0,
            description="deviation of Gaussian noise, in units of clip_norm. Of updates: added on the device before "
            "anything leaves (local privacy: any two updates of the device are neighbours). Of statistics, and of "
            "metrics with secret_sum: on their secret sum; each device adds its share before the masks, and refuses "
            "less. Of experiments, and of metrics without secret_sum: added to the sums when they are told. 0: the "
            "device adds none, and no epsilon can be stated of what it sends alone",
        ),
    ] = 0.0
    delta: Annotated[float, Meta(gt=0.0, lt=1.0, description="at which epsilon_max is stated")] = 1e-5
    unit: Annotated[
        Literal["device", "person"],
        Meta(description="whose influence is bounded; person: of experiments only, each counts once and unclipped"),
    ] = "device"
    epsilon_max: Annotated[
        Positive | None,
        Meta(
            description="budget of a bundle; no more updates of it when it is spent. With noise of the device's own: "
            "what that costs, kept on the device. Without: what the coordinator states for the bundle and population; "
            "a round that states more, or nothing, is refused"
        ),
    ] = None
    population: Annotated[
        str, Meta(max_length=100, description="of updates: as whose part the coordinator may count it; empty: any")
    ] = ""
    secret_sum: Annotated[
        bool,
        Meta(
            description="of updates, statistics and metrics: they leave only under masks that cancel out in the sum "
            "over k_min or more devices; the server sees that sum and nothing of a single device"
        ),
    ] = False


class Egress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of thing that may leave the device. What has no [[egress]] does not leave."""

    kind: Literal[
        "decision",
        "status",
        "update",
        "statistic",
        "metric",
        "experiment",
        "rejection",
        "alert",
        "late-event",
        "email",
        "push",
    ]
    destination: Annotated[Literal["mqtt", "superlink", "smtp", "http"], Meta(description="who gets it")] = "mqtt"
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    bytes_day_max: Annotated[
        int, Meta(ge=1, description="bytes in 24 hours, payloads counted; then it waits or is dropped")
    ]
    privacy: Privacy | None = None
    k_min: Annotated[int, Meta(ge=1, description="devices that must be added up before anyone may read the result")] = 1
    unlearn: Annotated[
        Name | None,
        Meta(
            description="of updates: the purpose under which a person who withdraws lets one last update leave, that "
            "takes their influence out of the shared model; their examples are kept until then, locked, and no longer"
        ),
    ] = None
    fields: Annotated[
        tuple[str, ...], Meta(max_length=64, description="fields that the text of a message may carry out")
    ] = ()


class ActuatorLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that is never sent, whatever decided it; looked at last, when the command is about to leave."""

    name: Name
    never: Annotated[
        Cel,
        Meta(
            description="CEL over `item`, `fields` (the newest readings), `hour`, `weekday`, `actuators` (actuator → "
            "the item it was last told; empty: none yet): `item == 'open' && fields.boiler > 60.0`. What cannot be "
            "evaluated, such as a reading that is missing or too old, forbids"
        ),
    ]
    fresh_s: Annotated[Positive, Meta(description="readings older than this count as missing, seconds")] = 900.0
    reason: Annotated[str, Meta(min_length=5, max_length=300, description="logged, and told by `edge-agent explain`")]


class Actuator(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that a decision may switch, and the limits that no model can pass."""

    name: Name
    topic: Annotated[str, Meta(min_length=1, description="command topic; `{device}` is replaced")]
    payloads: Annotated[
        dict[str, str], Meta(min_length=1, description="decided item → payload sent; others are refused")
    ]
    per_minute_max: Annotated[int, Meta(ge=1, le=60)] = 6
    lasts_s: Annotated[
        dict[str, Annotated[float, Meta(ge=0.0)]],
        Meta(
            description="item → seconds that it lasts before another item may be sent: `{ compressor-off = 300.0 }` "
            "is a minimum off time"
        ),
    ] = {}
    limit: Annotated[tuple[ActuatorLimit, ...], Meta(max_length=50)] = ()
