"""What the agent and its children (learner, updater, probe, sender) say to each other, and how it is framed.

A frame is its length (4 bytes, big-endian) and one tagged struct in msgpack, over the child's standard
streams. The parent speaks first, with the task. When the parent is gone, the child's input ends: then it exits.
"""

import struct
import sys
from typing import BinaryIO, Literal, TypeVar

import msgspec
from msgspec import Struct

from edge_agent.errors import FrameMalformed
from edge_agent.settings import Push, Smtp
from firmware_configs.business import BusinessShape
from firmware_configs.fleet_drift import DriftShape
from firmware_configs.messages import Counts
from firmware_configs.profile import Policy, Segment, Stage
from firmware_configs.subgroups import Shape
from firmware_configs.targets import Kind

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Personal parameters of every subject go back in one frame."""

Word = TypeVar("Word")
_LENGTH = struct.Struct(">I")


class Learns(Struct, frozen=True, kw_only=True):
    """A placement whose policy learns."""

    name: str
    models: tuple[str, ...]
    policy: Policy


def egress_of(counts: Counts, *, statistic: bool) -> str:
    """The kind of egress by which a round's answer leaves."""
    if counts == "metrics":
        return "metric"
    return "statistic" if statistic else "update"


class LearnTask(Struct, frozen=True, kw_only=True, tag="learn-task"):
    """Take part in one federated round."""

    device: str
    run: str
    bundle: str
    version: str
    path: str
    """The active bundle's file."""
    database: str
    """The agent's SQLite file; open it read-only. Examples: shelf `example` with grp = `bundle`."""
    superlink: str
    """`host:port`."""
    ca: str
    """Certificate (PEM path) that the SuperLink's TLS must chain to; empty: no TLS (development only)."""
    node_key: str
    """Private key (PEM path, EC P-384) of this node."""
    app_hash: str
    closes_ms: int
    subjects: tuple[str, ...]
    """Whose examples may be learned from."""
    examples_max: int
    clip_norm: float
    """L2 norm that the profile allows an update; a plan may ask for less, never for more."""
    noise_multiplier: float
    """Gaussian noise of the device's own, as the profile declares it; 0: none."""
    epsilon_max: float | None = None
    """Where the device adds no noise of its own: what the coordinator's statement may come to, at `delta` or less."""
    delta: float = 1e-5
    population: str = ""
    """As whose part the coordinator may count this device; empty: any."""
    secret: bool = False
    """Whether the profile lets an update out only as part of a secret sum."""
    statistic: bool = False
    """Whether counts are asked for, and no update."""
    counts: Counts = ""
    """What is counted; empty: the offer does not tell."""
    segments: tuple[Segment, ...] = ()
    """By which they may be told apart."""
    shape: Shape | None = None
    """Of the sums that the profile lets be told of the model's groups; None: none."""
    drift: DriftShape | None = None
    """Of the detectors that the profile lets be added up; None: none."""
    business: tuple[BusinessShape, ...] = ()
    """Of the metrics that the profile lets be added up: by arm and by segment, and each with each."""
    placements: tuple[Learns, ...] = ()
    """Whose policies' sums may be asked for."""
    unlearn: bool = False
    """Whether the subjects withdrew, and this is their last update."""
    k_min: int = 1
    """Devices that must be added up before anyone may read the result."""
    device_class: str = ""
    """Of the profile."""
    examples_min: int = 0
    """Examples of those who agree that the offer wants; with fewer, nobody is connected to."""
    memory_mib: int = 256
    """Memory that the learner may use."""
    seed: bytes
    """32 bytes, for everything random in this round; after a cut the first learner's counts."""

    @property
    def egress(self) -> str:
        """As what the ledger enters what is sent."""
        return egress_of(self.counts, statistic=self.statistic)


class FetchTask(Struct, frozen=True, kw_only=True, tag="fetch-task"):
    """Fetch and verify one bundle, profile or set of experiments from the signed registry."""

    name: str
    version: str
    registry: str
    """HTTPS address."""
    ca: str
    trust_dir: str
    """Where TUF metadata is kept; holds at least `root.json`."""
    bundles_dir: str
    """Where `NAME-VERSION.edgeward` is put once it is verified."""
    to: Stage = "full"
    """Where it starts; the parent's own note, which the updater does not read."""
    backend: Literal["onnx", "tflite"] = "onnx"
    """What this device runs, so what the probe runs."""
    memory_mib: int = 128
    """What the profile lets the agent use."""
    kind: Kind = "bundle"
    fleet: str = ""
    """Of this device; a target of other fleets is refused."""
    rate_max: int = 0
    """Bytes a second at most; 0: as fast as the line is."""
    rate_min: int = 512
    """Bytes a second, on average, below which a server is given up."""
    patience_s: float = 30.0
    """How long it may be slower than that."""
    not_before_ms: int = 0
    """Unix ms that have passed for certain: metadata that had expired by then has, whatever the clock says."""
    attested: bool = False
    """Whether a bundle without an attestation is refused; one with a wrong attestation always is."""
    profile: str = ""
    """The profile that runs (path), which a new one is compared with."""
    approvals: int = 2
    """People who must have signed a profile that widens what is collected; 0: it is not asked for."""


class SealTask(Struct, frozen=True, kw_only=True, tag="seal-task"):
    """Close the days of the ledger that are over, and sign them."""

    device: str
    state_dir: str
    node_key: str
    """Private key (PEM path, EC P-384) of this node."""
    now_ms: int


class ProbeTask(Struct, frozen=True, kw_only=True, tag="probe-task"):
    """Load a bundle and compare its golden outputs, in a process that may crash."""

    path: str
    backend: Literal["onnx", "tflite"] = "onnx"
    memory_mib: int = 128
    """Private memory that the bundle may cost, MiB, beside the runtimes' own."""
    holds: str = ""
    """`NAME VERSION` that it must be; empty: anything."""
    cpu_s: int = 60
    """Processor time, s; the wall clock is limited along with it."""


class SendTask(Struct, frozen=True, kw_only=True, tag="send-task"):
    """Try these letters once each; every one of them is in the ledger."""

    letters: tuple[bytes, ...]
    """As `edge_agent.egress.letter.pack` makes them."""
    device: str
    smtp: Smtp
    push: Push


class EgressAnswer(Struct, frozen=True, kw_only=True, tag="egress-answer"):
    """Parent → learner: whether the ledger has entered what was asked."""

    token: str
    granted: bool
    reason: str = ""


class Took(Struct, frozen=True, kw_only=True, tag="took"):
    """Learner → parent: what to keep so that a learner that is cut now can go on."""

    run: str
    state: bytes
    """As `edge_agent.shell.held.pack` makes it; nobody else reads it."""


class AskEgress(Struct, frozen=True, kw_only=True, tag="ask-egress"):
    """Learner → parent: may these bytes leave? Nothing is sent before the answer."""

    run: str = ""
    state: bytes = b""
    """What to keep with the ledger's row, in one transaction; empty: nothing."""
    token: str
    kind: str
    destination: str
    bytes: int
    sha256: str
    privacy: str
    bundle: str = ""
    mu_squared: float = 0.0
    """What the device's own noise costs the budget of `bundle`: `firmware_configs.gaussian`; 0: it adds none."""


class TrainedReport(Struct, frozen=True, kw_only=True, tag="trained-report"):
    """Learner → parent: new personal parameters, by subject, packed by `edge_agent.learn.parameters.pack`."""

    run: str
    bundle: str
    version: str
    personal: dict[str, bytes]
    examples: int
    loss_before: float
    loss_after: float


class Fetched(Struct, frozen=True, kw_only=True, tag="fetched"):
    """Updater → parent: the verified file."""

    name: str
    version: str
    path: str
    sha256: str


class Tried(Struct, frozen=True, kw_only=True, tag="tried"):
    """Sender → parent: what came of one letter."""

    key: str
    outcome: Literal["sent", "again", "refused"]
    reason: str = ""
    """Never holds an address, a text, or what a server wrote."""
    wait_s: float = 0.0


class Ended(Struct, frozen=True, kw_only=True, tag="ended"):
    """Child → parent, the last word. `code` is empty when all went well, else an error code."""

    code: str = ""
    reason: str = ""


ToChild = LearnTask | FetchTask | ProbeTask | SendTask | SealTask | EgressAnswer
ToParent = Took | AskEgress | TrainedReport | Fetched | Tried | Ended

_encoder = msgspec.msgpack.Encoder()
_to_child = msgspec.msgpack.Decoder(ToChild)
_to_parent = msgspec.msgpack.Decoder(ToParent)


def frame(word: ToChild | ToParent) -> bytes:
    """`word` as it goes over the pipe.

    Raises:
        FrameMalformed: it is longer than FRAME_BYTES_MAX.
    """
    body = _encoder.encode(word)
    if len(body) > FRAME_BYTES_MAX:
        raise FrameMalformed(
            f"a {type(word).__name__} of {len(body)} bytes is above the limit of {FRAME_BYTES_MAX}",
            hint="lower the number of subjects or the size of the personal parameters",
        )
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Puts what a child writes back together; bytes in, words out, any split."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[ToParent]:
        """The words completed by `data`.

        Raises:
            FrameMalformed: a length above the limit, or bytes that are no word of a child.
        """
        self._held += data
        words: list[ToParent] = []
        while len(self._held) >= _LENGTH.size:
            length = _checked_length(self._held)
            if len(self._held) < _LENGTH.size + length:
                break
            body = bytes(self._held[_LENGTH.size : _LENGTH.size + length])
            del self._held[: _LENGTH.size + length]
            words.append(_decoded(_to_parent, body))
        return words


class ParentLine:
    """The child's end: blocking, one word at a time."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer

    def receive(self) -> ToChild | None:
        """The parent's next word; None when the parent is gone, then it is time to exit.

        Raises:
            FrameMalformed: what came is no word of a parent.
        """
        head = self._reader.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        length = _checked_length(head)
        body = self._reader.read(length)
        return _decoded(_to_child, body) if len(body) == length else None

    def send(self, word: ToParent) -> None:
        """Say something to the parent.

        Raises:
            BrokenPipeError: the parent is gone.
        """
        self._writer.write(frame(word))
        self._writer.flush()


def parent_line() -> ParentLine:
    """The line of this process to the agent; from then on `print` goes to stderr, which the agent logs."""
    line = ParentLine(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout = sys.stderr
    return line


def _checked_length(head: bytes | bytearray) -> int:
    (length,) = _LENGTH.unpack_from(head)
    if length > FRAME_BYTES_MAX:
        raise FrameMalformed(
            f"a frame announces {length} bytes, at most {FRAME_BYTES_MAX} are read",
            hint="agent and child differ in version, or something else wrote to the pipe; restart the agent",
        )
    return int(length)


def _decoded(decoder: "msgspec.msgpack.Decoder[Word]", body: bytes) -> Word:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameMalformed(
            f"not a word of this protocol: {error}",
            hint="agent and child are of different versions; restart the agent",
        ) from error
