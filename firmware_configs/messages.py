"""Topics and payloads: everything that crosses the wire between devices, coordinator and apps.

The coordinator and the agent both import this and never each other. Payloads are msgpack by default and
JSON on request; the MQTT 5 Content Type says which (`application/msgpack`, `application/json`).
"""

from typing import Literal

from msgspec import Struct

from firmware_configs.histogram import Histogram

ROOT = "edgeward/1"
MSGPACK = "application/msgpack"
JSON = "application/json"


class Topics(Struct, frozen=True):
    """The topics of one device: `edgeward/1/{device}/…`."""

    device: str
    root: str = ROOT

    def of(self, *parts: str) -> str:
        """A topic under this device, such as `of("decision", "evening-pick")`."""
        return "/".join((self.root, self.device, *parts))


class DecisionMade(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`…/decision/{placement}`, or the Response Topic of a request. Also the `decided` row on the device."""

    id: str
    placement: str
    items: tuple[str, ...]
    propensity: float
    """Probability with which the policy chose `items[0]` given everything it knew; in (0, 1]."""
    score: float
    subject: str
    channel: str = "app"
    arm: str = ""
    fallback: Literal["", "standing", "cached", "popular", "rules", "default"] = ""
    bundles: dict[str, str] = {}
    """Bundle name → version that scored."""
    profile: str = ""
    event_time_ms: int = 0
    decided_ms: int = 0
    traceparent: str = ""
    correlation: str = ""
    """Echoed from a request that named its reply topic in the payload."""
    propensities: tuple[float, ...] = ()
    """Of a slate of several: the probability of each position's item given the items above it."""
    retracted: str = ""
    """Why the message of this id is taken back; then `items` is empty. Empty: it is not."""


class Feedback(Struct, frozen=True, kw_only=True):
    """`…/feedback`: what became of a decision."""

    decision_id: str
    outcome: str
    """One of the placement's [[placement.reward]] outcomes."""
    item: str = ""
    """Which item of the slate; empty: the first."""
    time_ms: int = 0
    """When it happened, unix ms; 0: at arrival."""


class Consent(Struct, frozen=True, kw_only=True):
    """`…/consent/{subject}` (retained): the newest word of a person about one purpose each."""

    purposes: dict[str, bool]
    """Yes or no; a no to a purpose of legitimate interests is an objection (GDPR Art. 21), a yes takes it back."""
    time_ms: int
    receipt: str = ""
    """Id of the receipt that the person has."""
    versions: dict[str, str] = {}
    """Purpose → version of the text that the person read; a yes to another text than the profile's does not count."""
    gpc: bool = False
    """Global Privacy Control: no to every purpose that sells or shares, whatever else is said here."""


class Request(Struct, frozen=True, kw_only=True):
    """`…/request/{placement}`, answered on the Response Topic with the Correlation Data.

    MQTT 3.1.1 has neither: there `reply_to` names the topic and `correlation` is echoed in the answer, which comes in
    the format of the request. Without either, the answer goes to `…/decision/{placement}`.
    """

    subject: str = ""
    items: tuple[str, ...] = ()
    """Candidates to choose from; empty: the placement's own."""
    fields: dict[str, float | str | bool] = {}
    """Context that the profile's fields name; others are dropped."""
    reply_to: str = ""
    """Topic for the answer where MQTT 5's Response Topic cannot be had; that one wins."""
    correlation: str = ""
    """Echoed in the answer; at most 256 characters."""


class Rejected(Struct, frozen=True, kw_only=True):
    """`…/rejected`: one sampled rejection; never holds the payload."""

    code: str
    source: str
    reason: str
    count: int
    time_ms: int


class Alert(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`…/alert`: something needs a person; once when it begins, when its severity changes, and when it is over."""

    device: str
    kind: Literal["burn-rate", "drift"]
    name: str
    """Of the objective or detector, as the profile calls it; with `kind` it tells alerts apart."""
    state: Literal["firing", "resolved"]
    severity: Literal["page", "ticket"]
    """page: somebody should look now; ticket: in the next days."""
    what: str
    """A sentence for people, in counts; never about a person."""
    value: float
    """What was measured: of `burn-rate`, how many times too fast the error budget is spent."""
    threshold: float
    """At or above which it fires."""
    window_s: float = 0.0
    """Over how long it was measured, seconds; 0: it has no window."""
    placement: str = ""
    bundle: str = ""
    since_ms: int
    """When it began, unix ms."""
    time_ms: int


Counts = Literal["", "scores", "subgroups", "bandit", "drift", "metrics"]
"""What a round of counts asks for. `scores` and `subgroups` are counted on training examples; empty: not told, as older
coordinators do, and taken for these."""


class RoundOffer(Struct, frozen=True, kw_only=True):
    """A hint that a round is open; the device decides whether it takes part."""

    run: str
    bundle: str
    version: str
    superlink: str
    """`host:port` of the SuperLink."""
    app_hash: str
    """sha256 (hex) of the app bundle that the SuperLink offers; never executed, only compared."""
    closes_ms: int
    kind: Literal["train", "unlearn", "statistic"] = "train"
    """unlearn: for the last updates of those who withdrew, and nobody else. statistic: for counts, and no update."""
    counts: Counts = ""
    """Of a statistic: what is counted, as its message says it too; devices take part that have something of it."""
    classes: tuple[str, ...] = ()
    """Classes of devices that are asked, as `[device] class` of their profiles; empty: any."""
    examples_min: int = 0
    """Examples that a device must have counted to take part."""
    window_ms: int = 0
    """Over how long devices begin, each at a moment of its own; 0: at once."""
    opens_ms: int = 0
    """When that begins, unix ms."""


class Shares(Struct, frozen=True, kw_only=True):
    """How the people of an experiment are shared out among its arms from now on."""

    plan: str
    """Hash of the experiment's definition; a device that runs another one does not listen."""
    number: int
    """Rises with every change; an older one is ignored. The profile's own shares are 0."""
    shares: dict[str, float]
    """Arm → probability; they sum to one. 0: nobody comes into it."""


class ExperimentReport(Struct, frozen=True, kw_only=True):
    """`…/experiment/{name}` (retained): a device's sums over the people whom it has measured."""

    device: str
    experiment: str
    plan: str
    """Hash of the experiment's definition, 16 hex digits: only sums of one plan are added up."""
    tables: dict[int, list[list[float]]]
    """Number of the shares that held → for each arm [people, then for each metric: z, z², w, w², z·w]; see
    `models.experiments.sums`. Everything since the experiment began: a report that is lost or repeated does no harm."""
    time_ms: int


class Watch(Struct, frozen=True, kw_only=True):
    """How closely a rollout looks at a new version; while it is wanted, the version stays compared with the old one."""

    every_s: float = 60.0
    """Seconds between two reports of a trial."""


class Desired(Struct, frozen=True, kw_only=True):
    """`…/desired` (retained): what the coordinator wants of this device."""

    revision: int
    """Rises with every change; an older one is ignored, and so is another one of the same number."""
    bundles: dict[str, str] = {}
    """Bundle name → version to run."""
    registry: str = ""
    """HTTPS address of the signed registry."""
    rollout: Literal["", "shadow", "canary", "full"] = ""
    """Where a new version starts: scored beside the old one, serving a share of the subjects, or serving everyone;
    empty: as the profile's [model.swap] says."""
    offer: RoundOffer | None = None
    experiments: dict[str, Shares] = {}
    """Experiment → shares of its arms."""
    device: str = ""
    """Whom it is for; another device ignores it. Empty: whose topic it is."""
    by: str = ""
    """Id of the coordinator that wrote it; a device that was enrolled with another one ignores it. Empty: not told."""
    documents: dict[str, str] = {}
    """`profile`, `experiment` → `NAME-VERSION` of the fleet's, to run; neither: the device's own."""
    maintenance: tuple[str, ...] = ()
    """Windows such as `mon-fri 02:00-05:00`, within those of the profile; empty: as the profile says."""
    watch: dict[str, Watch] = {}
    """Bundle → how its new version is watched; left out: as the profile's [model.swap] says."""


class Tally(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a device counted of one version on trial: sums, which add up over a fleet."""

    decisions: int = 0
    errors: int = 0
    """Calls that failed, and decisions that overran their budget."""
    calls: dict[int, int] = {}
    """Calls by how long they took: a bucket's number as in `firmware_configs.histogram` → how many."""
    rewards: int = 0
    reward: float = 0.0
    """Sum of the rewards, each in [0, 1]."""
    squares: float = 0.0
    """Sum of their squares."""


class Sums(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A trial in sums, since its stage began (`old`: calls and rewards since the trial began)."""

    new: Tally = Tally()
    old: Tally = Tally()
    compared: int = 0
    """Decisions for which both versions scored."""
    agreed: int = 0
    """Of them, those in which both had the same best candidate."""


INTERRUPTED = frozenset({"AGT701", "AGT704", "AGT707", "AGT712", "AGT802", "AGT803"})
"""Codes of a state `failed` that say nothing of the version: it has not arrived, and the device tries again by itself.
No line, a line that is too slow, an updater that was ended or took too long; metadata that has expired by the
device's clock, which may be wrong for a while; no room on its disk."""


class BundleState(Struct, frozen=True, kw_only=True):
    """What runs, or why it does not."""

    version: str
    state: Literal["active", "fetching", "failed", "shadow", "canary", "returned", "waiting"]
    """shadow, canary: on trial beside the version that serves. returned: was tried, and gave way. waiting: for a
    maintenance window."""
    reason: str = ""
    """Code and text when failed; why it gave way when returned."""
    serving: str = ""
    """The version that serves meanwhile, where that is another one."""
    figures: dict[str, float] = {}
    """Of a trial: decisions, errors, mean milliseconds and mean reward of both versions, how often they agree."""
    sums: Sums | None = None
    """The same as sums, while a rollout watches (`Desired.watch`)."""

    @property
    def interrupted(self) -> bool:
        """Whether it failed to arrive, which is no word about the version."""
        return self.state == "failed" and self.reason.partition(" ")[0] in INTERRUPTED


class Reported(Struct, frozen=True, kw_only=True):
    """`…/reported` (retained): what this device runs."""

    device: str
    revision: int
    """Of the `desired` that was taken last."""
    bundles: dict[str, BundleState]
    learning: str = ""
    """State of the newest round here: "", "waiting" (for a maintenance window), "running", "sent", or an error code."""
    run: str = ""
    ledger_head: str = ""
    """Hash of the newest ledger row, hex."""
    time_ms: int = 0
    documents: dict[str, BundleState] = {}
    """`profile`, `experiment` → what runs, or why it does not."""
    ignored: str = ""
    """Why the newest `desired` was not taken: `stale`, `conflict`, `foreign` or `invalid`, and in words."""


class Status(Struct, frozen=True, kw_only=True):
    """`…/status` (retained; last will says online = false)."""

    device: str
    online: bool
    agent: str = ""
    profile: str = ""
    device_class: str = ""
    """`[device] class` of its profile; empty: not told."""
    counters: dict[str, int] = {}
    signal_to_decision_ms: dict[str, Histogram] = {}
    """Placement → from the signal's event time until the decision was handed to the socket, since the start."""
    arrival_to_decision_ms: dict[str, Histogram] = {}
    """The same from the reading of the event."""
    complete_to_ms: int = 0
    """The combined watermark, unix ms: no event before it is expected of a source that is not idle; 0: unknown."""
    ledger_seal: bytes = b""
    """The newest day of the ledger, sealed: `firmware_configs.ledger.Seal` in msgpack; empty: none yet."""
    time_ms: int = 0
