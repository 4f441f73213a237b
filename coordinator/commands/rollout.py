"""`edge-coordinator rollout`: a new version reaches few devices first, then more, and goes back by itself."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.options import existing, existing_home_option, home_option, json_option
from coordinator.commands.options import show as tell

if TYPE_CHECKING:
    from coordinator.rollout.simulated import Simulation

PLAN = click.argument("plan", type=click.Path(path_type=Path))
KEY = click.argument("key", default="last")
REASON = click.option("--reason", default="", help="For the audit log.")
POLL_S = 0.5


@click.group()
def rollout() -> None:
    """Staged rollout: cohorts, soak, guards, automatic rollback. KEY is a rollout's, or `last`."""


@rollout.command("plan")
@PLAN
@click.option("--simulate", is_flag=True, help="Live through it on virtual devices.")
@click.option(
    "--fail",
    "fails",
    multiple=True,
    help="What is wrong with the version: slow:3x, worse:0.1, errors:0.2, crash[:SHARE], silent[:SHARE]. Repeat.",
)
@click.option("--devices", default=0, type=click.IntRange(0, 100_000), help="Virtual devices; 0: the enrolled ones.")
@click.option("--per-minute", default=2.0, show_default=True, help="Decisions of a virtual device.")
@click.option("--stage-decisions", default=200, show_default=True, help="[model.swap] canary_decisions of the profile.")
@click.option("--canary-share", default=0.1, show_default=True, help="[model.swap] canary_share of the profile.")
@click.option("--seed", default=0, show_default=True)
@home_option
@json_option
def plan_command(
    plan: Path, simulate: bool, fails: Sequence[str], devices: int, home: Path, as_json: bool, **world: Any
) -> None:
    """Check PLAN and say who would get the version when; with --simulate, also what would happen.

    Nothing is asked of any device. Virtual devices are made up from the stated numbers: they are no agents.
    """
    from coordinator.rollout import simulated
    from coordinator.rollout.plan import load
    from coordinator.shell import rollouts

    loaded = load(plan)
    if not devices:
        existing(home)
    made = rollouts.imagined(loaded, devices) if devices else rollouts.enrolled(home, loaded)
    cohorts = rollouts.summary(made)["cohorts"]
    data: dict[str, Any] = {"bundle": loaded.bundle, "version": loaded.version, "cohorts": cohorts}
    lines = [f"{loaded.bundle} {loaded.version}, {len(made.members)} devices; at most {loaded.at_risk_max} at risk"]
    lines += [f"  {cohort['name']:<20} {cohort['devices']:>6} more devices" for cohort in cohorts]
    if simulate:
        found = {
            text: simulated.simulate(made, simulated.World(fault=simulated.fault(text), **world))
            for text in fails or ("none",)
        }
        data["simulations"] = {text: _simulation(one) for text, one in found.items()}
        lines += [line for text, one in found.items() for line in _simulated(text, one)]
    tell(data, "\n".join(lines), as_json)


@rollout.command("schema")
def schema() -> None:
    """Print the JSON Schema of rollout.toml, for editors."""
    import json

    from coordinator.rollout.plan import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@rollout.command("start")
@PLAN
@existing_home_option
@json_option
def start(plan: Path, home: Path, as_json: bool) -> None:
    """Begin the rollout of PLAN. `edge-coordinator up` carries it on, without this terminal."""
    from coordinator.rollout.plan import load
    from coordinator.shell import rollouts

    begun = rollouts.summary(rollouts.start(home, load(plan)))
    tell(begun, "\n".join([*rollouts.in_words(begun), "  see: edge-coordinator rollout watch"]), as_json)


@rollout.command("ls")
@existing_home_option
@json_option
def list_rollouts(home: Path, as_json: bool) -> None:
    """List rollouts, newest first."""
    from coordinator.shell.rollout_store import RolloutStore

    rows = [
        {
            "rollout": one.key,
            "bundle": one.plan.bundle,
            "version": one.plan.version,
            "state": one.state,
            "cohort": one.plan.named(one.cohort),
            "reason": one.reason,
        }
        for one in RolloutStore(home).all()
    ]
    lines = [f"{row['rollout']:<40} {row['state']:<14} {row['cohort']:<16} {row['reason']}" for row in rows]
    tell(rows, "\n".join(lines) or "no rollout yet: edge-coordinator rollout start PLAN", as_json)


@rollout.command("show")
@KEY
@click.option("--devices", "with_devices", is_flag=True, help="Each device too.")
@existing_home_option
@json_option
def show(key: str, with_devices: bool, home: Path, as_json: bool) -> None:
    """Tell how KEY stands: cohorts, what it waits for, what its guards say."""
    from coordinator.shell import rollouts
    from coordinator.shell.rollout_store import RolloutStore

    found = RolloutStore(home).rollout(key)
    told = rollouts.summary(found)
    lines = rollouts.in_words(told)
    if with_devices:
        told["devices"] = rollouts.devices(found)
        lines += [
            f"  {one['device']:<24} {one['state']:<10} {one['stage']:<8} {one['decisions']:>8} decided  {one['reason']}"
            for one in told["devices"]
        ]
    tell(told, "\n".join(lines), as_json)


@rollout.command("watch")
@KEY
@click.option("--timeout-s", default=0.0, help="Stop watching after so long; 0: at its end.")
@existing_home_option
@json_option
def watch(key: str, timeout_s: float, home: Path, as_json: bool) -> None:
    """Print what happens to KEY as it happens, until it ends. Exit code 1 when it was rolled back."""
    import msgspec

    from coordinator.rollout.machine import ended
    from coordinator.shell import rollouts
    from coordinator.shell.rollout_loop import told
    from coordinator.shell.rollout_store import RolloutStore

    store = RolloutStore(home)
    key, seen = store.rollout(key).key, 0
    until_s = time.monotonic() + timeout_s if timeout_s else float("inf")
    while True:
        found = store.rollout(key)
        for entry in store.log(key, seen):
            seen = entry.number
            line = msgspec.json.encode(entry).decode() if as_json else told(key, entry)
            click.echo(line, err=as_json)
        if ended(found) or found.state == "halted" or time.monotonic() > until_s:
            break
        time.sleep(POLL_S)
    summary = rollouts.summary(found)
    tell(summary, "\n".join(rollouts.in_words(summary)), as_json)
    if found.state in {"rolled-back", "halted"}:
        click.get_current_context().exit(1)


@rollout.command("log")
@KEY
@click.option("--verify", is_flag=True, help="Check that no line was changed since it was written.")
@existing_home_option
@json_option
def log(key: str, verify: bool, home: Path, as_json: bool) -> None:
    """Print the audit log of KEY: who, when, what, why, on which evidence."""
    import msgspec

    from coordinator.shell.rollout_loop import told
    from coordinator.shell.rollout_store import RolloutStore

    store = RolloutStore(home)
    key = store.rollout(key).key
    head = store.verify(key) if verify else ""
    entries = store.log(key)
    lines = [told(key, entry) for entry in entries]
    if verify:
        lines.append(f"{len(entries)} lines, unbroken; newest hash {head}")
    tell(
        {"rollout": key, "head": head, "log": [msgspec.to_builtins(one) for one in entries]}, "\n".join(lines), as_json
    )


@rollout.command("run")
@click.option("--broker", default="", help="mqtt://HOST:PORT; default: the running coordinator's.")
@click.option("--forever", is_flag=True, help="Do not end when nothing is left to do.")
@existing_home_option
def run(broker: str, forever: bool, home: Path) -> None:
    """Carry rollouts on in the foreground, where `edge-coordinator up` does not."""
    from coordinator.shell.home import endpoints_of
    from coordinator.shell.rollout_loop import run as carry_on

    carry_on(home.resolve(), broker or endpoints_of(home).broker, click.echo, forever=forever)


def _wish(name: str, text: str) -> None:
    @rollout.command(name, help=text)
    @KEY
    @REASON
    @existing_home_option
    @json_option
    def wish(key: str, reason: str, home: Path, as_json: bool) -> None:
        from coordinator.rollout.state import Wish
        from coordinator.shell.rollout_store import RolloutStore
        from coordinator.shell.rollouts import who

        store = RolloutStore(home)
        found = store.rollout(key)
        store.wish(found.key, Wish(kind=name, who=who(), reason=reason))  # type: ignore[arg-type]
        tell({"rollout": found.key, "asked": name}, f"asked: {name} {found.key}", as_json)


_wish("pause", "Ask no more devices and pass no cohort; the guards go on looking.")
_wish("resume", "Go on after a pause.")
_wish("promote", "Pass the cohort now, without the rest of its soak and evidence. The guards go on looking.")
_wish("rollback", "Have every device that was asked go back to what it ran before.")


def _simulation(one: "Simulation") -> dict[str, Any]:
    halted = None if one.halted_s != one.halted_s else one.halted_s
    return {
        "state": one.rollout.state,
        "reason": one.rollout.reason,
        "seconds": one.seconds,
        "touched": one.touched,
        "at_risk": one.at_risk,
        "first_asked_to_halt_s": halted,
        "timeline": [
            {"seconds": at, "what": what, "why": why, "devices": count} for at, what, why, count in one.timeline
        ],
    }


def _simulated(text: str, one: "Simulation") -> list[str]:
    total = len(one.rollout.members)
    lines = [f"with {text}:"]
    for at, what, why, count in one.timeline:
        devices = f" [{count} devices]" if count else ""
        lines.append(f"  {_clock(at):>9}  {what}{devices}{f': {why}' if why else ''}")
    halted = f"; halted {_clock(one.halted_s)} after the first was asked" if one.halted_s == one.halted_s else ""
    lines.append(f"  {one.rollout.state}: {one.touched} of {total} devices touched, {one.at_risk} at risk{halted}")
    return lines


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3_600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
