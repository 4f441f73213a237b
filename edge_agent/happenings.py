"""All that may come into the agent. Tagged, frozen, storable: a recorded run is a list of these."""

from typing import Literal

from msgspec import Struct

from firmware_configs.profile import Stage


class Message(Struct, frozen=True, kw_only=True, tag="message"):
    """An MQTT message arrived; it is acknowledged after the step that took it is committed."""

    topic: str
    payload: bytes
    qos: int = 1
    mid: int = 0
    """Packet identifier; 0 at QoS 0."""
    dup: bool = False
    """The broker delivers it again."""
    retain: bool = False
    """The broker keeps it, and delivers it again with each subscription."""
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""
    traceparent: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    """MQTT 5 user properties but for `traceparent` (CloudEvents binary mode keeps its attributes there)."""
    arrived_ms: int
    """Wall clock at arrival, unix ms."""


class Recorded(Struct, frozen=True, kw_only=True, tag="recorded"):
    """A minimised event from the journal, for replay."""

    source: str
    event_id: str
    event_time_ms: int
    subject: str
    fields: dict[str, float | str | bool]
    traceparent: str = ""


class Tick(Struct, frozen=True, kw_only=True, tag="tick"):
    """Time passed without news; at least every second."""

    settled_ms: int = 0
    """In the journal: the time by which windows were closed, unix ms; 0: that of the step."""
    looked: bool = False
    """In the journal: messages that wait or stand were looked at."""


class Connected(Struct, frozen=True, kw_only=True, tag="connected"):
    """The broker accepted us."""

    session_present: bool


class Delivered(Struct, frozen=True, kw_only=True, tag="delivered"):
    """The broker acknowledged outbox entry `entry`."""

    entry: int


class BundleReady(Struct, frozen=True, kw_only=True, tag="bundle-ready"):
    """The shell holds a checked bundle and a runner for it, and has made it the active one."""

    name: str
    version: str
    base: str = ""
    """The version that it replaced while the agent ran; empty: loaded at start."""
    reason: str = ""
    """Why this older version came back; empty: it did not."""


class BundleStaged(Struct, frozen=True, kw_only=True, tag="bundle-staged"):
    """The shell holds a checked bundle beside the active one, for a trial."""

    name: str
    version: str
    stage: Literal["shadow", "canary"]


class BundleWithdrawn(Struct, frozen=True, kw_only=True, tag="bundle-withdrawn"):
    """A bundle is no longer on trial; the active one serves everyone."""

    name: str
    version: str
    reason: str


class BundleAsked(Struct, frozen=True, kw_only=True, tag="bundle-asked"):
    """An operator of this device asks for a version that it holds."""

    name: str
    version: str = ""
    """Empty: give up what is on trial, or go back to the version before."""
    leaving: str = ""
    """What is to be given up; when it is neither on trial nor active any more, nothing happens. Empty: whatever is."""
    to: Stage = "full"


class BundleFailed(Struct, frozen=True, kw_only=True, tag="bundle-failed"):
    """A bundle could not be fetched, verified or loaded; the old one stays."""

    name: str
    version: str
    code: str
    reason: str


class DocumentFailed(Struct, frozen=True, kw_only=True, tag="document-failed"):
    """A profile or experiments were fetched and refused; what runs goes on."""

    kind: str
    name: str
    version: str
    code: str
    reason: str


class PeopleAsked(Struct, frozen=True, kw_only=True, tag="people-asked"):
    """An operator or the household says who is one person, or is not."""

    subjects: tuple[str, ...]
    same: bool
    """True: these are one person. False: the first is not the same as the others, or as anybody when it is alone."""


class EgressAsked(Struct, frozen=True, kw_only=True, tag="egress-asked"):
    """A child process asks to send bytes past the ledger (the learner's update)."""

    run: str = ""
    state: bytes = b""
    """What a learner that is cut after the answer goes on from; kept in one transaction with the ledger's row."""
    token: str
    kind: str
    destination: str
    bytes: int
    sha256: str
    privacy: str
    """DP cost in words, such as `clip 1.0, no noise`."""
    bundle: str = ""
    mu_squared: float = 0.0
    """What the device's own noise costs, as `firmware_configs.gaussian` counts it; 0: it adds none."""


class RoundTaken(Struct, frozen=True, kw_only=True, tag="round-taken"):
    """The learner has taken a round's message; what it goes on from when it is cut before it has answered."""

    run: str
    state: bytes


class Learned(Struct, frozen=True, kw_only=True, tag="learned"):
    """The learner trained: new personal parameters, by subject."""

    run: str
    bundle: str
    version: str
    personal: dict[str, bytes]
    """Subject → personal parameters, as `edge_agent.learn.parameters.pack` makes them."""
    examples: int
    loss_before: float
    loss_after: float


class LearnerEnded(Struct, frozen=True, kw_only=True, tag="learner-ended"):
    """The learner process is gone."""

    run: str
    code: str
    """Empty when all went well, else an error code."""
    reason: str = ""


class Allocated(Struct, frozen=True, kw_only=True, tag="allocated"):
    """The coordinator has moved the shares of an experiment's arms; recorded for replay, for shares decide arms."""

    experiment: str
    plan: str
    number: int
    shares: dict[str, float]


class Posted(Struct, frozen=True, kw_only=True, tag="posted"):
    """What came of one try of a letter."""

    key: str
    outcome: Literal["sent", "again", "refused"]
    """again: it can be tried later; it may have been sent all the same. refused: it never will be taken."""
    reason: str = ""
    """Never holds an address or a text."""
    wait_s: float = 0.0
    """How long the receiver wishes us to wait; 0: it says nothing."""


class Answered(Struct, frozen=True, kw_only=True, tag="answered"):
    """For replay, where requests are not asked again: what a decision on request leaves for others to heed."""

    delivery: bytes
    """As `edge_agent.decide.delivery.pack` makes it."""
    displaced: str = ""
    """Id of the decision that gave way."""


Happening = (
    Message
    | Recorded
    | Tick
    | Connected
    | Delivered
    | BundleReady
    | BundleStaged
    | BundleWithdrawn
    | BundleAsked
    | BundleFailed
    | DocumentFailed
    | PeopleAsked
    | EgressAsked
    | RoundTaken
    | Learned
    | LearnerEnded
    | Allocated
    | Posted
    | Answered
)
