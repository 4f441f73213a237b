"""`python -m tests.benchmarks.simulate --json`: virtual clients a second, beside Flower's simulation on Ray.

Both train the same clients on the same rows, from the same parameters with the same schedule, in as many processes, and
add up the updates; the rows are those that virtual devices made in one day of the example plan. Flower's clients
train with the bundle's own graph on the stock onnxruntime, as the learner does. `vector` trains them side by side, and
also clips and quantises each update as a device does; `single` is the same, one by one on the graph.

`devices` is the whole of what `edge-coordinator simulate` does in a round: each device is taken up from what it stored,
offered the round by its agent's own rules, trained, entered in its ledger, and put away again. Flower has nothing like
it, so its ratio compares unlike things, and is told beside.

Needs Ray (`pip install 'edgeward[simulation]'`): without it there is nothing to compare with, and it ends with code 2.
"""

import importlib.util
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec
import numpy as np
from msgspec import Struct

from coordinator.shell.simulation.processes import processes
from coordinator.simulation.plan import EXAMPLE, Plan, load
from coordinator.simulation.rounds import with_offer
from edge_agent.effects import Train
from edge_agent.learn.trainer import Rows
from edge_agent.settings import Settings
from edge_agent.shell.learn_task import learn_task
from edge_agent.shell.lessons import Lessons
from edge_agent.shell.virtual import Host
from edge_agent.virtual.taking_part import Answered, School, Taking, offered, trained
from firmware_configs.loader import load as load_profile
from firmware_configs.messages import Desired
from firmware_configs.virtual import HOUR_MS, Exercise, Live, World
from models import flat
from models.bundle import Bundle, open_bundle
from tests.benchmarks.simulate_flower import cpu_s, measure

ROUND_HOUR = 22


class Absent(click.ClickException):
    """What it is compared with is not here."""

    exit_code = 2


def world_of(plan: Plan, folder: Path) -> World:
    """The plan's world, for one day."""
    return World(
        behaviour=plan.behaviour,
        profile=plan.profile,
        bundles=plan.bundles,
        folder=str(folder),
        seed=0,
        start_ms=plan.start_ms,
        hours=24,
    )


def ask_of(plan: Plan, bundle: Bundle, devices: tuple[int, ...], number: int, at_ms: int) -> Exercise:
    """A round that asks everybody."""
    parameters = bundle.spec.of_share("shared")
    weights = bundle.weights()
    desired = with_offer(
        Desired(revision=number), f"bench-{number}", bundle.spec.name, bundle.spec.version, at_ms + 60_000
    )
    return Exercise(
        devices=devices,
        until_ms=at_ms,
        desired=(msgspec.msgpack.encode(desired),) * len(devices),
        plan=message_of(bundle, number),
        shared=flat.join(parameters, {p.name: weights[p.name] for p in parameters}).astype("<f4").tobytes(),
    )


def message_of(bundle: Bundle, number: int) -> dict[str, Any]:
    """What a round asks of a device."""
    train = bundle.spec.train
    assert train is not None
    return {
        "bundle": bundle.spec.name,
        "version": bundle.spec.version,
        "names": [p.name for p in bundle.spec.of_share("shared")],
        "round": 1,
        "rounds": 1,
        "epochs": train.epochs,
        "lr": train.lr,
        "batch": train.batch,
        "negatives": train.negatives,
        "clip_norm": 20.0,
        "prox_mu": 0.0,
        "seed": number,
    }


def lessons(plan: Plan, bundle: Bundle, clients: int, at_ms: int, folder: Path) -> list[int]:
    """Write each client's rows to `folder`; returns the devices that have some."""
    host = Host(world_of(plan, folder))
    school = host.school(bundle.spec.name, bundle.spec.version)
    ask = ask_of(plan, bundle, (0,), 1, at_ms)
    arrays: dict[str, np.ndarray] = {}
    found: list[int] = []
    number = 0
    while len(found) < clients:
        device = host.device(number)
        device.live(at_ms)
        taking = offered(device, ask.desired[0], school, 0, at_ms)
        if isinstance(taking, Taking):
            (rows,) = taking.lessons.rows.values()
            assert rows.item is not None, "affinity's rows name items"
            arrays[f"{len(found)}/item"], arrays[f"{len(found)}/label"] = rows.item, rows.label
            found.append(number)
        number += 1
    np.savez(folder / "rows.npz", **arrays)
    return found


def ours(
    plan: Plan, bundle: Bundle, devices: list[int], at_ms: int, rounds: int, count: int, folder: Path, engine: str
) -> dict[str, Any]:
    """Clients a second over some rounds, each of all devices."""
    world = msgspec.structs.replace(world_of(plan, folder), engine=engine)
    with processes(world, engine, count, lambda _devices: None) as behind:
        behind.live(Live(devices=tuple(devices), until_ms=at_ms))
        seconds, trained = [], 0
        for number in range(1, rounds + 1):
            ask = ask_of(plan, bundle, tuple(devices), number, at_ms + number * 60_000)
            began = time.perf_counter()
            replies = behind.exercise(ask)
            seconds.append(time.perf_counter() - began)
            trained = sum(not reply.refused for reply in replies)
            assert trained == len(devices), [reply.refused for reply in replies if reply.refused][:3]
        cost = behind.cost()
    rates = [len(devices) / one for one in seconds]
    return {
        "clients_per_s": median(rates),
        "rates": [round(one, 1) for one in rates],
        "train_cpu_ms": 1_000 * cost.train_cpu_s / (rounds * len(devices)),
        "processes": cost.processes,
        "rss_mib": cost.rss_bytes / 2**20,
        "empty_mib": cost.empty_bytes / 2**20,
        "kept_bytes_a_client": cost.kept_bytes / len(devices),
    }


class Client(Struct):
    """What training asks of a device."""

    number: int


_held: dict[str, Any] = {}


def _begin(path: str, folder: str, clients: list[int], engine: str) -> None:
    """In a process of ours: all that stays the same from round to round."""
    bundle = open_bundle(Path(path))
    school = School(bundle, may_be_abreast=engine == "vector")
    rows = dict(np.load(Path(folder) / "rows.npz"))
    profile = load_profile(Path(load(EXAMPLE).profile)).profile
    takings = []
    for number in clients:
        train = Train(
            run="bench", bundle="affinity", version="1.0.0", superlink="", app_hash="", closes_ms=0, subjects=("p0",)
        )
        seed = number.to_bytes(32, "little")
        task = learn_task(Settings(device="d", state_dir="s"), profile, train, path="", database=Path(), seed=seed)
        mine = {"p0": Rows(rows[f"{number}/item"], {}, rows[f"{number}/label"])}
        lessons = Lessons(bundle, lambda: school.step, mine, {"p0": school.start})
        takings.append(Taking(Client(number), task, lessons))  # type: ignore[arg-type]
    _held.update(school=school, takings=takings, bundle=bundle)


def _round(shared: bytes, number: int) -> list[tuple[bytes, list[float]]]:
    """In a process of ours: its clients' updates."""
    vector = np.frombuffer(shared, "<f4").astype(np.float32)
    for taking in _held["takings"]:
        taking.lessons.residual = {}
    made = trained(_held["takings"], _held["school"], message_of(_held["bundle"], number), vector, 0)
    answered = [one for one in made if isinstance(one, Answered)]
    assert len(answered) == len(made), "nobody refuses"
    return [(bytes(one.delta), one.facts["scales"]) for one in answered]


def training(bundle: Bundle, clients: int, rounds: int, count: int, folder: Path, engine: str) -> dict[str, Any]:
    """Clients a second from the sending of the parameters until all updates are added up."""
    parameters, weights = bundle.spec.of_share("shared"), bundle.weights()
    shared = flat.join(parameters, {p.name: weights[p.name] for p in parameters}).astype("<f4").tobytes()
    sizes = [int(np.prod(p.shape)) for p in parameters]
    seconds: list[float] = []
    spent = 0.0
    with ExitStack() as stack:
        pools = []
        for place in range(count):
            own = list(range(place, clients, count))
            pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (str(bundle.path), str(folder), own, engine))
            pools.append(stack.enter_context(pool))
        for number in range(rounds + 1):
            if number == 1:
                spent = cpu_s()
            began = time.perf_counter()
            asked = [pool.submit(_round, shared, number) for pool in pools]
            total = np.zeros(sum(sizes), np.float64)
            found = 0
            for one in asked:
                for delta, scales in one.result():
                    total += np.frombuffer(delta, np.int8) * np.repeat(scales, sizes)
                    found += 1
            assert found == clients
            seconds.append(time.perf_counter() - began)
        spent = cpu_s() - spent
    rates = [clients / one for one in seconds[1:]]
    return {
        "clients_per_s": median(rates),
        "rates": [round(one, 1) for one in rates],
        "cpu_ms_a_client": 1_000 * spent / (rounds * clients),
    }


@click.command()
@click.option("--clients", default=400, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Of a turn, after one that is not counted.")
@click.option("--turns", default=2, show_default=True)
@click.option("--processes", "count", default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(clients: int, rounds: int, turns: int, count: int, as_json: bool) -> None:
    """Virtual clients a second, ours and Flower's."""
    if importlib.util.find_spec("ray") is None:
        raise Absent("Ray is not installed, and nothing is measured without it: pip install 'edgeward[simulation]'")
    plan = load(EXAMPLE)
    bundle = open_bundle(Path(next(path for path in plan.bundles if "affinity" in path)))
    at_ms = plan.start_ms + ROUND_HOUR * HOUR_MS
    found: dict[str, Any] = {"clients": clients, "rounds": rounds}
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        devices = lessons(plan, bundle, clients, at_ms, folder)
        found["rows_a_client"] = rows_of(folder) / clients
        # In turns, so that what else the machine does falls on all alike.
        parts: dict[str, list[dict[str, Any]]] = {"vector": [], "single": [], "flower": []}
        for turn in range(turns):
            for name, own in parts.items():
                made = (
                    measure(bundle, message_of(bundle, 1), clients, rounds, count, folder)
                    if name == "flower"
                    else training(bundle, clients, rounds, count, folder, name)
                )
                own.append(made)
                print(f"turn {turn + 1}, {name}: {made['clients_per_s']:.0f} clients/s", file=sys.stderr)
        found["devices"] = ours(plan, bundle, devices, at_ms, rounds, count, folder, "vector")
    for name, own in parts.items():
        rates = [rate for one in own for rate in one["rates"]]
        cpu = median(one["cpu_ms_a_client"] for one in own)
        found[name] = {**own[-1], "clients_per_s": median(rates), "rates": rates, "cpu_ms_a_client": cpu}
    rate = found["flower"]["clients_per_s"]
    for name, key in (("vector", ""), ("single", "_single"), ("devices", "_devices")):
        found[f"ratio_clients_per_s{key}"] = found[name]["clients_per_s"] / rate
    # Where others use the machine, seconds say who was let run; CPU says what it took.
    found["ratio_cpu"] = found["flower"]["cpu_ms_a_client"] / found["vector"]["cpu_ms_a_client"]
    found["load"] = os.getloadavg()
    print(json.dumps(found) if as_json else json.dumps(found, indent=2))


def rows_of(folder: Path) -> int:
    """Examples of all clients together."""
    return sum(len(values) for name, values in np.load(folder / "rows.npz").items() if name.endswith("label"))


if __name__ == "__main__":
    main()
