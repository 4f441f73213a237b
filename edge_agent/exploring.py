"""What a placement has learned and may try: its policies' learners, its budget, and who still waits for an outcome.

All state is in the room `bandit`, written by the step that changed it and recalled when it is needed.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.batch import Batch
from edge_agent.decide.bandit.choice import NOTHING, Choice, ranked, sound
from edge_agent.decide.decision import Trail
from edge_agent.decide.score import probabilities
from edge_agent.doors import Doors
from edge_agent.limits import ARMS_MAX, COLUMNS_LEARNED_MAX
from firmware_configs.profile import (
    Best,
    LinThompson,
    LinUcb,
    Placement,
    SquareCb,
    Threshold,
)
from models.spec import ItemSequence, Spec, feature_names

if TYPE_CHECKING:
    from edge_agent.decide.bandit.budget import Budget
    from edge_agent.decide.bandit.learner import Learner
    from edge_agent.decide.bandit.pending import Pending, Waiting
    from edge_agent.decide.bandit.restraint import Restraint

F32 = NDArray[np.float32]
ROOM: Final = "bandit"
LINEAR = (LinUcb, LinThompson, SquareCb)
BUDGET = "\x00budget"
PENDING = "\x00pending\x00"


class Columns:
    """Which served numbers a linear policy learns on: all but sequences of row numbers, which are names."""

    __slots__ = ("_of", "signature", "width")

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._of: dict[str, tuple[NDArray[np.intp], int]] = {}
        names: list[str] = []
        for spec in specs:
            for given in spec.inputs:
                if given.from_ == "features" and given.name not in self._of:
                    kept = np.repeat(
                        [not isinstance(feature, ItemSequence) for feature in given.features],
                        [feature.width for feature in given.features],
                    )
                    self._of[given.name] = (np.flatnonzero(kept), len(kept))
                    names += [name for name, keep in zip(feature_names(given), kept, strict=True) if keep]
        self.width = len(names)
        self.signature = int.from_bytes(hashlib.sha256("\x00".join(names).encode()).digest()[:7])

    def context(self, served: Mapping[str, Sequence[float]]) -> F32 | None:
        """The numbers in order, float32 (width,); None: they were served for other features."""
        if not self.width:
            return None
        rows = [(served.get(name, ()), kept, columns) for name, (kept, columns) in self._of.items()]
        if any(len(row) != columns for row, _, columns in rows):
            return None
        parts = [np.asarray(row, np.float32)[kept] for row, kept, _ in rows]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


class Exploring:
    """One placement's part of the decision that learns.

    An arm of an experiment that chooses otherwise (another policy, other models) learns for itself, from its own
    decisions: what one arm tries is no help to the others. Budget and waiting are the placement's, over all arms.
    """

    def __init__(self, placement: Placement, doors: Doors, arms: "Mapping[str, Exploring] | None" = None) -> None:
        """Set up; state is recalled when it is needed.

        Args:
            placement: compiled; or as an arm has it.
            arms: of its experiment, by name.
        """
        self.placement, self._doors = placement, doors
        self.key = placement.name
        self._whole = self
        self._arms = dict(arms or {})
        for name, arm in self._arms.items():
            arm.join(self, name)
        self._learner: Learner | None = None
        self._versions: tuple[tuple[str, str], ...] = ()
        self._changed: dict[str, Callable[[], bytes]] = {}
        self.columns = Columns(())
        self._budget: Budget | None = None
        self._pending: Pending | None = None

    def choose(
        self,
        scores: F32,
        eligible: NDArray[np.bool_] | None,
        items: Sequence[str],
        task: str,
        served: Mapping[str, Sequence[float]],
        made: str,
        settled_ms: int,
    ) -> tuple[Choice, str]:
        """Choose among the eligible.

        Args:
            scores: float32 (n,), higher is better; a NaN is never chosen.
            eligible: bool (n,); None: all.
            items: n names.
            task: of the model, which says what scores are as probabilities; policies that learn start from those.
            served: model input → row.
            made: the decision's id.
            settled_ms: unix ms, by which days begin.
        Returns:
            The choice, and why the policy could not be asked; empty: it was.
        """
        policy, slate = self.placement.policy, self.placement.slate
        places = sound(scores, eligible)
        if not len(places):
            return NOTHING, ""
        if isinstance(policy, Best | Threshold):
            return ranked(scores, places, slate, policy.minimum if isinstance(policy, Threshold) else -np.inf), ""
        probability = probabilities(scores, task)
        learner = self.learned()
        if learner is None:
            return NOTHING, "a model of the placement is not active"
        from edge_agent.decide.bandit.draw import uniforms
        from edge_agent.decide.bandit.slate import drawn, draws_needed

        context = None
        if isinstance(policy, LINEAR):
            if learner.columns > COLUMNS_LEARNED_MAX:
                kind = type(policy).__struct_config__.tag
                return NOTHING, (
                    f"policy {kind} learns on at most {COLUMNS_LEARNED_MAX} feature columns, "
                    f"the bundle gives {learner.columns}"
                )
            context = self._context(served)
            if len(places) > ARMS_MAX:
                places = np.sort(places[np.argsort(-scores[places], kind="stable")[:ARMS_MAX]])
        whole = len(places) == len(items)
        asked = items if whole else [items[place] for place in places]
        own = (scores, probability) if whole else (scores[places], probability[places])
        beliefs = learner.beliefs(asked, context, *own)
        restraint = self._restraint(settled_ms)
        draw = uniforms(self._doors.secret, made, draws_needed(policy, slate, restrained=restraint is not None))
        choice = drawn(learner.vector, beliefs, scores, places, slate, draw, restraint)
        if restraint is not None:
            restraint.budget.take(explored=choice.explored, loss=choice.loss)
        if isinstance(policy, LINEAR):
            choice.prior = tuple(probability[choice.order].tolist())
        return choice, ""

    def decided(self, trail: Trail, batch: Batch) -> None:
        """A decision was made: what it spent is written."""
        if self._budget is not None and not trail.fallback:
            batch.touch(ROOM, self.placement.name + BUDGET, self._budget.pack)

    def wait(self, decision: str, items: tuple[str, ...], batch: Batch) -> int:
        """Let a decision wait for its outcomes; the number by which it is found again."""
        queue = self._queue()
        number = queue.add(decision, batch.settled_ms + int(self.placement.reward_window_s * 1_000), items)
        self._store_queue(batch)
        return number

    def settles(self, trail: Trail, item: str, batch: Batch) -> bool:
        """Whether an outcome of an item still counts; from now on it has."""
        if self.placement.no_outcome is None or not trail.waits:
            return True
        counts = self._queue().settle(trail.waits, trail.id, item)
        self._store_queue(batch)
        return counts

    def due(self, batch: Batch) -> "list[Waiting]":
        """Decisions whose window has closed, each once."""
        found = list(self._queue().due(batch.settled_ms))
        if found:
            self._store_queue(batch)
        return found

    def rewarded(self, trail: Trail, item: str, value: float, at_ms: int, batch: Batch) -> None:
        """Let the policy that decided learn what came of it."""
        arm = self._arms.get(trail.arm)
        if arm is not None and arm.key != self.key:
            arm.rewarded(msgspec.structs.replace(trail, arm=""), item, value, at_ms, batch)
            return
        learner = self.learned()
        if learner is None:
            return
        context, probability = None, 0.0
        if isinstance(self.placement.policy, LINEAR):
            context = self._context(trail.features)
            if learner.columns > COLUMNS_LEARNED_MAX or (learner.width and context is None):
                return  # another bundle's features: nothing can be learned from them
            if len(trail.prior) < len(trail.items):
                return  # the fallback ladder decided, without a score
            probability = trail.prior[trail.items.index(item)]
        for part in learner.learn(item, value, context, probability, at_ms):
            pack = partial(learner.pack, part)
            self._changed[part] = pack
            batch.touch(ROOM, self.key + part, pack)

    def trim(self) -> None:
        """Between steps: let go of what is stored."""
        self._changed.clear()
        if self._learner is not None:
            self._learner.trim()
        for arm in self._arms.values():
            arm.trim()
        if self._pending is not None:
            self._pending.trim()

    def join(self, whole: "Exploring", arm: str) -> None:
        """Become an arm."""
        self._whole = whole
        own, common = self.placement, whole.placement
        if (own.policy, own.models) != (common.policy, common.models):
            self.key = f"{common.name}\x00arm\x00{arm}"

    def learned(self) -> "Learner | None":
        """The learner, for the features of the models that are active; None: one of them is not."""
        if self.key == self._whole.key and self is not self._whole:
            return self._whole.learned()
        models = [self._doors.models[name] for name in self.placement.models if name in self._doors.models]
        versions = tuple([(model.name, model.version) for model in models])
        if self._learner is None or versions != self._versions:
            linear = isinstance(self.placement.policy, LINEAR)
            if linear and len(models) < len(self.placement.models):
                return None
            from edge_agent.decide.bandit.learner import learner_of

            columns = self.columns = Columns([model.spec for model in models] if linear else ())
            prior = models[0].warm_start if models else None
            self._learner = learner_of(
                self.placement.policy, columns.width, self._recalled, prior, columns.signature if linear else 0
            )
            self._versions = versions
        return self._learner

    def _context(self, served: Mapping[str, Sequence[float]]) -> F32 | None:
        """The learner's columns of what was served."""
        shares = self.key == self._whole.key
        return (self._whole if shares else self).columns.context(served)

    def _recalled(self, part: str) -> bytes | None:
        """What is stored, or will be at the end of this step."""
        changed = self._changed.get(part)
        return changed() if changed is not None else self._doors.recall(ROOM, self.key + part)

    def _restraint(self, settled_ms: int) -> "Restraint | None":
        said = self.placement.exploration
        if said is None:
            return None
        from edge_agent.decide.bandit.restraint import Restraint

        budget = self._whole.spent()
        budget.open(settled_ms)
        return Restraint(said, budget)

    def spent(self) -> "Budget":
        """The placement's budget."""
        if self._budget is None:
            from edge_agent.decide.bandit.budget import Budget

            self._budget = Budget(self._doors.recall(ROOM, self.placement.name + BUDGET))
        return self._budget

    def _queue(self) -> "Pending":
        if self._pending is None:
            from edge_agent.decide.bandit.pending import Pending

            self._pending = Pending(lambda key: self._doors.recall(ROOM, f"{self.placement.name}{PENDING}{key}"))
        return self._pending

    def _store_queue(self, batch: Batch) -> None:
        queue, prefix = self._queue(), self.placement.name + PENDING
        for key in sorted(queue.changed):
            batch.touch(ROOM, prefix + key, partial(queue.pack, key))
        for key in sorted(queue.dropped):
            batch.drop(ROOM, prefix + key)
        queue.changed.clear()
        queue.dropped.clear()
