"""How a decision reaches people: channels, how often, when not, at which moment, and when it is taken back."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Cel, Name, Positive, Share

Importance = Literal["low", "normal", "high", "critical"]
Audience = Literal["private", "shared"]


class Cap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `count` decisions a person within `per_s` seconds."""

    count: Annotated[int, Meta(ge=1)]
    per_s: Positive


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No decision is delivered between these hours, in the device's local time."""

    start: Annotated[int, Meta(ge=0, le=23, description="hour")]
    end: Annotated[int, Meta(ge=0, le=23, description="hour; may be smaller than start")]


class ContactCap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `count` messages within a window that slides, or within a day of the calendar."""

    count: Annotated[int, Meta(ge=1, le=64)]
    per_s: Annotated[
        float, Meta(gt=0.0, le=2_592_000.0, description="window that ends now, in unix time: no clock change moves it")
    ] = 86_400.0
    local_day: Annotated[
        bool,
        Meta(
            description="true: within a local calendar day instead; one sent on a day by the zone of then or by the "
            "zone of now counts"
        ),
    ] = False


class DoNotDisturb(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition under which a channel is silent: in a meeting, asleep, with guests."""

    when: Annotated[
        Cel, Meta(description="CEL over `fields` (last known: the person's, else the household's), `hour`, `weekday`")
    ]
    fresh_s: Annotated[Positive, Meta(description="a field that was last heard longer ago than this is not known")] = (
        900.0
    )
    unknown: Annotated[
        Literal["hold", "speak"], Meta(description="when it cannot be evaluated, for a field is not known")
    ] = "hold"
    reason: Annotated[str, Meta(min_length=5, max_length=300, description="printed by `edge-agent explain`")]


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to reach people."""

    name: Name
    kind: Literal["web", "in-app", "push", "email", "mobile", "light", "display", "voice"]
    adapter: Annotated[
        Literal["mqtt", "smtp", "http"],
        Meta(
            description="smtp, http: through [smtp] or [push] of the settings and an [[egress]] of kind email or push"
        ),
    ] = "mqtt"
    topic: Annotated[
        str, Meta(max_length=500, description="mqtt: instead of the placement's topic; `{device}` is replaced")
    ] = ""
    payload: Annotated[
        Literal["decision", "text"], Meta(description="mqtt: the whole decision, or the delivery's `text` alone")
    ] = "decision"
    retain: Annotated[
        bool, Meta(description="mqtt: the broker keeps it for displays that come later; it is cleared at its end")
    ] = False
    audience: Annotated[Audience, Meta(description="shared: others see or hear it too; never a private choice")] = (
        "private"
    )
    exclusive: Annotated[
        bool, Meta(description="it has room for one message: a less important one waits, another one replaces it")
    ] = False
    priority: Annotated[
        int, Meta(ge=0, le=100, description="of the channels that are open, the highest carries the message")
    ] = 50
    cost: Annotated[float, Meta(ge=0.0, description="of one message; of equal priority, the cheapest carries it")] = 0.0
    cap: Annotated[
        tuple[ContactCap, ...],
        Meta(max_length=8, description="messages to one person on it; on a shared one, to anybody"),
    ] = ()
    quiet_hours: QuietHours | None = None
    do_not_disturb: Annotated[tuple[DoNotDisturb, ...], Meta(max_length=8)] = ()


class Theme(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic that several placements speak about: what one has chosen for a person, the others repeat."""

    name: Name
    cap: Annotated[tuple[ContactCap, ...], Meta(max_length=8, description="messages to one person about it")] = ()


class Contact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one person may get in all, across placements, channels and devices."""

    cap: Annotated[tuple[ContactCap, ...], Meta(max_length=8)] = ()
    low: Annotated[tuple[ContactCap, ...], Meta(max_length=8, description="of importance low")] = ()
    normal: Annotated[tuple[ContactCap, ...], Meta(max_length=8, description="of importance normal")] = ()
    high: Annotated[tuple[ContactCap, ...], Meta(max_length=8, description="of importance high")] = ()
    critical: Annotated[tuple[ContactCap, ...], Meta(max_length=8, description="of importance critical")] = ()
    quiet_hours: Annotated[QuietHours | None, Meta(description="of every channel")] = None
    critical_passes: Annotated[
        tuple[Literal["quiet-hours", "do-not-disturb"], ...],
        Meta(description="what a message of importance critical is not held back by; caps always hold"),
    ] = ()
    zone_field: Annotated[
        str, Meta(description="text field with a person's IANA time zone; empty or not known: the device's")
    ] = ""


class Moment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wait for the moment at which the person is most receptive, within the expiry."""

    model: Annotated[Name, Meta(description="gives the chance that the person acts within the hour")]
    step_s: Annotated[
        float, Meta(ge=300.0, le=86_400.0, description="moments are looked at this far apart, 32 at most")
    ] = 3_600.0
    discount: Annotated[Share, Meta(description="how much less a moment is worth for each hour of waiting")] = 0.05


class Delivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a placement's decisions reach people. What cannot be delivered now waits until the placement's expiry."""

    channels: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=8, description="names of [[channel]]s")]
    spread: Annotated[
        Literal["first", "all"], Meta(description="first: one channel carries it; all: every one that is open")
    ] = "first"
    theme: Annotated[str, Meta(description="name of a [[theme]]; empty: the placement is a theme of its own")] = ""
    audience: Annotated[Audience, Meta(description="who may see the choice; private: no shared channel shows it")] = (
        "private"
    )
    importance: Annotated[
        Importance, Meta(description="a more important choice displaces one of its theme; of what waits, it goes first")
    ] = "normal"
    stands_s: Annotated[
        Positive | None, Meta(description="how long the choice stands for its theme; none: the placement's expiry")
    ] = None
    holds: Annotated[
        str,
        Meta(
            max_length=1_000,
            description="the reason, CEL over `fields` (last known), `item`, `hour`, `weekday`; when it becomes false, "
            "the message is taken back; empty: it keeps its reason",
        ),
    ] = ""
    fresh_s: Annotated[Positive, Meta(description="for `holds`: an older field is not known, and changes nothing")] = (
        3_600.0
    )
    moment: Moment | None = None
    title: Annotated[
        str, Meta(max_length=200, description="template: `{item}`, `{items}`, `{placement}`, or a field by name")
    ] = ""
    text: Annotated[
        str, Meta(max_length=2_000, description="template; a field must be named by the [[egress]] that it leaves by")
    ] = ""
