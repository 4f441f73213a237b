"""The device profile: what is collected, why, for how long, what is decided, and what may leave.

A profile is TOML. Each struct here is one table of it; each field's `Meta` carries the sentence that
the reference profile and the JSON Schema print. Unknown keys are errors: see `loader`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="lower-case letters, digits, hyphens")]
Cel = Annotated[str, Meta(min_length=1, max_length=1_000, description="a CEL expression")]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Stage = Literal["shadow", "canary", "full"]


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


class Purpose(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is collected, in words that people read."""

    name: Name
    legal_basis: Literal[
        "consent", "contract", "legal-obligation", "vital-interests", "public-task", "legitimate-interests"
    ]
    consent: Annotated[
        Literal["required", "not-needed"],
        Meta(description="`required`: nothing is kept before a person says yes"),
    ]
    text: Annotated[str, Meta(min_length=20, max_length=1_000, description="what people are told")]


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long data of one category may exist on the device."""

    days: Annotated[float, Meta(gt=0.0, le=3_650.0)]


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
        Share, Meta(description="mean reward below the old version's, beyond three standard errors")
    ] = 0.05


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle that this device may run."""

    name: Name
    versions: Annotated[str, Meta(description="allowed versions, PEP 440 specifiers: `>=1.0,<2`")]
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    backend: Annotated[Literal["onnx", "tflite"], Meta(description="which of the bundle's artefacts to run")] = "onnx"
    federated: Annotated[bool, Meta(description="take part in rounds (an `update` egress is needed too)")] = False
    examples_max: Annotated[int, Meta(ge=1, le=1_000_000, description="examples kept; then the oldest go")] = 10_000
    learn: tuple[Learn, ...] = ()
    swap: Swap = Swap()


class OnEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="event", tag_field="kind"):
    """Decide whenever an event of `source` arrives."""

    source: Name
    when: Annotated[str, Meta(description="CEL over the event's fields; empty: always")] = ""


class OnRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="request", tag_field="kind"):
    """Decide when someone asks on `…/request/{placement}`."""


Trigger = OnEvent | OnRequest


class Candidate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that can be chosen."""

    item: Annotated[str, Meta(min_length=1, max_length=128)]
    score: Annotated[
        str,
        Meta(description="CEL over model outputs by name (`1.0 - context`); empty: the first model's score"),
    ] = ""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sentence that a person can read and the device obeys."""

    name: Name
    when: Annotated[Cel, Meta(description="CEL over `fields`, `item`, `hour`, `weekday`, `subject`, `session`")]
    effect: Annotated[
        Literal["deny", "allow-only", "boost"],
        Meta(description="deny: never where true; allow-only: only where true; boost: add `value` to the score"),
    ]
    value: Annotated[float, Meta(description="for boost")] = 0.0
    reason: Annotated[str, Meta(min_length=5, max_length=300, description="printed by `edge-agent explain`")]


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


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of an experiment: it replaces the placement's policy."""

    name: Name
    weight: Positive = 1.0
    policy: Policy | None = None


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Subjects are assigned to arms by keyed hash, for as long as the experiment's name stays."""

    name: Name
    arms: Annotated[tuple[Arm, ...], Meta(min_length=2, max_length=16)]
    share: Annotated[Share, Meta(description="share of subjects that take part at all")] = 1.0


class Cap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `count` decisions a subject within `per_s` seconds."""

    count: Annotated[int, Meta(ge=1)]
    per_s: Positive


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No decision is delivered between these hours, in the device's local time."""

    start: Annotated[int, Meta(ge=0, le=23, description="hour")]
    end: Annotated[int, Meta(ge=0, le=23, description="hour; may be smaller than start")]


class Reward(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an outcome is worth to the bandit and as a label."""

    outcome: Annotated[str, Meta(min_length=1, max_length=64, description="such as `click`, `dismiss`, `override`")]
    value: Annotated[float, Meta(ge=0.0, le=1.0)]


class Placement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place where something is decided."""

    name: Name
    trigger: Trigger
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    models: Annotated[tuple[Name, ...], Meta(description="models that score, in order")] = ()
    candidate: Annotated[
        tuple[Candidate, ...],
        Meta(
            max_length=1_000,
            description="fixed candidates; empty: the first model's catalogue, or the request's own",
        ),
    ] = ()
    slate: Annotated[int, Meta(ge=1, le=100, description="items in one decision, best first")] = 1
    rule: tuple[Rule, ...] = ()
    policy: Policy = Best()
    experiment: Experiment | None = None
    channel: Annotated[str, Meta(description="how it reaches people: `app`, `display`, `light`, `voice`")] = "app"
    actuator: Annotated[str, Meta(description="name of an [[actuator]] that the decision switches; empty: none")] = ""
    cap: tuple[Cap, ...] = ()
    quiet_hours: QuietHours | None = None
    budget_ms: Annotated[Positive, Meta(description="time from trigger to choice; over it, the fallback ladder")] = 50.0
    fallback: Annotated[
        str, Meta(description="item decided when models, rules and cache cannot; empty: no decision")
    ] = ""
    expiry_s: Annotated[Positive, Meta(description="how long the decision is worth delivering")] = 300.0
    reward: tuple[Reward, ...] = ()
    reward_window_s: Annotated[Positive, Meta(description="feedback later than this is not joined")] = 86_400.0


class Privacy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differential privacy of an egress, as declared; unit of privacy: one device."""

    clip_norm: Annotated[Positive, Meta(description="L2 norm an update is clipped to")]
    noise_multiplier: Annotated[float, Meta(ge=0.0, description="0: clipped only, no epsilon can be stated")] = 0.0
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-5
    epsilon_max: Annotated[Positive | None, Meta(description="budget; no more updates when it is spent")] = None


class Egress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of thing that may leave the device. What has no [[egress]] does not leave."""

    kind: Literal["decision", "status", "update", "metric", "experiment", "rejection", "late-event"]
    destination: Annotated[Literal["mqtt", "superlink"], Meta(description="who gets it")] = "mqtt"
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    bytes_day_max: Annotated[
        int, Meta(ge=1, description="bytes in 24 hours, payloads counted; then it waits or is dropped")
    ]
    privacy: Privacy | None = None
    k_min: Annotated[int, Meta(ge=1, description="devices that must be added up before anyone may read the result")] = 1


class Actuator(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that a decision may switch, and the limits that no model can pass."""

    name: Name
    topic: Annotated[str, Meta(min_length=1, description="command topic; `{device}` is replaced")]
    payloads: Annotated[
        dict[str, str], Meta(min_length=1, description="decided item → payload sent; others are refused")
    ]
    per_minute_max: Annotated[int, Meta(ge=1, le=60)] = 6


class Sensitive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Uses that are forbidden whatever else the profile says."""

    forbidden_categories: Annotated[
        tuple[str, ...], Meta(description="data categories that no field of this profile may carry")
    ] = ()
    forbidden_purposes: tuple[str, ...] = ()


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole device profile."""

    schema: Annotated[Literal[1], Meta(description="version of this language")]
    name: Name
    version: Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+$", description="rises with every change")]
    device: Device
    source: Annotated[tuple[Source, ...], Meta(min_length=1, max_length=100)]
    purpose: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=50)]
    retention: Annotated[dict[str, Retention], Meta(description="data category → how long")]
    model: Annotated[tuple[Model, ...], Meta(max_length=20)] = ()
    placement: Annotated[tuple[Placement, ...], Meta(max_length=50)] = ()
    egress: Annotated[tuple[Egress, ...], Meta(max_length=20)] = ()
    actuator: Annotated[tuple[Actuator, ...], Meta(max_length=50)] = ()
    sensitive: Sensitive = Sensitive()


def schema_json() -> bytes:
    """The profile language as JSON Schema (draft 2020-12)."""
    return msgspec.json.encode(msgspec.json.schema(Profile))
