"""Training on the device: examples in, a new shared part and new personal parts out. Pure; the step comes from outside.

The graph `train_step.onnx` does the arithmetic; this module makes its batches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.learn.examples import Example
from models import negatives
from models.optimiser import belonging
from models.spec import Spec

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Array = NDArray[np.generic]
NOBODY: I64 = np.zeros(0, np.int64)
Weights = dict[str, F32]
Part = Literal["both", "personal", "shared"]
Step = Callable[[Mapping[str, F32], Mapping[str, Array], F32, float], tuple[Weights, float]]
"""(weights, inputs, label float32 (B,), learning rate) → (weights after, loss before).

What the optimiser remembers of a parameter `w` comes out as `w.KIND` beside it and goes in again with the next step.
"""


class Schedule(Struct, frozen=True, kw_only=True):
    """How to train."""

    epochs: int
    lr: float
    batch: int
    negatives: int
    """Unseen items sampled for each positive of a model with a catalogue, label 0."""
    prox_mu: float = 0.0
    """Pull of the shared part towards an anchor, without another one towards where the round began: FedProx, Li et
    al. 2020, equation 2."""
    personal_epochs: int = 0
    """Above 0: so many epochs of the personal parts first, the shared part held; then `epochs` of the shared part, the
    personal parts held. FedRep: Collins et al. 2021, algorithm 1."""
    steps: int = 0
    """Above 0: exactly so many steps, over as many epochs as that takes, instead of `epochs`."""
    only: Literal["both", "shared"] = "both"
    """shared: the personal parts are held."""
    factors: dict[str, float] = {}
    """Tensor → how far a step moves it; 1.0 where it is not named, 0.0 for a frozen one."""


@dataclass(slots=True)
class Trained:
    """What came out."""

    shared: Weights
    personal: dict[str, Weights]
    """Subject → its own parameters."""
    examples: int
    loss_before: float
    """Mean loss over the first epoch's batches as they came, before each step."""
    loss_after: float
    """The same over the last epoch."""
    copies: dict[str, Weights] = field(default_factory=dict)
    """Subject → its own copy of the shared part, where the round asks for one."""
    model: int = 0
    """Which of several models was trained."""
    control: Weights = field(default_factory=dict)
    """The fleet's control variate, where the round sends one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One subject's examples as arrays."""

    item: I64 | None
    """int64 (n,), rows of the catalogue; None for models without candidates."""
    features: dict[str, F32]
    """Input → float32 (n, columns)."""
    label: F32
    """float32 (n,)."""


class Pool(NamedTuple):
    """One subject's rows with places for the negatives behind them, which are drawn anew each epoch."""

    unseen: I64
    """What they are drawn from; empty: none are."""
    negatives: int
    """How many."""
    label: F32
    """Of the rows, then zeros."""
    source: I64
    """The row whose features each has; a negative has those of its positive."""


def rows_of(spec: Spec, examples: Sequence[Example], index: Mapping[str, int]) -> Rows | None:
    """The examples that fit the model, as arrays; None when none does.

    Examples of another version may name items that are gone, or have features of another width: they are left out.
    """
    wanted = {given.name: given.shape[1] for given in spec.inputs if given.from_ == "features"}
    candidate = any(given.from_ == "candidate" for given in spec.inputs)
    fitting = [
        e
        for e in examples
        if (not candidate or e.item in index) and all(len(e.features.get(n, ())) == w for n, w in wanted.items())
    ]
    if not fitting:
        return None
    return Rows(
        item=np.array([index[e.item] for e in fitting], np.int64) if candidate else None,
        features={name: np.array([e.features[name] for e in fitting], np.float32) for name in wanted},
        label=np.array([e.label for e in fitting], np.float32),
    )


def train(
    step: Step,
    spec: Spec,
    shared: Mapping[str, F32],
    personal: Mapping[str, Mapping[str, F32]],
    rows: Mapping[str, Rows],
    items: int,
    schedule: Schedule,
    dice: np.random.Generator,
    *,
    correction: Mapping[str, F32] | None = None,
    anchor: Mapping[str, F32] | None = None,
) -> Trained:
    """Train the shared part and each subject's personal part on the subject's own rows.

    Args:
        step: one step of `train_step.onnx`.
        shared: where the round began.
        personal: subject → where its own parameters stand; every subject in `rows` has an entry.
        rows: subject → examples.
        items: length of the catalogue; 0 without one.
        dice: makes order and negatives; the same seed gives the same result.
        correction: what is added to each step's gradient of the shared part; SCAFFOLD, Karimireddy et al. 2020.
        anchor: what `prox_mu` pulls towards; None: where the round began.
    """
    mine = {name: np.array(value, np.float32) for name, value in shared.items()}
    own = {subject: {n: np.array(v, np.float32) for n, v in parts.items()} for subject, parts in personal.items()}
    candidate = next((given.name for given in spec.inputs if given.from_ == "candidate"), "")
    towards = shared if anchor is None else anchor
    pools = {subject: pool_of(own_rows, items, schedule) for subject, own_rows in rows.items()}
    losses: list[list[float]] = []
    made = 0
    for part, epochs in _phases(schedule):
        for _ in range(epochs):
            epoch: list[float] = []
            for subject, inputs, label in _epoch(rows, candidate, pools, schedule, dice):
                if schedule.steps and made == schedule.steps:
                    break
                after, loss = step({**mine, **own[subject]}, inputs, label, schedule.lr)
                if part != "shared":
                    own[subject] = _gone(own[subject], belonging(after, personal[subject]), schedule)
                if part != "personal":
                    gone = _gone(mine, belonging(after, shared), schedule)
                    mine = gone | {n: _pulled(gone[n], towards[n], n, schedule, correction) for n in shared}
                epoch.append(loss)
                made += 1
            if not epoch:
                break
            losses.append(epoch)
    mine = {name: mine[name] for name in shared}
    own = {subject: {name: parts[name] for name in personal[subject]} for subject, parts in own.items()}
    count = sum(len(r.label) for r in rows.values())
    return Trained(mine, own, count, _mean(losses[:1]), _mean(losses[-1:]))


def _phases(schedule: Schedule) -> list[tuple[Part, int]]:
    """What is trained, and for how many epochs at most."""
    if schedule.personal_epochs:
        return [("personal", schedule.personal_epochs), ("shared", schedule.epochs)]
    # Every epoch that has a row makes a step.
    return [(schedule.only, schedule.steps or schedule.epochs)]


def _epoch(
    rows: Mapping[str, Rows],
    candidate: str,
    pools: Mapping[str, Pool],
    schedule: Schedule,
    dice: np.random.Generator,
) -> Iterator[tuple[str, dict[str, Array], F32]]:
    """Every subject's batches, one subject after the other."""
    for subject in sorted(rows):
        for inputs, label in _batches(rows[subject], candidate, pools[subject], schedule, dice):
            yield subject, inputs, label


def _gone(before: Mapping[str, F32], after: Weights, schedule: Schedule) -> Weights:
    """After a step, each tensor as far as its factor says."""
    if not schedule.factors:
        return after
    return {
        name: value
        if (factor := schedule.factors.get(name, 1.0)) == 1.0 or name not in before
        else np.asarray(before[name] + factor * (value - before[name]), np.float32)
        for name, value in after.items()
    }


def _pulled(value: F32, anchor: F32, name: str, schedule: Schedule, correction: Mapping[str, F32] | None) -> F32:
    """After a step, what the anchor and the correction add to it."""
    pull = schedule.lr * schedule.factors.get(name, 1.0)
    if pull and schedule.prox_mu:
        value = np.asarray(value - pull * schedule.prox_mu * (value - anchor), np.float32)
    if pull and correction is not None:
        value = np.asarray(value - pull * correction[name], np.float32)
    return value


def pool_of(rows: Rows, items: int, schedule: Schedule) -> Pool:
    """The pool of a subject."""
    label, source, unseen = rows.label, np.arange(len(rows.label)), NOBODY
    positives = np.flatnonzero(label >= 0.5) if rows.item is not None and schedule.negatives and items else NOBODY
    if rows.item is not None and len(positives):
        unseen = negatives.untouched(items, rows.item[positives])
    count = schedule.negatives * len(positives) if len(unseen) else 0
    if count:
        label = np.concatenate([label, np.zeros(count, np.float32)])
        source = np.concatenate([source, np.repeat(positives, schedule.negatives)])
    return Pool(unseen, count, label.astype(np.float32), source)


def epoch_of(rows: Rows, pool: Pool, dice: np.random.Generator) -> tuple[I64 | None, I64]:
    """One epoch of one subject: the items of the pool's places (None without candidates), and the order of these."""
    item = rows.item
    if item is not None and pool.negatives:
        item = np.concatenate([item, negatives.draw(pool.unseen, pool.negatives, dice)])
    return item, dice.permutation(len(pool.label))


def _batches(
    rows: Rows, candidate: str, pool: Pool, schedule: Schedule, dice: np.random.Generator
) -> list[tuple[dict[str, Array], F32]]:
    """One epoch of one subject, shuffled, a batch after the other."""
    item, order = epoch_of(rows, pool, dice)
    found: list[tuple[dict[str, Array], F32]] = []
    for start in range(0, len(order), schedule.batch):
        at = order[start : start + schedule.batch]
        inputs: dict[str, Array] = {name: values[pool.source[at]] for name, values in rows.features.items()}
        if item is not None:
            inputs[candidate] = item[at]
        found.append((inputs, pool.label[at]))
    return found


def _mean(epochs: Sequence[Sequence[float]]) -> float:
    values = [loss for epoch in epochs for loss in epoch]
    return float(np.mean(values)) if values else 0.0
