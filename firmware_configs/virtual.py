"""What a fleet simulation says to the processes that hold its virtual devices, and what they answer.

The coordinator's side decides when something happens to whom; the agent's side lives the devices. They meet only here,
as real devices and a real coordinator meet only in `firmware_configs.messages`.
"""

import struct
from collections.abc import Sequence
from typing import Annotated, BinaryIO, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")
HOURS = 24
HOUR_MS = 3_600_000
DAY_MS = HOURS * HOUR_MS
FRAME_BYTES_MAX = 1 << 30
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Day = Annotated[tuple[Annotated[float, Meta(ge=0.0, le=1e9)], ...], Meta(min_length=HOURS, max_length=HOURS)]
Bytes = Annotated[bytes, Meta(max_length=FRAME_BYTES_MAX)]
ALWAYS: Day = (1.0,) * HOURS

COUNTED = (
    "events",
    "decisions",
    "fallbacks",
    "answered",
    "clicks",
    "shown_liked",
    "examples",
    "messages",
    "bytes_decision",
    "bytes_status",
    "bytes_update",
    "bytes_other",
    "bytes_fetched",
    "rejected",
    "dropped",
    "withheld",
)
"""What virtual devices count, hour by hour. `shown_liked`: decisions whose first item is of the taste of whom it is
for, known to the simulation alone. `dropped`: events without consent. `withheld`: sends that the ledger refused."""


class Taste(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="taste"):
    """An item of the bundle's catalogue, mostly of the person's own group."""


class Normal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="normal"):
    """A number, normally distributed."""

    mean: float = 0.0
    deviation: Annotated[float, Meta(ge=0.0)] = 1.0


class Flag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="flag"):
    """True or false."""

    share: Share = 0.5


class Word(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="word"):
    """One of several words, each as likely."""

    words: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(min_length=1)]


Value = Taste | Normal | Flag | Word


class Events(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one source of the profile brings."""

    source: str
    per_day: Annotated[float, Meta(ge=0.0, le=100_000.0, description="of a device, mean of a Poisson distribution")]
    hours: Annotated[Day, Meta(description="weight of each hour of the day (UTC) for when they come")] = ALWAYS
    fields: Annotated[dict[str, Value], Meta(description="the profile's field → how its value is drawn")] = {}

    @property
    def picks(self) -> bool:
        """Whether it tells what somebody picked."""
        return any(isinstance(value, Taste) for value in self.fields.values())


class Feedback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people say of what was decided for them."""

    placement: str
    answered: Annotated[Share, Meta(description="of the decisions that get an answer at all")] = 0.5
    liked: Annotated[Share, Meta(description="how often an item of one's own taste is taken")] = 0.7
    other: Annotated[Share, Meta(description="how often another item is")] = 0.1
    click: str = "click"
    dismiss: str = "dismiss"
    delay_s: Annotated[float, Meta(ge=1.0, le=86_400.0, description="from the decision to the answer")] = 30.0


class People(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who lives with a device."""

    count: Annotated[int, Meta(ge=1, le=16)] = 1
    consent: Annotated[Share, Meta(description="of them who agree to all that the profile asks for")] = 1.0
    tastes: Annotated[int, Meta(ge=1, le=1_000, description="groups that items and people fall into")] = 4
    focus: Annotated[Share, Meta(description="how often a person picks from the own group; else from all")] = 0.8


class Drift(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People whose taste becomes another one."""

    share: Share = 0.0
    after_hours: Annotated[float, Meta(ge=0.0, le=1e6, description="since the start")] = 0.0


class Attackers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices whose agent was replaced: they train as asked, and send something else."""

    share: Share = 0.0
    kind: Annotated[
        Literal["sign-flip", "noise", "scale"],
        Meta(description="sign-flip: the opposite. noise: random numbers of the same length. scale: too much"),
    ] = "sign-flip"
    factor: Annotated[float, Meta(gt=0.0, le=1e6, description="how many times as long as an honest update")] = 1.0


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is assumed of devices and of the people around them."""

    people: People = People()
    event: tuple[Events, ...] = ()
    feedback: Feedback | None = None
    drift: Drift = Drift()
    attackers: Attackers = Attackers()
    tick_s: Annotated[
        float,
        Meta(ge=1.0, le=86_400.0, description="how often an agent is told that time passes; real ones: every second"),
    ] = 3_600.0


class World(Struct, frozen=True, kw_only=True, tag="world"):
    """The first word: what the devices of a process are, and from when on they live."""

    behaviour: Behaviour
    profile: str
    """Path."""
    bundles: tuple[str, ...]
    """Paths; the first that has a catalogue gives the items that people pick from."""
    folder: str
    """Where later versions of the bundles lie, as `NAME-VERSION.edgeward`."""
    seed: int
    start_ms: int
    hours: int
    """How many hours are counted."""
    cohort: str = ""
    """Path of the ratings of people who live with the devices; empty: people are drawn."""
    engine: Literal["vector", "single"] = "vector"
    """single: clients are trained one by one, by `train_step.onnx`; vector: side by side where the bundle allows it."""


class Live(Struct, frozen=True, kw_only=True, tag="live"):
    """Let devices live until a moment, and tell some of them what the coordinator wants of them there."""

    devices: tuple[int, ...]
    until_ms: int
    desired: tuple[bytes, ...] = ()
    """One for each device, as `firmware_configs.messages.Desired` in msgpack; empty: nobody is told anything."""
    line_bytes_s: tuple[float, ...] = ()
    """One for each device: how fast a bundle comes down; empty: at once."""
    wants_state: bool = False
    """Whether what they report of their bundles is asked for."""
    ends: bool = False
    """Whether it is the last of them: then nothing is kept."""

    def of(self, places: Sequence[int]) -> "Live":
        """The same for some of its devices, by their places."""
        return msgspec.structs.replace(
            self,
            devices=_some(self.devices, places),
            desired=_some(self.desired, places),
            line_bytes_s=_some(self.line_bytes_s, places),
        )


class Exercise(Struct, frozen=True, kw_only=True, tag="exercise"):
    """Let devices live until a round, offer it to them, and have those that take part train."""

    devices: tuple[int, ...]
    until_ms: int
    desired: tuple[bytes, ...]
    """With the offer."""
    plan: dict[str, object]
    """As a round's message carries it, see `edge_agent.learn.plan.Plan`."""
    shared: Bytes
    """float32, little-endian: the shared parameters end to end."""
    attackers: tuple[int, ...] = ()
    """Of `devices`."""

    def of(self, places: Sequence[int]) -> "Exercise":
        """The same for some of its devices, by their places."""
        devices, hostile = _some(self.devices, places), set(self.attackers)
        return msgspec.structs.replace(
            self,
            devices=devices,
            desired=_some(self.desired, places),
            attackers=tuple(device for device in devices if device in hostile),
        )


class Lived(Struct, frozen=True, kw_only=True, tag="lived"):
    """What devices have done: sent now and then, and at the end with `done`."""

    devices: int
    """How many have got there since the word before."""
    done: bool = False
    counts: dict[str, list[int]] = {}
    """Of `COUNTED`: hour since the start → how many, since the word before."""
    versions: dict[str, list[int]] = {}
    """`NAME VERSION` that decided → decisions by hour."""
    arms: dict[str, dict[str, int]] = {}
    """`PLACEMENT ARM` → decisions, answered, clicks since the word before."""
    states: dict[int, bytes] = {}
    """Device → its newest report, `firmware_configs.messages.Reported` in msgpack."""
    steps: int = 0
    """Times that `agent.step` was called."""
    cpu_s: float = 0.0
    kept_bytes: int = 0
    """Of suspended devices, once done."""
    rss_bytes: int = 0
    """Largest resident memory of the process so far."""


class Reply(Struct, frozen=True, kw_only=True):
    """One device's answer to a round."""

    device: int
    refused: str = ""
    """Code or state, in which case there is nothing else."""
    delta: bytes = b""
    """int8: the update, end to end."""
    facts: dict[str, object] = {}
    steps: int = 0
    """Of the optimiser."""
    examples: int = 0


class Exercised(Struct, frozen=True, kw_only=True, tag="exercised"):
    """The answers of a round."""

    replies: tuple[Reply, ...]
    train_s: float = 0.0
    """CPU seconds of training and packing alone."""


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The process cannot go on."""

    what: str
    hint: str


def _some(values: tuple[T, ...], places: Sequence[int]) -> tuple[T, ...]:
    return tuple(values[place] for place in places) if values else ()


ToDevices = World | Live | Exercise
ToSimulation = Lived | Exercised | Failed
_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode


def send(stream: BinaryIO, word: ToDevices | ToSimulation) -> None:
    """One frame: its length (4 bytes, big-endian), and the struct in msgpack."""
    packed = _encode(word)
    stream.write(_LENGTH.pack(len(packed)) + packed)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """The next frame's bytes; None at the end.

    Raises:
        ValueError: it is longer than FRAME_BYTES_MAX, or cut off.
    """
    head = stream.read(_LENGTH.size)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head) if len(head) == _LENGTH.size else (FRAME_BYTES_MAX + 1,)
    body = stream.read(length) if length <= FRAME_BYTES_MAX else b""
    if len(body) != length:
        raise ValueError(f"a frame of {length} bytes is cut off or too long")
    return body
