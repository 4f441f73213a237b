"""A rollout and its devices as values; what is heard of them, what a person wishes, and what follows."""

from typing import Literal

from msgspec import Struct

from coordinator.rollout.plan import Plan
from coordinator.rollout.pools import Pools
from firmware_configs.messages import BundleState, Sums, Watch

State = Literal["planned", "soaking", "paused", "halted", "rolling-back", "rolled-back", "done"]
ENDED: frozenset[State] = frozenset({"rolled-back", "done"})
MemberState = Literal["waiting", "asked", "trying", "settled", "failed", "returning", "returned"]
"""waiting: was not asked yet. asked: has not said anything of it yet. trying: runs it. settled: has made enough
decisions with it. failed: refused it, or went back by itself. returning, returned: of the rollback."""
ENGINE = "rollout"
"""Who does what nobody asked for."""


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One device of a rollout. Times are watched time, see `Rollout.watched_ms`."""

    device: str
    cohort: int
    before: str
    """The version that serves before; what a rollback goes back to."""
    groups: tuple[str, ...] = ()
    state: MemberState = "waiting"
    online: bool = True
    """False: its last will was heard, and nothing since."""
    silent: bool = False
    """Has said nothing for longer than the plan allows, with the version."""
    asked_ms: int = 0
    heard_ms: int = -1
    """-1: never."""
    decisions: int = 0
    """By the new version, all stages together."""
    load: float = 0.0
    """Decisions a second, both versions together, between its two newest reports."""
    stage: str = ""
    """Where its trial stands; fetching, waiting: of one that was asked and does not run it yet."""
    sums: Sums | None = None
    """Of its newest report: what comes next is counted from there."""
    sums_ms: int = 0
    """When those were heard."""
    reason: str = ""
    """Why it failed, or why it is not there yet."""


class Finding(Struct, frozen=True, kw_only=True):
    """What one guard says."""

    guard: str
    breached: bool
    text: str
    evidence: dict[str, float] = {}
    passed: bool = True
    """False: this alone does not let a cohort pass yet."""


class Rollout(Struct, frozen=True, kw_only=True):
    """One rollout. Only `coordinator.rollout.machine` makes the next one of it."""

    key: str
    plan: Plan
    registry: str
    """HTTPS address that devices fetch from."""
    state: State = "planned"
    cohort: int = 0
    """The one that is asked, or soaks; from 0."""
    watched_ms: int = 0
    """Time that somebody watched: while the coordinator is down it stands still, so that nothing soaks unseen."""
    now_ms: int = 0
    """Unix ms of the last step."""
    soaking_ms: int = -1
    """When the soak of this cohort began; -1: not yet."""
    members: dict[str, Member] = {}
    pools: Pools = Pools()
    cohort_decisions: int = 0
    cohort_rewards: int = 0
    """Of the new version since this cohort's first device was asked, by its devices."""
    findings: tuple[Finding, ...] = ()
    looked: int = -1
    """Samples in the pools at the last look."""
    reason: str = ""
    """Why it was halted."""
    started_ms: int = 0
    left_out: dict[str, str] = {}
    """Device → why it takes no part."""


class Heard(Struct, frozen=True, kw_only=True, gc=False):
    """A device's report."""

    device: str
    bundle: BundleState | None
    """None: it says nothing of the bundle."""
    fresh: bool = True
    """False: retained by the broker, of an unknown age."""


class Presence(Struct, frozen=True, kw_only=True, gc=False):
    """A device's status, or its last will."""

    device: str
    online: bool
    fresh: bool = True


class Wish(Struct, frozen=True, kw_only=True):
    """What a person asks for."""

    kind: Literal["start", "pause", "resume", "promote", "rollback"]
    who: str
    reason: str = ""


Observation = Heard | Presence | Wish


class Order(Struct, frozen=True, kw_only=True, gc=False):
    """What is wanted of one device's bundle from now on."""

    device: str
    version: str
    rollout: Literal["", "shadow", "canary", "full"]
    watch: Watch | None


class Note(Struct, frozen=True, kw_only=True):
    """One line of the audit log, before it is numbered and chained."""

    at_ms: int
    who: str
    what: str
    why: str = ""
    devices: tuple[str, ...] = ()
    evidence: dict[str, float] = {}


class Step(Struct, frozen=True, kw_only=True):
    """What one step came to."""

    rollout: Rollout
    orders: tuple[Order, ...] = ()
    notes: tuple[Note, ...] = ()


def at_risk(rollout: Rollout) -> list[Member]:
    """The devices that may hold the version and have not settled with it."""
    return [member for member in rollout.members.values() if member.state in {"asked", "trying"}]


def touched(rollout: Rollout) -> list[Member]:
    """The devices that were asked at all."""
    return [member for member in rollout.members.values() if member.state != "waiting"]
