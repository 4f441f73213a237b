"""Each version is rolled out on the village: what came of it, how soon, and to whom."""

import sys
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from coordinator.rollout.state import Rollout, touched
from coordinator.shell.rollout_store import RolloutStore
from demo.stack import call_json, wait_until
from tests.rollout.versions import BASE, make
from tests.rollout.village import Village

END_S = 400.0
PLAN = """
schema = 1
bundle = "context"
version = "{version}"
key = "village"
start = "canary"
at_risk_max = {at_risk}
settled_decisions = 5
report_every_s = 1.0

[[cohort]]
name = "first"
share = {share}
soak_s = {soak}
decisions_min = {decisions}

[[cohort]]
name = "everyone"
share = 1.0
soak_s = {soak}

[guard.devices]
failed_max = 0.0
silent_max = 0.1
silent_after_s = 120.0

[guard.errors]
share_max = 0.05

[guard.latency]
ratio_max = 1.5
floor_ms = 0.25

[guard.reward]
drop_max = 0.05
"""


class Outcome(Struct, frozen=True, kw_only=True):
    """What one version came to."""

    state: str
    guard: str
    cohort: str
    asked: int
    deciders: int
    """Devices that ever decided by it."""
    strangers: int
    """Devices outside the first cohort that were asked, or decided by it; of a version that is halted: 0."""
    still_running: int
    """Devices that run it after the rollback; of a good version: those that do not run it."""
    first_sample_to_halt_s: float | None
    """From its first decision, or the first device's word that it cannot be loaded, to the halt; None: no halt."""
    seconds: float
    reason: str


def roll_out(village: Village, name: str, version: str, folder: Path, *, good: bool) -> Outcome:
    """One rollout, by the commands that a person would use."""
    plan = folder / f"{name}.toml"
    soak, decisions = ("5.0", "20") if good else ("3600.0", "100000")
    at_risk, share = max(3, len(village.devices) // 2), 0.25 if len(village.devices) >= 8 else 0.5
    plan.write_text(PLAN.format(version=version, at_risk=at_risk, share=share, soak=soak, decisions=decisions))
    before, started = village.wanted(), time.time()
    begun = call_json("edge-coordinator", "rollout", "start", str(plan), "--home", str(village.home))
    key = begun["rollout"]
    store = RolloutStore(village.home)
    wait_until(f"{name} ends", lambda: _has_ended(village, store, key), seconds=END_S, hint=str(village.home / "logs"))
    found = store.rollout(key)
    store.verify(key)
    wait_until(
        "devices say what they run",
        lambda: not _wrong(village, found, good=good),
        seconds=60.0,
        hint=str(village.home / "logs"),
    )
    asked = {member.device for member in touched(found)}
    first = {member.device for member in found.members.values() if member.cohort == 0}
    changed = {device for device, desired in village.wanted().items() if desired != before[device]}
    deciders = village.deciders.get(version, set())
    outcome = Outcome(
        state=found.state,
        guard=found.reason.split(":")[0],
        cohort=found.plan.named(found.cohort),
        asked=len(asked),
        deciders=len(deciders),
        strangers=0 if good else len((asked | changed | deciders) - first),
        still_running=len(_wrong(village, found, good=good)),
        first_sample_to_halt_s=_halted_after(village, store, key, version),
        seconds=round(time.time() - started, 1),
        reason=found.reason,
    )
    store.close()
    return outcome


def _has_ended(village: Village, store: RolloutStore, key: str) -> bool:
    village.check()
    return store.rollout(key).state in {"done", "rolled-back"}


def _wrong(village: Village, found: Rollout, *, good: bool) -> list[str]:
    """The devices that do not run what they should now."""
    wanted = found.plan.version if good else BASE
    if good:
        states = {device.name: device.reported for device in village.views()}
        return [
            device
            for device, word in states.items()
            if word is None or word.bundles["context"].version != wanted or word.bundles["context"].state == "failed"
        ]
    return [device for device, version in village.running().items() if version != wanted]


def _halted_after(village: Village, store: RolloutStore, key: str, version: str) -> float | None:
    log = [entry.note for entry in store.log(key)]
    halted = next((note.at_ms / 1_000 for note in log if note.what.startswith("halted")), None)
    failed = next((note.at_ms / 1_000 for note in log if note.what == "failed"), None)
    first = village.first_by.get(version, failed)
    return None if halted is None or first is None else round(halted - first, 2)


def tell(folder: Path, agents: int, rate: float, names: tuple[str, ...]) -> dict[str, Any]:
    """The whole story.

    Returns:
        Version's name → outcome, and what became of everybody's decisions.
    """
    versions = make(folder / "bundles")
    outcomes: dict[str, Any] = {}
    with Village(folder, agents, rate, versions) as village:
        for name in names:
            one = roll_out(village, name, versions[name].version, folder, good=name == "good")
            print(f"{name}: {one}", file=sys.stderr, flush=True)
            outcomes[name] = {field: getattr(one, field) for field in Outcome.__struct_fields__}
        undecided = village.settle()
        return {
            "agents": agents,
            "events": village.sent,
            "decisions": len(village.decided),
            "undecided": undecided,
            "fallbacks": village.fallbacks,
            "failed_decisions": undecided + village.fallbacks,
            "rollouts": outcomes,
        }
