"""The train step of `affinity-recent` for many clients at once: what each device computes, in a few array operations.

Each client takes one step of gradient descent on all of its own rows, from the shared parameters as the round sent
them, exactly as `edge_agent/learn/trainer.py` does with `train_step.onnx` (the tests hold the two to 1e-5). Clients
stand end to end along one axis with an empty gap between them, so that no sequence reads into another's.

A round takes the sum over clients of (weight · update), which is all that a server sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(slots=True)
class Shared:
    """What rounds average: float32; the embedding's last row is the empty place and stays zero."""

    item_embedding: F32
    """(items + 1, d)."""
    item_bias: F32
    """(items + 1,)."""
    place_weight: F32
    """(length, d); the newest item's place is the last row."""


@dataclass(slots=True)
class Personal:
    """What stays on the devices, one row a client: float32."""

    user_vector: F32
    """(clients, d)."""
    user_bias: F32
    """(clients,)."""


@dataclass(frozen=True, slots=True)
class Factors:
    """The `step` and `decay` of the architecture's tensors, and the learning rate."""

    lr: float
    step: dict[str, float]
    decay: dict[str, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """Histories end to end, oldest first, each with `length` empty places before it and one after."""

    flat: I64
    """Rows of the catalogue; `items` where nothing stands."""
    at: I64
    """(P,) where each interaction stands in `flat`."""
    client: I64
    """(P,) whose it is, 0 … clients - 1."""
    after: I64
    """(clients,) the place after each one's newest interaction."""


def layout(histories: Sequence[I64], items: int, length: int, chosen: Sequence[I64] | None = None) -> Layout:
    """Put the clients of a cohort side by side; a history may be empty.

    Args:
        histories: rows of the catalogue, oldest first.
        items: length of the catalogue.
        length: places that a query looks back.
        chosen: for each client which of its interactions are rows of this step; None: all.
    """
    counts = np.array([len(one) for one in histories], np.int64)
    starts = np.cumsum(counts + length + 1) - (counts + 1)
    flat = np.full(int((counts + length + 1).sum()), items, np.int64)
    for start, one in zip(starts, histories, strict=True):
        flat[start : start + len(one)] = one
    rows = chosen if chosen is not None else [np.arange(count) for count in counts]
    client = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    return Layout(flat, starts[client] + np.concatenate(rows), client, starts + counts)


def queries(shared: Shared, flat: I64) -> tuple[F32, F32]:
    """The places' embeddings and, before each place, the weighted sum of those that came before: both (places, d)."""
    seen = shared.item_embedding[flat]
    query = np.zeros_like(seen)
    for lag, weight in enumerate(shared.place_weight[::-1], start=1):
        query[lag:] += weight * seen[:-lag]
    return seen, query


def scores(shared: Shared, personal: Personal, histories: Sequence[I64]) -> F32:
    """Every client's logit of every item as the next one, float32 (clients, items)."""
    items = len(shared.item_bias) - 1
    placed = layout(histories, items, len(shared.place_weight))
    _, query = queries(shared, placed.flat)
    state = query[placed.after] + personal.user_vector
    logits = state @ shared.item_embedding[:items].T + shared.item_bias[:items] + personal.user_bias[:, None]
    return np.asarray(logits, np.float32)


def step(
    shared: Shared, personal: Personal, placed: Layout, negatives: I64, weight: F32, factors: Factors
) -> tuple[Shared, Personal, F32]:
    """One local step of every client of a cohort.

    Args:
        shared: as the round sent it.
        personal: of the cohort's clients, in their order.
        placed: their histories; each has at least one interaction.
        negatives: (P, k) untouched items for each interaction.
        weight: (clients,) each one's share in the average, summing to 1.
        factors: how far a step goes.
    Returns:
        The weighted mean of the clients' updates of the shared part (after minus before), every client's personal
        part after its step, and its loss before it, (clients,), the mean over its rows in nats.
    """
    seen, query = queries(shared, placed.flat)
    state = query[placed.at] + personal.user_vector[placed.client]  # (P, d)
    item = np.column_stack([placed.flat[placed.at], negatives])  # (P, 1 + k), the positive first
    rows = shared.item_embedding[item]  # (P, 1 + k, d)
    z = np.einsum("pkd,pd->pk", rows, state) + shared.item_bias[item] + personal.user_bias[placed.client, None]
    count = np.bincount(placed.client, minlength=len(weight))
    mean = (1.0 / (count[placed.client] * item.shape[1])).astype(np.float32)[:, None]
    label = np.zeros(item.shape, np.float32)
    label[:, 0] = 1.0
    loss = np.bincount(placed.client, ((np.logaddexp(0.0, z) - label * z) * mean).sum(1), len(weight))
    slope = (0.5 * (1.0 + np.tanh(0.5 * z)) - label) * mean  # the client's own gradient of its mean loss
    to_state = np.einsum("pk,pkd->pd", slope, rows)
    after = _personal(personal, placed, slope, to_state, factors)
    share = weight.astype(np.float32)[placed.client, None]
    gradient = _shared(shared, placed, seen, item, slope * share, state, to_state * share)
    change = {
        name: np.asarray(-factors.lr * factors.step[name] * (slope_ + factors.decay[name] * value), np.float32)
        for name, value, slope_ in _pairs(shared, gradient)
    }
    for value in (change["item_embedding"], change["item_bias"]):
        value[-1] = 0.0
    return Shared(**change), after, loss.astype(np.float32)


def _pairs(shared: Shared, gradient: Shared) -> list[tuple[str, F32, F32]]:
    names = ("item_embedding", "item_bias", "place_weight")
    return [(name, getattr(shared, name), getattr(gradient, name)) for name in names]


def _personal(personal: Personal, placed: Layout, slope: F32, to_state: F32, factors: Factors) -> Personal:
    starts = np.flatnonzero(np.r_[True, placed.client[1:] != placed.client[:-1]])
    gradient = {
        "user_vector": np.add.reduceat(to_state, starts, axis=0),
        "user_bias": np.add.reduceat(slope.sum(1), starts),
    }
    moved = {}
    for name, slope_ in gradient.items():
        value = getattr(personal, name)
        moved[name] = np.asarray(
            value - factors.lr * factors.step[name] * (slope_ + factors.decay[name] * value), np.float32
        )
    return Personal(**moved)


def _shared(shared: Shared, placed: Layout, seen: F32, item: I64, slope: F32, state: F32, to_state: F32) -> Shared:
    """The gradient with `slope` (P, 1 + k) and `to_state` (P, d) already weighted."""
    rows = len(shared.item_bias)
    to_query = np.zeros_like(seen)
    to_query[placed.at] = to_state
    to_seen = np.zeros_like(seen)
    place = np.zeros_like(shared.place_weight)
    for lag, weight in enumerate(shared.place_weight[::-1], start=1):
        to_seen[:-lag] += weight * to_query[lag:]
        place[-lag] = np.einsum("td,td->d", to_query[lag:], seen[:-lag])
    embedding = summed(item.reshape(-1), slope.reshape(-1), state, item.shape[1], rows)
    embedding += summed(placed.flat, np.ones(len(placed.flat), np.float32), to_seen, 1, rows)
    bias = np.bincount(item.reshape(-1), slope.reshape(-1), rows).astype(np.float32)
    return Shared(embedding, bias, place)


def summed(index: I64, factor: F32, source: F32, times: int, rows: int) -> F32:
    """out[index[r]] += factor[r] · source[r // times], float32 (rows, d). `np.add.at` would take twice as long."""
    narrow = index.astype(np.uint16) if rows <= 1 << 16 else index  # 16-bit keys sort by radix
    order = np.argsort(narrow, kind="stable")
    held = index[order]
    starts = np.flatnonzero(np.r_[True, held[1:] != held[:-1]])
    out = np.zeros((rows, source.shape[1]), np.float32)
    out[held[starts]] = np.add.reduceat(factor[order, None] * source[order // times], starts, axis=0)
    return out
