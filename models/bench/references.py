"""Centralised recommenders under the same protocol: all of them see everybody's raw interactions on one machine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models import negatives
from models.federated import Adam
from models.federated_affinity import summed

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


def touched(histories: Sequence[I64], items: int) -> F32:
    """1 where a person touched an item, float32 (people, items)."""
    matrix = np.zeros((len(histories), items), np.float32)
    for row, own in zip(matrix, histories, strict=True):
        row[own] = 1.0
    return matrix


def recent(histories: Sequence[I64], items: int, fade: float = 5.0, floor: float = 0.1) -> F32:
    """As `touched`, but e^(-places back / fade) + floor; both were chosen on the validation item."""
    matrix = np.zeros((len(histories), items), np.float32)
    for row, own in zip(matrix, histories, strict=True):
        row[own] = np.exp(-np.arange(len(own) - 1, -1, -1) / fade) + floor
    return matrix


def popularity(matrix: F32) -> F32:
    """The same order for everyone: how many people touched an item."""
    return np.broadcast_to(matrix.sum(axis=0), matrix.shape)


def item_cosine(matrix: F32) -> F32:
    """Sum over a person's items of the cosine between item columns.

    Source: Sarwar et al. 2001, "Item-based Collaborative Filtering Recommendation Algorithms", section 3.1.1.
    """
    together = matrix.T @ matrix
    norm = np.sqrt(np.maximum(np.diag(together), 1.0))
    alike = together / norm[:, None] / norm
    np.fill_diagonal(alike, 0.0)
    return np.asarray(matrix @ alike, np.float32)


def ease(matrix: F32, query: F32, ridge: float = 300.0) -> F32:
    """A linear autoencoder without a diagonal, in closed form; a strong reference on small catalogues.

    Args:
        matrix: what it is fitted on, (people, items).
        query: what it is asked with, the same shape: `matrix` itself, or `recent`.

    Source: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8. `ridge` was chosen among
    100, 300 and 1,000 on the validation item.
    """
    inverse = np.linalg.inv((matrix.T @ matrix).astype(np.float64) + ridge * np.eye(matrix.shape[1]))
    weight = inverse / -np.diag(inverse)
    np.fill_diagonal(weight, 0.0)
    return np.asarray(query @ weight.astype(np.float32), np.float32)


def matrix_factorisation(
    histories: Sequence[I64], items: int, seed: int, dimensions: int = 32, epochs: int = 20, batch: int = 4_096
) -> F32:
    """Logistic matrix factorisation with Adam and 4 fresh untouched items a positive (GMF without its last layer).

    Source: He et al. 2017, "Neural Collaborative Filtering", sections 3.1 to 3.2.
    """
    dice = np.random.default_rng(seed)
    user = np.repeat(np.arange(len(histories)), [len(one) for one in histories])
    positive = np.concatenate(histories)
    pools = [negatives.untouched(items, one) for one in histories]
    spread = [4 * len(own) if len(pool) else 0 for pool, own in zip(pools, histories, strict=True)]
    value = {
        "user": dice.normal(0.0, 0.1, (len(histories), dimensions)).astype(np.float32),
        "item": dice.normal(0.0, 0.1, (items, dimensions)).astype(np.float32),
        "bias": np.full((items, 1), -1.5, np.float32),
    }
    adam, steps = Adam(lr=0.01, b2=0.999), epochs * -(-5 * len(positive) // batch)
    step = 0
    for _ in range(epochs):
        drawn = np.concatenate([negatives.draw(pool, count, dice) for pool, count in zip(pools, spread, strict=True)])
        who = np.concatenate([user, np.repeat(np.arange(len(histories)), spread)])
        item = np.concatenate([positive, drawn])
        label = (np.arange(len(who)) < len(user)).astype(np.float32)
        order = dice.permutation(len(who))
        for rows in np.split(order, np.arange(batch, len(order), batch)):
            gradient = _gradient(value, who[rows], item[rows], label[rows])
            value = adam(value, {name: -g for name, g in gradient.items()}, 1.0 - step / steps)
            step += 1
    return np.asarray(value["user"] @ value["item"].T + value["bias"][:, 0], np.float32)


def _gradient(value: dict[str, F32], who: I64, item: I64, label: F32) -> dict[str, F32]:
    p, q = value["user"][who], value["item"][item]
    z = np.einsum("bd,bd->b", p, q) + value["bias"][item, 0]
    slope = ((0.5 * (1.0 + np.tanh(0.5 * z)) - label) / len(label)).astype(np.float32)
    return {
        "user": 1e-6 * value["user"] + summed(who, slope, q, 1, len(value["user"])),
        "item": 1e-6 * value["item"] + summed(item, slope, p, 1, len(value["item"])),
        "bias": 1e-6 * value["bias"] + np.bincount(item, slope, len(value["bias"])).astype(np.float32)[:, None],
    }
