"""What is collected: sources, their fields, and what is done to a value before anything sees it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Name, Positive


class Keep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="keep", tag_field="kind"):
    """Keep the value as it came."""


class Bucket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="bucket", tag_field="kind"):
    """Replace a number with the lower edge of its bucket."""

    edges: Annotated[tuple[float, ...], Meta(min_length=1, max_length=64, description="ascending lower edges")]


class Round(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="round", tag_field="kind"):
    """Round a number to the nearest multiple of `step`."""

    step: Annotated[Positive, Meta(description="in the field's own unit")]


class TruncateTime(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="truncate-time", tag_field="kind"
):
    """Cut a unix time (s) or ISO 8601 time down to the start of its `to`."""

    to: Literal["minute", "hour", "day"]


class KeyedHash(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="keyed-hash", tag_field="kind"):
    """Replace an identifier with HMAC-SHA-256 under a device key that never leaves and rotates."""

    rotate_days: Annotated[
        int, Meta(ge=0, description="days after which the same value hashes differently; 0 means never")
    ] = 0


class CoarseLocation(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="coarse-location", tag_field="kind"
):
    """Round a latitude or longitude (degrees) to a grid."""

    cell_degrees: Annotated[float, Meta(ge=0.001, le=10.0, description="0.01 is about 1.1 km of latitude")]


Transform = Keep | Bucket | Round | TruncateTime | KeyedHash | CoarseLocation


class SourceField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field that is kept from a source's payload; whatever is not listed is dropped at once."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]{0,62}$",
            description="the field's name from here on, unique in the profile",
        ),
    ]
    path: Annotated[str, Meta(max_length=200, description="where in the payload, dotted: `state.temperature`")] = ""
    type: Annotated[
        Literal["number", "text", "flag"], Meta(description="number (float64), text (UTF-8) or flag (bool)")
    ] = "number"
    category: Annotated[
        str, Meta(min_length=1, description="data category, fideslang / W3C DPV name such as `user.behavior`")
    ]
    purposes: Annotated[
        tuple[Name, ...],
        Meta(min_length=1, description="purposes that this field serves; without consent for any it is dropped"),
    ]
    transform: Annotated[Transform, Meta(description="applied before anything sees the value")] = Keep()
    required: Annotated[bool, Meta(description="an event without this field is rejected")] = False


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of event that arrives over MQTT."""

    name: Name
    topic: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="MQTT topic filter; `{device}` is replaced with the device id",
        ),
    ]
    codec: Annotated[
        Literal["json", "msgpack", "cloudevents", "scalar", "home-assistant", "zigbee2mqtt"],
        Meta(description="how the payload is read"),
    ] = "json"
    qos: Annotated[
        Literal[0, 1, 2],
        Meta(description="0: may be lost on the way; 1 and 2: each event is decided once (2 is subscribed as 1)"),
    ] = 1
    critical: Annotated[
        bool,
        Meta(description="commit with synchronous=FULL before the acknowledgement (survives a pulled plug)"),
    ] = False
    event_id: Annotated[
        str,
        Meta(
            description="path of the event's own id; empty: a hash of topic, event time and payload, and without "
            "an event time each message is an event of its own"
        ),
    ] = ""
    event_time: Annotated[str, Meta(description="path of the event time; empty: the time of arrival")] = ""
    event_time_unit: Literal["s", "ms", "iso8601"] = "s"
    subject: Annotated[
        str, Meta(description="path of whom the event is about; empty: the household or device itself")
    ] = ""
    gpc: Annotated[
        str,
        Meta(
            description="path of a flag; true says that the sender's browser asks not to be sold or shared (Global "
            "Privacy Control): the person objects to every purpose with `shares`, from this very event on. Empty: none"
        ),
    ] = "gpc"
    lateness_s: Annotated[
        float, Meta(ge=0.0, description="how far event time may run behind the watermark, seconds")
    ] = 60.0
    idle_s: Annotated[
        Positive,
        Meta(description="silence after which the source holds back the device's watermark no longer, seconds"),
    ] = 300.0
    session_gap_s: Annotated[
        Positive, Meta(description="silence after an event of this source that ends its subject's session, seconds")
    ] = 1_800.0
    late: Annotated[
        Literal["apply", "side", "drop"],
        Meta(description="later events: apply all the same, publish on the late topic, or drop (counted)"),
    ] = "apply"
    overload: Annotated[
        Literal["keep", "sample", "coalesce"],
        Meta(
            description="when more comes than can be taken: keep all, sample (one in `overload_every`), or coalesce "
            "(the newest of each topic); critical sources keep all and go first; counted as `shed.NAME`"
        ),
    ] = "keep"
    overload_every: Annotated[
        int, Meta(ge=2, le=10_000, description="for `sample`: one event in this many is taken")
    ] = 10
    field: Annotated[tuple[SourceField, ...], Meta(min_length=1, max_length=64)]
