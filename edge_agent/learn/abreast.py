"""Training of many devices side by side: what `trainer.train` does for one, in array operations over all their rows.

For models that score an item by its embedding and a person's vector: logit = eᵢ · q + bᵢ + u, with q the person's own
vector, plus, where the model looks at the last items, Σₗ wₗ ∘ e(item l). That is `affinity` and `affinity-recent` of
the zoo; whether a bundle is one of them is tried on its own graph (`fitting`), not believed by its name.

Rows of all devices stand end to end. Every sum is taken in the order of the rows and in float64, so what comes out for
a device does not depend on who stands beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.learn.trainer import Rows, Schedule, Step, Trained, Weights, epoch_of, pool_of
from models.spec import Spec

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
EMBEDDING, BIAS, PLACES, VECTOR, OFFSET = "item_embedding", "item_bias", "place_weight", "user_vector", "user_bias"
TOLERANCE = 1e-4
"""How far the form and the graph may be apart after a trial step, relative to the largest number."""
DECAY_MIN = 1e-6
"""Below it a decay cannot be told from rounding, and moves nothing that counts."""
TRIED = 32
"""Rows of the trial step."""


class Form(Struct, frozen=True, kw_only=True):
    """How far a step of a bundle's graph goes.

    Attributes:
        step: tensor → factor of the learning rate.
        decay: tensor → pull towards zero.
        candidate: the input that names the item.
        recent: the input with the last items, row + 1 and 0 for none; empty: the model has none.
    """

    step: dict[str, float]
    decay: dict[str, float]
    candidate: str
    recent: str = ""


class Pupil(NamedTuple):
    """One device's side."""

    personal: Mapping[str, Mapping[str, F32]]
    rows: Mapping[str, Rows]
    dice: np.random.Generator


class _Held:
    """The parameters of all devices, and of all their people."""

    def __init__(self, form: Form, shared: Mapping[str, F32], pupils: Sequence[Pupil]) -> None:
        self.form = form
        self.shared = {name: np.repeat(value[None], len(pupils), axis=0) for name, value in shared.items()}
        self.owner = {
            (number, subject): place
            for place, (number, subject) in enumerate((n, s) for n, pupil in enumerate(pupils) for s in pupil.personal)
        }
        self.personal = {
            name: np.stack([np.asarray(own[name], np.float32) for one in pupils for own in one.personal.values()])
            for name in (VECTOR, OFFSET)
        }

    def go(self, batch: "_Batch", lr: float) -> F64:
        """One step of those devices that have a batch; returns their mean losses before it, float64 (devices,)."""
        return self._by_catalogue(batch, lr) if batch.recent is None else self._by_rows(batch, batch.recent, lr)

    def _by_catalogue(self, batch: "_Batch", lr: float) -> F64:
        """A person asks the same of every row: then each item is scored once, and rows only add up their slopes."""
        embedding, bias = self.shared[EMBEDDING], self.shared[BIAS]
        devices, items = bias.shape
        client, owner = batch.client, self._owners(batch, devices)
        query = self.personal[VECTOR][owner]  # (devices, d)
        logits = np.einsum("cid,cd->ci", embedding, query) + bias + self.personal[OFFSET][owner]
        at = client * items + batch.item
        loss, slope, count = _slopes(logits.reshape(-1)[at].astype(np.float64), batch.label, client, devices)
        of_item = np.bincount(at, slope, devices * items).reshape(devices, items).astype(np.float32)
        gradient = {EMBEDDING: of_item[:, :, None] * query[:, None, :], BIAS: of_item}
        own = {VECTOR: np.einsum("ci,cid->cd", of_item, embedding), OFFSET: of_item.sum(axis=1, keepdims=True)}
        active = count > 0
        self._move(self.shared, gradient, active.astype(np.float32), lr)
        moved = {name: self.personal[name][owner] for name in own}
        self._move(moved, own, active.astype(np.float32), lr)
        for name, value in moved.items():
            self.personal[name][owner[active]] = value[active]
        return loss

    def _owners(self, batch: "_Batch", devices: int) -> I64:
        """Whose rows each device goes through in this step; of those that go through none, anybody."""
        owner = np.zeros(devices, np.int64)
        owner[batch.client] = batch.owner
        return owner

    def _by_rows(self, batch: "_Batch", recent: I64, lr: float) -> F64:
        """The last items differ from row to row, and so does what a row asks for."""
        embedding, client, owner = self.shared[EMBEDDING], batch.client, batch.owner
        devices, items, size = embedding.shape
        at = client * items + batch.item
        rows = embedding.reshape(-1, size)[at]  # (P, d)
        seen = embedding.reshape(-1, size)[client[:, None] * items + np.maximum(recent - 1, 0)]  # (P, L, d)
        seen *= (recent > 0)[:, :, None]
        query = self.personal[VECTOR][owner] + np.einsum("pld,pld->pd", seen, self.shared[PLACES][client])
        z = np.einsum("pd,pd->p", rows, query).astype(np.float64)
        z += self.shared[BIAS].reshape(-1)[at] + self.personal[OFFSET][owner, 0]
        loss, slope, count = _slopes(z, batch.label, client, devices)
        to_query = slope[:, None] * rows
        of_embedding = _summed(at, slope[:, None] * query, devices * items).reshape(embedding.shape)
        of_places = self._of_places(batch, recent, seen, to_query, of_embedding)
        of_bias = np.bincount(at, slope, devices * items).reshape(devices, items)
        people = len(self.owner)
        own = {VECTOR: _summed(owner, to_query, people), OFFSET: np.bincount(owner, slope, people)[:, None]}
        trained = (np.bincount(owner, minlength=people) > 0).astype(np.float32)
        gradient = {EMBEDDING: of_embedding, BIAS: of_bias, PLACES: of_places}
        self._move(self.shared, gradient, (count > 0).astype(np.float32), lr)
        self._move(self.personal, own, trained, lr)
        return loss

    def _of_places(self, batch: "_Batch", recent: I64, seen: F32, to_query: F64, of_embedding: F64) -> F64:
        """The slope of the places' weights; what the last items' embeddings get is added to `of_embedding`."""
        places = self.shared[PLACES]
        devices, length, size = places.shape
        items = of_embedding.shape[1]
        for place in range(length):
            there = np.flatnonzero(recent[:, place])
            at = batch.client[there] * items + recent[there, place] - 1
            more = to_query[there] * places[batch.client[there], place]
            of_embedding += _summed(at, more, devices * items).reshape(of_embedding.shape)
        found = [_summed(batch.client, to_query * seen[:, place], devices) for place in range(length)]
        return np.stack(found, axis=1).reshape(devices, length, size)

    def _move(self, held: dict[str, F32], gradient: Mapping[str, NDArray[Any]], active: F32, lr: float) -> None:
        """One step down; of those that are not `active` (1 or 0) none."""
        for name, slope in gradient.items():
            value, decay = held[name], np.float32(self.form.decay[name])
            change = np.asarray(slope, np.float32)
            if decay:
                change = change + decay * value
            factor = active.reshape(-1, *(1,) * (value.ndim - 1)) * np.float32(lr * self.form.step[name])
            held[name] = value - factor * change


def _slopes(z: F64, label: F32, client: I64, devices: int) -> tuple[F64, F64, I64]:
    """Of the mean cross-entropy of each device's rows: the loss (devices,), its slope by row, and how many rows."""
    count = np.bincount(client, minlength=devices)
    wanted = label.astype(np.float64)
    loss = np.bincount(client, np.logaddexp(0.0, z) - wanted * z, devices) / np.maximum(count, 1)
    return loss, (0.5 * (1.0 + np.tanh(0.5 * z)) - wanted) / count[client], count


class _Batch(NamedTuple):
    """One step's rows of all devices that take it."""

    client: I64
    owner: I64
    item: I64
    recent: I64 | None
    label: F32


def _summed(at: I64, values: F64 | F32, size: int) -> F64:
    """out[at[r]] += values[r], float64 (size, d), in the order of the rows."""
    return np.stack([np.bincount(at, values[:, column], size) for column in range(values.shape[1])], axis=1)


def train_all(
    form: Form, shared: Mapping[str, F32], pupils: Sequence[Pupil], items: int, schedule: Schedule
) -> list[Trained]:
    """What `trainer.train` would give for each device, in their order; see there for the arguments.

    Only plain schedules (`is_plain`).
    """
    lists = [list(_steps(pupil, form, items, schedule)) for pupil in pupils]
    held = _Held(form, shared, pupils)
    losses = np.zeros((max(map(len, lists), default=0), len(pupils)))
    for number in range(len(losses)):
        losses[number] = held.go(_side_by_side(lists, number, held, form), schedule.lr)
    found = []
    for n, pupil in enumerate(pupils):
        epochs = [epoch for epoch, *_ in lists[n]]
        first = [losses[k, n] for k, epoch in enumerate(epochs) if epoch == 0]
        last = [losses[k, n] for k, epoch in enumerate(epochs) if epoch == epochs[-1]]
        found.append(
            Trained(
                {name: held.shared[name][n] for name in shared},
                {
                    subject: {name: held.personal[name][held.owner[n, subject]] for name in own}
                    for subject, own in pupil.personal.items()
                },
                sum(len(rows.label) for rows in pupil.rows.values()),
                float(np.mean(first)) if first else 0.0,
                float(np.mean(last)) if last else 0.0,
            )
        )
    return found


def is_plain(schedule: Schedule) -> bool:
    """Whether it is what `train_all` does: whole epochs of everything, with nothing added to the gradient."""
    return not (
        schedule.prox_mu or schedule.personal_epochs or schedule.steps or schedule.factors or schedule.only != "both"
    )


_OneStep = tuple[int, str, I64, I64 | None, F32]
"""Epoch, subject, items, last items, labels."""


def _steps(pupil: Pupil, form: Form, items: int, schedule: Schedule) -> Iterator[_OneStep]:
    """A device's batches, drawn as the trainer draws them."""
    subjects = [(name, pupil.rows[name], pool_of(pupil.rows[name], items, schedule)) for name in sorted(pupil.rows)]
    for epoch in range(schedule.epochs):
        for subject, rows, pool in subjects:
            item, order = epoch_of(rows, pool, pupil.dice)
            if item is None:  # a form has candidates
                return
            for start in range(0, len(order), schedule.batch):
                at = order[start : start + schedule.batch]
                recent = rows.features[form.recent][pool.source[at]].astype(np.int64) if form.recent else None
                yield epoch, subject, item[at], recent, pool.label[at]


def _side_by_side(lists: Sequence[Sequence[_OneStep]], number: int, held: _Held, form: Form) -> _Batch:
    there = [(n, own[number]) for n, own in enumerate(lists) if len(own) > number]
    sizes = [len(one[4]) for _, one in there]
    return _Batch(
        client=np.repeat(np.array([n for n, _ in there], np.int64), sizes),
        owner=np.repeat(np.array([held.owner[n, one[1]] for n, one in there], np.int64), sizes),
        item=np.concatenate([one[2] for _, one in there]),
        recent=np.concatenate([one[3] for _, one in there if one[3] is not None]) if form.recent else None,
        label=np.concatenate([one[4] for _, one in there]),
    )


def fitting(spec: Spec, step: Step, items: int) -> Form | None:
    """The form of a bundle, found out from its own graph; None: it has another one.

    Two trial steps give the factors of each tensor; a third, on other rows, must come out alike in both.

    Args:
        step: of its `train_step.onnx`.
        items: length of its catalogue.
    """
    shapes = {parameter.name: parameter.shape for parameter in spec.parameters}
    candidate = next((given.name for given in spec.inputs if given.from_ == "candidate"), "")
    others = [given for given in spec.inputs if given.from_ != "candidate"]
    recent = others[0].name if len(others) == 1 and PLACES in shapes else ""
    wanted = {EMBEDDING, BIAS, VECTOR, OFFSET} | ({PLACES} if recent else set())
    if set(shapes) != wanted or not candidate or items < 2 or len(others) != bool(recent):
        return None
    dice = np.random.default_rng(0)
    start = {name: dice.normal(0.0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    plain = Form(step=dict.fromkeys(shapes, 1.0), decay=dict.fromkeys(shapes, 0.0), candidate=candidate, recent=recent)
    found = _measured(plain, start, step, _trial(plain, spec, items, dice))
    if found is None:
        return None
    inputs, label = _trial(plain, spec, items, dice)
    after, _ = step(start, inputs, label, 0.1)
    own = _alone(found, start, inputs, label, 0.1)
    close = all(np.abs(after[n] - own[n]).max() <= TOLERANCE * max(1.0, np.abs(after[n]).max()) for n in shapes)
    return found if close and set(after) == set(shapes) else None


def _measured(
    plain: Form, start: Weights, step: Step, trial: tuple[dict[str, NDArray[np.generic]], F32]
) -> Form | None:
    """Factors and decays by least squares: what the graph moved = -lr · step · (gradient + decay · value)."""
    inputs, label = trial
    after, _ = step(start, inputs, label, 1.0)
    if set(after) != set(start):
        return None  # an optimiser with a memory
    own = _alone(plain, start, inputs, label, 1.0)
    factors: dict[str, float] = {}
    decays: dict[str, float] = {}
    for name, value in start.items():
        moved = (after[name].astype(np.float64) - value).reshape(-1)
        plainly = (own[name].astype(np.float64) - value).reshape(-1)
        # One number cannot tell a factor from a decay: then there is none of the latter, or the second trial says so.
        basis = np.stack([plainly, -value.astype(np.float64).reshape(-1)][: len(moved)], axis=1)
        factor, *pull = np.linalg.lstsq(basis, moved, rcond=None)[0].tolist()
        factors[name] = round(factor, 4)
        decay = pull[0] / factor if pull and factor else 0.0
        decays[name] = decay if abs(decay) > DECAY_MIN else 0.0
    return Form(step=factors, decay=decays, candidate=plain.candidate, recent=plain.recent)


def _trial(form: Form, spec: Spec, items: int, dice: np.random.Generator) -> tuple[dict[str, NDArray[np.generic]], F32]:
    inputs: dict[str, NDArray[np.generic]] = {form.candidate: dice.integers(0, items, TRIED)}
    if form.recent:
        length = next(given.shape[1] for given in spec.inputs if given.name == form.recent)
        inputs[form.recent] = dice.integers(0, items + 1, (TRIED, length)).astype(np.float32)
    return inputs, (dice.random(TRIED) < 0.3).astype(np.float32)


def _alone(form: Form, start: Weights, inputs: Mapping[str, NDArray[np.generic]], label: F32, lr: float) -> Weights:
    """All parameters after one step of one device."""
    own = {name: start[name] for name in (VECTOR, OFFSET)}
    shared = {name: value for name, value in start.items() if name not in own}
    held = _Held(form, shared, [Pupil({"one": own}, {}, np.random.default_rng(0))])
    nobody = np.zeros(len(label), np.int64)
    recent = np.asarray(inputs[form.recent], np.int64) if form.recent else None
    held.go(_Batch(nobody, nobody, np.asarray(inputs[form.candidate], np.int64), recent, label), lr)
    return {name: (held.shared | held.personal)[name][0] for name in start}
