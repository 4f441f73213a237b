"""What pages may capture, told to pages themselves: `edgeward.js` sends nothing that is not in here. Pure, no I/O.

A source whose topic is `edgeward/1/{device}/capture/NAME` is filled by pages. What its fields list is all that may be
captured; each is sent only while one of its purposes may be served for the person.
"""

from msgspec import Struct

from firmware_configs.consent_receipt import version_of
from firmware_configs.errors import CaptureUnknown
from firmware_configs.messages import ROOT
from firmware_configs.profile import Profile, Source

TOPIC = f"{ROOT}/{{device}}/capture/"
"""How the topic of a source begins that pages fill."""
FORM = {"codec": "json", "event_id": "id", "event_time": "time", "event_time_unit": "ms", "subject": "subject"}
"""What such a source says of its messages, for that is what pages send."""
CAPTURED = ("kind", "item", "seen", "page", "seconds", "depth", "value", "query", "decision")
"""What pages can send, by the path of the source's field: item was touched, seen was in view. Units: seconds of dwell;
depth, the share of the page that was seen, in [0, 1]; value of a conversion, in the page's own unit; query, the text of
what was typed or spoken."""


class Asked(Struct, frozen=True, kw_only=True):
    """One purpose, as a page needs it."""

    asks: bool
    """Nothing is captured for it before the person says yes; false: until they object."""
    shares: bool
    """Global Privacy Control says no to it."""
    version: str
    """Of the text; a yes to another text does not count."""
    text: str


class CapturePolicy(Struct, frozen=True, kw_only=True):
    """What one source lets pages capture, and which decisions pages may ask for."""

    device: str
    source: str
    topic: str
    """Below `edgeward/1/{device}/`."""
    profile: str
    """Name and version."""
    fields: dict[str, tuple[str, ...]]
    """Path → purposes; any one of them suffices."""
    placements: dict[str, tuple[str, ...]]
    """Placement → purposes; all of them are needed."""
    purposes: dict[str, Asked]


def sources(profile: Profile) -> list[Source]:
    """The sources that pages fill, in the profile's order."""
    return [source for source in profile.source if source.topic.startswith(TOPIC)]


def policy(profile: Profile, device: str, source: str = "") -> CapturePolicy:
    """What pages may capture on a device.

    Args:
        source: name of one of `sources`; empty: the first.
    Raises:
        CaptureUnknown: no source of the profile is filled by pages, or none of that name.
    """
    found = next((one for one in sources(profile) if source in {"", one.name}), None)
    if found is None:
        raise CaptureUnknown(
            f"no source{f' `{source}`' if source else ''} of {profile.name} is filled by pages",
            hint=f'give a [[source]] a topic such as "{TOPIC}page"',
        )
    fields = {field.path or field.name: field.purposes for field in found.field}
    placements = {place.name: place.purposes for place in profile.placement}
    named = {purpose for purposes in (*fields.values(), *placements.values()) for purpose in purposes}
    return CapturePolicy(
        device=device,
        source=found.name,
        topic=found.topic.removeprefix(TOPIC.removesuffix("capture/")),
        profile=f"{profile.name} {profile.version}",
        fields=fields,
        placements=placements,
        purposes={
            purpose.name: Asked(
                asks=purpose.consent == "required",
                shares=purpose.shares,
                version=version_of(purpose.text),
                text=purpose.text,
            )
            for purpose in profile.purpose
            if purpose.name in named
        },
    )
