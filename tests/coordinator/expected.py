"""What a run must come to whose every update is the one of a given task, worked out in this process."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.learn.update import dequantise
from edge_agent.shell.answer import answer
from edge_agent.shell.lessons import load_lessons
from edge_agent.shell.pipe import LearnTask
from models import flat
from models.bundle import Bundle


def expected(task: LearnTask, parent: Bundle, *, rounds: int, seed: int, clip: float) -> NDArray[np.float64]:
    """The shared parameters after all rounds, end to end.

    Args:
        seed: of the request.
    """
    task = msgspec.structs.replace(task, bundle=parent.spec.name, version=parent.spec.version, path=str(parent.path))
    lessons, own, shared = load_lessons(task), parent.spec.train, parent.spec.of_share("shared")
    assert own is not None
    vector = np.asarray(vector_of(parent), np.float64)
    for number in range(1, rounds + 1):
        plan = {
            "bundle": parent.spec.name,
            "version": parent.spec.version,
            "names": [p.name for p in shared],
            "round": number,
            "rounds": rounds,
            "epochs": own.epochs,
            "lr": own.lr,
            "batch": own.batch,
            "negatives": own.negatives,
            "clip_norm": clip,
            "prox_mu": 0.0,
            "seed": seed,
        }
        _, delta, facts, trained = answer(task, lessons, {"shared": vector.astype(np.float32)}, plan)
        lessons.personal = trained.personal
        pieces = flat.split(shared, np.asarray(delta))
        moved = [dequantise(pieces[p.name], s).reshape(-1) for p, s in zip(shared, facts["scales"], strict=True)]
        vector = vector + np.concatenate(moved)
    return vector


def vector_of(bundle: Bundle) -> NDArray[np.float32]:
    """A bundle's shared parameters, end to end."""
    shared, weights = bundle.spec.of_share("shared"), bundle.weights()
    return np.asarray(flat.join(shared, {p.name: weights[p.name] for p in shared}), np.float32)
