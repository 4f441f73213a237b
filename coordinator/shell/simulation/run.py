"""`edge-coordinator simulate`: from a plan to what is written of it."""

import hashlib
import importlib.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from coordinator.errors import SimulationInconsistent, SimulationStopped
from coordinator.shell.simulation.processes import Processes, Progress, processes
from coordinator.simulation import result
from coordinator.simulation.course import Days
from coordinator.simulation.devices import Cost
from coordinator.simulation.plan import Plan
from coordinator.simulation.result import Contents, Result
from firmware_configs.loader import load as load_profile
from firmware_configs.virtual import World
from models.bundle import Bundle, open_bundle, with_weights
from models.datasets import read_ratings, read_text

EngineName = Literal["vector", "single", "ray"]
RESULT, COST = "result.json", "run.json"
BUNDLES = "bundles"
A_NODE = 50
"""Devices on one of Flower's nodes: each message to one costs some milliseconds, whoever lives there."""


class Done(Struct, frozen=True, kw_only=True):
    """A simulation that has ended."""

    result: Result
    cost: Cost
    folder: str


def simulate(
    plan: Plan,
    devices: int,
    days: int,
    seed: int,
    out: Path,
    *,
    engine: EngineName = "vector",
    count: int = 0,
    address: str = "",
    say: Callable[[str], None] = lambda _line: None,
    stage: Callable[[str, int], None] = lambda _what, _devices: None,
    progress: Progress = lambda _devices: None,
) -> Done:
    """Live through a plan, and write `result.json`, `run.json` and the bundles that were made.

    Args:
        count: processes, 0: one for each processor; with `ray` Flower's nodes, 0: one for each A_NODE devices.
        address: of a Ray cluster, for `ray`; empty: Ray is started on this machine.
        say: is told what happened.
        stage: is told what begins, and with how many devices; 0: unknown.
        progress: is told how many devices have got to where they were asked to.
    Raises:
        SimulationError: the plan cannot be lived through.
    """
    folder = out / BUNDLES
    folder.mkdir(parents=True, exist_ok=True)
    bundles = [open_bundle(Path(path)) for path in plan.bundles]
    trained = _trained(plan, bundles)
    contents = Contents(
        profile=load_profile(Path(plan.profile)).hash,
        bundles={f"{one.spec.name} {one.spec.version}": one.sha256 for one in bundles},
        cohort=_cohort(plan, bundles),
    )
    world = World(
        behaviour=plan.behaviour,
        profile=plan.profile,
        bundles=plan.bundles,
        cohort=plan.cohort,
        folder=str(folder.resolve()),
        seed=seed,
        start_ms=plan.start_ms,
        hours=24 * days,
        engine="single" if engine == "single" else "vector",
    )

    def publish(parent: Bundle, shared: dict[str, Any], version: str, note: str) -> Bundle:
        return open_bundle(with_weights(parent, shared, version, folder, note))

    with _behind(engine, world, devices, count, progress, address) as behind:
        lived = Days(plan, devices, days, seed, trained, behind, publish, say, stage)
        lived.run()
        cost = behind.cost()
        found = result.of(lived, behind.tally, seed, contents)
    (out / RESULT).write_bytes(result.encode(found))
    (out / COST).write_bytes(msgspec.json.format(msgspec.json.encode(cost), indent=2) + b"\n")
    return Done(result=found, cost=cost, folder=str(out))


def _behind(
    engine: EngineName, world: World, devices: int, count: int, progress: Progress, address: str
) -> AbstractContextManager[Processes]:
    if engine == "ray":
        if importlib.util.find_spec("ray") is None:
            raise SimulationStopped("there is no Ray here", hint="pip install 'edgeward[simulation]'")
        return processes(world, engine, count or -(-devices // A_NODE), progress, address)
    return processes(world, engine, count or len(os.sched_getaffinity(0)), progress)


def _cohort(plan: Plan, bundles: list[Bundle]) -> str:
    """The hash of the plan's ratings, which are checked; empty: there are none."""
    if not plan.cohort:
        return ""
    path = Path(plan.cohort)
    rows = read_ratings(path)
    people, items = len({row.user for row in rows}), {row.item for row in rows}
    if people < plan.people.count:
        raise SimulationInconsistent(
            f"people.count: {plan.people.count} people live with a device, and {plan.cohort} has {people}",
            hint="sample more people, or lower people.count",
        )
    known = next((catalogue for one in bundles if (catalogue := one.catalogue())), ())
    if items.isdisjoint(known):
        raise SimulationInconsistent(
            f"cohort: no item of {plan.cohort} is in a catalogue of the plan's bundles",
            hint=f"edge-models build affinity --ratings {plan.cohort}, and name the bundle that it makes",
        )
    return hashlib.sha256(read_text(path).encode()).hexdigest()


def _trained(plan: Plan, bundles: list[Bundle]) -> Bundle | None:
    """The bundle that the rounds train."""
    if plan.rounds is None:
        return None
    named = {bundle.spec.name: bundle for bundle in bundles}
    bundle = named.get(plan.rounds.bundle)
    if bundle is None or bundle.spec.train is None:
        raise SimulationInconsistent(
            f"rounds.bundle: none of `bundles` is a `{plan.rounds.bundle}` that can be trained",
            hint=f"add its file; there are {', '.join(sorted(named))}",
        )
    return bundle
