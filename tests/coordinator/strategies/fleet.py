"""Reports for tests of strategies, and what Flower's own classes make of the same."""

from collections.abc import Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy as FlowerStrategy
from numpy.typing import NDArray

from coordinator.aggregate import Report

F32 = NDArray[np.float32]
SHAPES = {"embedding": (7, 3), "bias": (7,), "one": (1,)}


def start(seed: int) -> dict[str, F32]:
    dice = np.random.default_rng(seed)
    return {name: dice.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def reports(count: int, seed: int, *, equal: bool = False, cluster: int = 0) -> list[Report]:
    """Random reports; `equal` gives each the same number of examples."""
    dice = np.random.default_rng([seed, 1])
    return [
        Report(
            delta={name: dice.integers(-127, 128, shape).astype(np.int8) for name, shape in SHAPES.items()},
            scales={name: float(dice.uniform(1e-4, 2e-3)) for name in SHAPES},
            examples=16 if equal else int(2 ** dice.integers(0, 8)),
            loss_before=float(dice.uniform(0.1, 2.0)),
            loss_after=float(dice.uniform(0.1, 1.0)),
            cluster=cluster,
        )
        for _ in range(count)
    ]


class _Grid:
    """Flower's strategies ask a grid only for the nodes that are online."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> list[int]:
        return list(range(1, self._nodes + 1))


def flowers(strategy: FlowerStrategy, shared: dict[str, F32], given: Sequence[Report], number: int) -> dict[str, F32]:
    """The parameters that Flower's class makes of these reports: real records and messages, no network."""
    arrays = ArrayRecord({name: Array(value) for name, value in shared.items()})
    asked = list(strategy.configure_train(number, arrays, ConfigRecord(), _Grid(len(given))))  # type: ignore[arg-type]
    replies = []
    for message, report in zip(asked, given, strict=True):
        message.metadata.__dict__["_message_id"] = f"m{len(replies)}"
        mine = {
            name: np.asarray(value.astype(np.float64) + report.delta[name] * report.scales[name])
            for name, value in shared.items()
        }
        facts = MetricRecord({"num-examples": report.examples, "train_loss": report.loss_before})
        held = ArrayRecord({name: Array(value) for name, value in mine.items()})
        replies.append(Message(RecordDict({"arrays": held, "metrics": facts}), reply_to=message))
    made, _ = strategy.aggregate_train(number, replies)
    assert made is not None
    return {name: np.asarray(array.numpy()) for name, array in made.items()}
