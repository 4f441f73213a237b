"""One decision and its trail: everything that `edge-agent explain` tells, written when it was decided."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

Fallback = Literal["", "standing", "cached", "popular", "rules", "default"]
"""Who decided, when no policy did; `standing`: a choice that is held for a while."""
Held = Literal["", "budget", "floor", "baseline"]
"""What held exploration back in a decision: the last of these that changed a probability."""


class Fired(Struct, frozen=True, array_like=True):
    """A rule that applied."""

    name: str
    effect: str
    reason: str
    items: int
    """How many candidates it touched."""


class Scored(Struct, frozen=True, array_like=True):
    """One of the best candidates."""

    item: str
    score: float
    eligible: bool


class Shadowed(Struct, frozen=True, array_like=True):
    """What a version in shadow would have done, for the trail."""

    model: str
    version: str
    score: float
    """Of the item that was chosen."""
    best: str
    """Its own best candidate."""
    error: str = ""


class Considered(Struct, frozen=True, array_like=True):
    """One of the channels by which a decision could have gone."""

    channel: str
    said: Literal["carries", "shut", "spare"]
    """spare: another one carries it."""
    reason: str = ""


class Reached(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a decision was to reach its person, as of when it was made; what came of it is kept beside the trail."""

    person: str
    theme: str
    importance: str
    standing: str = ""
    """Id of the decision whose choice this one repeats."""
    displaced: str = ""
    """Id of the decision of the same theme that gave way to this one."""
    considered: tuple[Considered, ...] = ()
    due_ms: int = 0
    """Unix ms before which it is not delivered; 0: at once, or as soon as a channel opens."""
    moment: str = ""
    """Why then."""
    expires_ms: int = 0
    until_ms: int = 0


class Kin(Struct, frozen=True, array_like=True):
    """A link between two subjects of the person. They are marks, not names: only while the subjects are known on this
    device can it be told whom they mean."""

    one: str
    other: str
    kind: str
    """word, login, pairing or likely."""
    name: str
    """Of the [[identity.link]]."""
    confidence: float
    since_ms: int


class Trail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a decision came about."""

    id: str
    placement: str
    event_id: str
    subject: str
    trigger: str
    """The event's source, or `request`."""
    fields: dict[str, float | str | bool]
    """The minimised fields that were used."""
    features: dict[str, list[float]] = {}
    """Model input → the row that was served."""
    outputs: dict[str, float] = {}
    """Model → score of the chosen item."""
    rules: tuple[Fired, ...] = ()
    candidates: int
    eligible: int
    top: tuple[Scored, ...] = ()
    items: tuple[str, ...]
    score: float
    propensity: float
    policy: str
    experiment: str = ""
    arm: str = ""
    channel: str
    fallback: Fallback = ""
    fallback_reason: str = ""
    bundles: dict[str, str] = {}
    shadow: tuple[Shadowed, ...] = ()
    profile: str
    event_time_ms: int
    decided_ms: int
    traceparent: str = ""
    layer: str = ""
    """Of the experiment."""
    arm_probability: float = 1.0
    """With which a person of the experiment comes into this arm; times `propensity` it is how likely the choice was."""
    allocation: int = 0
    """Number of the shares that held; 0: the profile's own."""
    left_out: str = ""
    """Why the person is in no arm, at a placement that has an experiment."""
    propensities: tuple[float, ...] = ()
    """Of a slate of several: the probability of each position's item given the items above it."""
    estimate: float = 0.0
    """Reward that the policy expected of the first item, where it estimates one."""
    uncertainty: float = 0.0
    """Standard deviation of that."""
    held: Held = ""
    """What held exploration back."""
    prior: tuple[float, ...] = ()
    """The model's scores of the items as probabilities, where the policy learns their correction."""
    waits: int = 0
    """Where the decision waits for an outcome; 0: it does not."""
    scale: str = ""
    """`rank` where the scores are logits; empty: probabilities."""
    rules_untold: int = 0
    """Rules that applied beyond those in `rules`."""
    silence: float | None = None
    """Reward of an item whose window closes without an outcome; None: silence is no outcome."""
    reach: Reached | None = None
    kin: tuple[Kin, ...] = ()
    """What made the subject one of several of a person, when it was decided."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Trail)


def pack(trail: Trail) -> bytes:
    """The stored form."""
    return _encoder.encode(trail)


def unpack(packed: bytes) -> Trail:
    """The trail of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(packed)


def decision_id(event_id: str, placement: str, profile: str, bundles: Mapping[str, str]) -> str:
    """The same event gives the same decision id under the same versions, so a redelivery repeats nothing.

    Returns:
        32 hex digits: the first 16 bytes of SHA-256.
    """
    versions = "".join([f"\x00{name}={version}" for name, version in bundles.items()])
    return hashlib.sha256(f"{event_id}\x00{placement}\x00{profile}{versions}".encode()).hexdigest()[:32]
