"""The same clients in Flower's own simulation engine on Ray: a server app, a client app, and their rate.

Polled every 10 ms rather than by Flower's strategy loop, whose 3 s between two looks would count against it.
"""

import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from edge_agent.learn.trainer import Rows, Schedule, train
from models import flat
from models.bundle import Bundle, open_bundle
from models.session import TrainStep

POLL_S = 0.01


@cache
def _school(path: str) -> tuple[Bundle, TrainStep]:
    bundle = open_bundle(Path(path))
    return bundle, TrainStep(bundle.read("train_step.onnx"))


@cache
def _rows(folder: str) -> Any:
    return dict(np.load(Path(folder) / "rows.npz"))


def cpu_s() -> float:
    """CPU seconds so far of this process and all below it that live."""
    found = 0.0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            found += times.user + times.system
    return found


client = ClientApp()


@client.train()
def take_part(message: Message, context: Context) -> Message:
    """Train on this partition's rows, and answer with the difference."""
    asked = message.content.config_records["plan"]
    bundle, step = _school(str(asked["path"]))
    rows, number = _rows(str(asked["folder"])), int(context.node_config["partition-id"])  # type: ignore[arg-type]
    parameters = bundle.spec.of_share("shared")
    shared = flat.split(parameters, message.content.array_records["shared"]["shared"].numpy().astype(np.float32))
    weights = bundle.weights()
    own = {p.name: weights[p.name] for p in bundle.spec.of_share("personal")}
    schedule = Schedule(**{name: asked[name] for name in ("epochs", "lr", "batch", "negatives")})
    mine = {"p0": Rows(rows[f"{number}/item"], {}, rows[f"{number}/label"])}
    dice = np.random.default_rng([int(asked["seed"]), number])  # type: ignore[arg-type]
    made = train(step, bundle.spec, shared, {"p0": own}, mine, len(bundle.catalogue()), schedule, dice)
    change = {name: made.shared[name] - shared[name] for name in shared}
    content = RecordDict({"delta": ArrayRecord({"delta": Array(flat.join(parameters, change))})})
    return Message(content, reply_to=message)


def measure(
    bundle: Bundle, plan: dict[str, Any], clients: int, rounds: int, count: int, folder: Path
) -> dict[str, Any]:
    """Clients a second over the rounds but the first."""
    import ray
    from flwr import __version__
    from flwr.simulation import run_simulation

    seconds: list[float] = []
    spent: list[float] = []
    server = ServerApp()
    parameters, weights = bundle.spec.of_share("shared"), bundle.weights()
    shared = flat.join(parameters, {p.name: weights[p.name] for p in parameters})

    @server.main()
    def main(grid: Grid, _context: Context) -> None:
        while len(nodes := list(grid.get_node_ids())) < clients:
            time.sleep(POLL_S)
        asked = {name: plan[name] for name in ("epochs", "lr", "batch", "negatives", "seed")}
        for number in range(rounds + 1):
            if number == 1:
                spent.append(cpu_s())
            began = time.perf_counter()
            config = ConfigRecord({**asked, "path": str(bundle.path), "folder": str(folder)})
            content = RecordDict({"shared": ArrayRecord({"shared": Array(shared)}), "plan": config})
            ids = set(grid.push_messages([Message(content, dst_node_id=n, message_type="train") for n in nodes]))
            total = np.zeros(len(shared), np.float64)
            while ids:
                for reply in grid.pull_messages(ids):
                    assert not reply.has_error(), reply.error
                    total += reply.content.array_records["delta"]["delta"].numpy()
                    ids.discard(reply.metadata.reply_to_message_id)
                time.sleep(POLL_S)
            seconds.append(time.perf_counter() - began)
        spent.append(cpu_s())

    resources = {"num_cpus": 1, "num_gpus": 0.0}
    config: Any = {"client_resources": resources, "init_args": {"num_cpus": count}}
    run_simulation(server, client, clients, backend_config=config)
    ray.shutdown()
    rates = [clients / one for one in seconds[1:]]
    return {
        "clients_per_s": median(rates),
        "rates": [round(one, 1) for one in rates],
        "cpu_ms_a_client": 1_000 * (spent[1] - spent[0]) / (rounds * clients),
        "flwr": __version__,
        "ray": ray.__version__,
    }
