"""What a device does beside plain training: a copy for each person, one of several models, a control variate."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn.trainer import Rows, Schedule, Step, Weights, train
from models.spec import Spec

F32 = NDArray[np.float32]
COPIES_MAX = 4_000_000
"""Numbers in all persons' copies together: 16 MB."""


def copies(
    step: Step,
    spec: Spec,
    shared: Mapping[str, F32],
    held: Mapping[str, Mapping[str, F32]],
    personal: Mapping[str, Mapping[str, F32]],
    rows: Mapping[str, Rows],
    items: int,
    schedule: Schedule,
    pull: float,
    dice: np.random.Generator,
) -> tuple[dict[str, Weights], dict[str, Weights]]:
    """Each person's own copy of the shared part after training, and the personal parts that go with it.

    Source: Li et al. 2021, "Ditto: Fair and Robust Federated Learning Through Personalization", algorithm 1.

    Args:
        shared: what the round sent, which each copy is pulled towards.
        held: subject → the copy of the run before; who has none starts from `shared`.
        pull: Ditto's λ; 0 trains on the device alone.
    Raises:
        RoundRefused: the copies would take more than the device gives them.
    """
    numbers = len(rows) * sum(value.size for value in shared.values())
    if numbers > COPIES_MAX:
        raise RoundRefused(
            f"copies for {len(rows)} people hold {numbers} numbers, this device keeps {COPIES_MAX}",
            hint="use another strategy for bundles of this size",
        )
    own: dict[str, Weights] = {}
    parts: dict[str, Weights] = {}
    for subject in sorted(rows):
        begin = held.get(subject) or shared
        mine = replace(schedule, prox_mu=pull, only="both", steps=0, personal_epochs=0)
        made = train(
            step, spec, begin, {subject: personal[subject]}, {subject: rows[subject]}, items, mine, dice, anchor=shared
        )
        own[subject], parts[subject] = made.shared, made.personal[subject]
    return own, parts


def best_of(
    step: Step,
    spec: Spec,
    models: Sequence[Mapping[str, F32]],
    personal: Mapping[str, Mapping[str, F32]],
    rows: Mapping[str, Rows],
    items: int,
    schedule: Schedule,
    seed: Sequence[int],
) -> int:
    """The model with the smallest loss on this device's examples, by the same batches for each; of equals the first.

    Source: Ghosh et al. 2020, "An Efficient Framework for Clustered Federated Learning" (IFCA), algorithm 1.
    """
    look = replace(schedule, epochs=1, lr=0.0, steps=0, personal_epochs=0)
    losses = [
        train(step, spec, model, personal, rows, items, look, np.random.default_rng(list(seed))).loss_before
        for model in models
    ]
    return int(np.argmin(losses))


def correction_of(control: Mapping[str, F32], mine: Mapping[str, F32]) -> Weights:
    """What SCAFFOLD adds to each gradient: the fleet's control variate less this device's; zeros where it has none."""
    return {name: np.asarray(value - mine.get(name, np.float32(0.0)), np.float32) for name, value in control.items()}


def next_control(
    mine: Mapping[str, F32], control: Mapping[str, F32], sent: Mapping[str, NDArray[np.floating]], steps: int, lr: float
) -> Weights:
    """This device's control variate after a round: cᵢ - c - sent / (K · lr).

    Args:
        sent: the update as it left, clipped and rounded: what the server computes with.
        steps: K.
    Source: Karimireddy et al. 2020, "SCAFFOLD", algorithm 1, option II.
    """
    return {
        name: np.asarray(mine.get(name, np.float32(0.0)) - value - sent[name] / (steps * lr), np.float32)
        for name, value in control.items()
    }
