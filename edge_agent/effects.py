"""All that the agent may ask of the shell. One step's effects commit in one transaction, then happen.

Order of performance: every `Put`, `Drop`, `Append` and `Send` of a step is written in one SQLite transaction;
then what is to be sent is published, then messages are acknowledged, then the rest (`Fetch`, `Switch`, `Train`,
`Answer`, `Post`, `Log`) happens.
"""

from typing import Literal

from msgspec import Struct

from edge_agent.egress.ledger import Entered
from firmware_configs.messages import Counts
from firmware_configs.profile import Stage
from firmware_configs.targets import Kind

Room = Literal[
    "profile",
    "dedupe",
    "watermark",
    "consent",
    "bandit",
    "caps",
    "personal",
    "round",
    "ledger",
    "session",
    "experiment",
    "meta",
    "touch",
    "due",
    "metric",
    "withheld",
    "standing",
    "popular",
    "contacts",
    "known",
    "delivery",
    "delivered",
    "letter",
    "identity",
]
Shelf = Literal["decision", "example", "journal", "outcome"]


class Put(Struct, frozen=True, kw_only=True, tag="put"):
    """Store `value` as the state of `room` under `key`."""

    room: Room
    key: str
    value: bytes
    expires_ms: int = 0
    """Unix ms after which the row may be deleted; 0: kept."""


class Drop(Struct, frozen=True, kw_only=True, tag="drop"):
    """Forget the state of `room` under `key`."""

    room: Room
    key: str


class Erase(Struct, frozen=True, kw_only=True, tag="erase"):
    """Delete a subject's rows of a shelf, those of this very step too."""

    shelf: Shelf
    group: str
    subject: str


class Append(Struct, frozen=True, kw_only=True, tag="append"):
    """Add a row to a shelf; a row with the same id is left as it is."""

    shelf: Shelf
    id: str
    group: str
    """What it is looked up by: the placement, or the bundle's name."""
    value: bytes
    made_ms: int
    expires_ms: int
    subject: str = ""
    """Whose it is, so that erasure finds it."""


class Send(Struct, frozen=True, kw_only=True, tag="send"):
    """Publish over MQTT by way of the outbox. Only the ledger makes `Entered`."""

    entered: Entered
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    content_type: str = ""
    correlation: bytes = b""
    traceparent: str = ""
    expires_ms: int = 0
    """Unix ms after which it is not worth sending; 0: never expires."""
    placement: str = ""
    """Of a decision."""
    signal_ms: int = 0
    """Event time of what a decision is about, unix ms."""


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """Reply to `EgressAsked`."""

    token: str
    granted: bool
    reason: str = ""


class Fetch(Struct, frozen=True, kw_only=True, tag="fetch"):
    """Have the updater fetch, verify and try a bundle, a profile or experiments."""

    name: str
    version: str
    registry: str
    to: Stage = "full"
    """Where it starts once it is here."""
    kind: Kind = "bundle"


class Switch(Struct, frozen=True, kw_only=True, tag="switch"):
    """Change what runs of a bundle, with files that are here: the shell loads, and answers with a happening."""

    name: str
    version: str
    to: Stage | Literal["out"]
    """shadow, canary: on trial beside the active version. full: active. out: no longer on trial."""
    reason: str = ""
    """Why an older version is taken back, or a trial ended; empty: it goes forward."""


class Train(Struct, frozen=True, kw_only=True, tag="train"):
    """Start the learner for an offered round."""

    run: str
    bundle: str
    version: str
    superlink: str
    app_hash: str
    closes_ms: int
    subjects: tuple[str, ...]
    """Whose examples may be learned from: those who agree to it now."""
    statistic: bool = False
    """Whether counts are asked for, and no update."""
    counts: Counts = ""
    """What is counted; empty: it was not told."""
    examples_min: int = 0
    """Examples that must be there to take part."""
    unlearn: bool = False
    """Whether it is the last update of those who withdrew; then the subjects are they."""


class Post(Struct, frozen=True, kw_only=True, tag="post"):
    """Have the sender try a letter once; the shell answers with `Posted`. Only the ledger makes `Entered`."""

    entered: Entered
    key: str
    letter: bytes
    """As `edge_agent.egress.letter.pack` makes it."""


class Log(Struct, frozen=True, kw_only=True, tag="log"):
    """One line for the operator; never personal data."""

    level: Literal["debug", "info", "warning", "error"]
    code: str
    text: str


Effect = Put | Drop | Erase | Append | Send | Answer | Fetch | Switch | Train | Post | Log
