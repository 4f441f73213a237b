"""One placement of the profile, compiled: from a subject's state to a decision and its trail."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.decide.bandit.choice import NOTHING, Choice
from edge_agent.decide.decision import Fallback, Fired, Scored, Shadowed, Trail, decision_id
from edge_agent.decide.experiment import NOWHERE, Assignment, Seat, keyed
from edge_agent.decide.fallback import step_down
from edge_agent.decide.score import Scores
from edge_agent.decide.verdict import Verdict, untouched
from edge_agent.doors import Doors
from edge_agent.exploring import Exploring
from edge_agent.infer.model import Array, LoadedModel
from edge_agent.limits import CANDIDATES_MAX, SCORED_MAX
from edge_agent.trials import Trials
from firmware_configs import designs
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression
from firmware_configs.profile import Best, Experiments, OnEvent, Placement, Policy, Rule, Threshold
from models.errors import ModelError

if TYPE_CHECKING:
    from edge_agent.decide.rules import Rules

F32 = NDArray[np.float32]
OVER_BUDGET = "over the budget"
_POLICY_NAMES = {kind: str(kind.__struct_config__.tag) for kind in get_args(Policy)}
TOP = 5
"""Candidates shown in a trail."""
COMPILED_MAX = 64
"""Sets of rules that are compiled once for all placements and arms that have the same."""


class Standing(Struct, array_like=True):
    """What a policy chose last for a subject."""

    items: tuple[str, ...]
    at_ms: int
    arm: str
    bundles: dict[str, str]


class Occasion(Struct, kw_only=True):
    """Why something is to be decided, and for whom."""

    event_id: str
    trigger: str
    subject: str
    fields: Mapping[str, float | str | bool]
    event_time_ms: int
    now_ms: int
    session: Mapping[str, float]
    rows: Callable[[LoadedModel], dict[str, F32]]
    """Model → its features inputs by name, each float32 (1, columns); the same rows become examples."""
    rows_before: Callable[[LoadedModel, str], dict[str, F32]]
    """The same as they were before the newest value of that field: for an event whose item is its own label."""
    personal: Callable[[LoadedModel], Mapping[str, Array]]
    """Model → the subject's own parameters."""
    settled_ms: int = 0
    """Unix ms that no clock's leap moves, for budgets a day."""
    cached: str | None = None
    items: tuple[str, ...] = ()
    """A request's own candidates."""
    traceparent: str = ""
    person: str
    """Whose subject it is; what must be the same across a person's devices goes by it."""
    why_not: str = ""
    """Why nothing was decided, once that is so."""
    stopped: bool = False
    """Whether a `stop` was why."""
    standing: Standing | None = None
    """Where the placement asks for stability."""
    stands: bool = False
    """Whether it is repeated."""
    popular: Callable[[], Sequence[str]] = tuple


class _Field(Struct):
    """The candidates and what is known of them."""

    items: Sequence[str]
    index: Mapping[str, int]
    outputs: dict[str, F32] = {}
    served: dict[str, list[float]] = {}


class CompiledPlacement:
    """Decides for one placement."""

    def __init__(
        self,
        placement: Placement,
        profile_hash: str,
        doors: Doors,
        trials: Trials,
        experiments: Experiments | None = None,
    ) -> None:
        self.placement = placement
        self.name = placement.name
        self.source = placement.trigger.source if isinstance(placement.trigger, OnEvent) else ""
        text = placement.trigger.when if isinstance(placement.trigger, OnEvent) else ""
        self._when = compile_expression(text) if text else None
        self._rules = _rules(placement)
        self.watch: Callable[[Sequence[str], Mapping[str, Any], str], None] | None = None
        """Told what rules are asked: candidates, values, event id; for `edge-agent rules test`."""
        self.rungs: dict[str, int] = {}
        """Decisions kept since the start of the process, by rung of the fallback ladder; empty: a policy's."""
        self._scores = Scores(placement.candidate, placement.models)
        self._fixed = tuple(candidate.item for candidate in placement.candidate)
        self._fixed_index = {item: n for n, item in enumerate(self._fixed)}
        self._profile = profile_hash
        self._doors = doors
        self._trials = trials
        self.assignment: Assignment | None = None
        self._arms: dict[str, CompiledPlacement] = {}
        if placement.experiment is not None:
            key = keyed(doors.secret, doors.home_key)
            self.assignment = Assignment(placement.experiment, experiments or Experiments(), key)
            plain = msgspec.structs.replace(placement, experiment=None)
            self._arms = {
                arm.name: CompiledPlacement(designs.treated(plain, arm), profile_hash, doors, trials)
                for arm in self.assignment.arms
            }
        self.exploring: Exploring = Exploring(
            placement, doors, {name: arm.exploring for name, arm in self._arms.items()}
        )

    def triggered(self, occasion: Occasion) -> bool:
        """Whether the event meets the trigger's condition; one that cannot be evaluated does not."""
        if self._when is None:
            return True
        try:
            return self._when.holds(self._values(occasion))
        except ExpressionError:
            return False

    def decide(self, occasion: Occasion) -> Trail | None:
        """One decision, or None when nothing may be decided (no candidate, everything denied, no fallback)."""
        if self.assignment is None:
            return self.decide_as(occasion, NOWHERE)
        seat = self.assignment.seat(occasion.person, occasion.now_ms)
        if occasion.standing is not None and occasion.standing.arm != seat.arm:
            occasion.standing = None
        return self._arms.get(seat.arm, self).decide_as(occasion, seat)

    def decide_as(self, occasion: Occasion, seat: Seat) -> Trail | None:
        """`decide` for a person with this seat in the experiment."""
        placement, doors = self.placement, self._doors
        models = self._trials.serving(placement.models, occasion.subject, occasion.event_id)
        bundles = {model.name: model.version for model in models}
        made = decision_id(occasion.event_id, self.name, self._profile, bundles)
        doors.over_budget(made, placement.budget_ms)
        values = self._values(occasion) if self._rules is not None else {}
        if self.watch is not None:
            self.watch(self._candidates(models, occasion).items, values, occasion.event_id)
        if self._rules is not None and (stop := self._rules.stopped(values)) is not None:
            occasion.why_not, occasion.stopped = f"Rule {stop.name}: {stop.reason}", True
            return None
        place = self._candidates(models, occasion)
        verdict = self._rules.apply(place.items, place.index, values) if self._rules else untouched(len(place.items))
        policy = placement.policy
        scores, why = self._score(models, place, verdict, occasion, made)
        doors.timings.lap("model")
        if self._trials.running:
            self._trials.decided(models, overran=why.startswith(OVER_BUDGET))
        choice = NOTHING
        if not why:
            choice, why = self._choose(policy, scores, verdict, models, place, occasion, made)
            why = "" if choice.order else why or "no eligible candidate reached the policy"
        items, propensity, rung = self._outcome(choice, why, occasion, place, verdict)
        doors.timings.lap("choose")
        if not items:
            occasion.why_not = _why_nothing(why, place, verdict)
            return None
        return Trail(
            id=made,
            placement=self.name,
            event_id=occasion.event_id,
            subject=occasion.subject,
            trigger=occasion.trigger,
            fields=dict(occasion.fields),
            features=place.served,
            outputs=_of_first(items[0], place),
            rules=tuple(verdict.fired),
            rules_untold=verdict.untold,
            candidates=len(place.items),
            eligible=verdict.count,
            top=_top(scores, verdict, place.items, policy) if not why else (),
            items=items,
            score=float(scores[place.index[items[0]]]) if not why and items[0] in place.index else 0.0,
            propensity=propensity,
            scale="" if (scale := self._scale(models)) == "probability" else scale,
            policy=_POLICY_NAMES[type(policy)],
            experiment=seat.experiment,
            arm=seat.arm,
            channel=placement.channel,
            fallback=rung,
            fallback_reason=why,
            bundles=bundles,
            shadow=self._shadow(items[0], scores, place, verdict, occasion) if self._trials.running and not why else (),
            profile=self._profile,
            event_time_ms=occasion.event_time_ms,
            decided_ms=occasion.now_ms,
            traceparent=occasion.traceparent,
            layer=seat.layer,
            arm_probability=seat.probability,
            allocation=seat.allocation,
            left_out=seat.left_out,
            propensities=choice.propensities if len(choice.order) > 1 else (),
            estimate=choice.mean,
            uncertainty=choice.deviation,
            held=choice.held,
            prior=choice.prior,
        )

    def _values(self, occasion: Occasion) -> dict[str, Any]:
        hour, weekday = self._doors.local_hour(occasion.now_ms)
        return {
            "fields": dict(occasion.fields),
            "subject": occasion.subject,
            "session": dict(occasion.session),
            "hour": hour,
            "weekday": weekday,
        }

    def _candidates(self, models: Sequence[LoadedModel], occasion: Occasion) -> _Field:
        if occasion.items:
            items = tuple(dict.fromkeys(occasion.items))[:CANDIDATES_MAX]
            return _Field(items, {item: n for n, item in enumerate(items)})
        if self._fixed:
            return _Field(self._fixed, self._fixed_index)
        if models and models[0].catalogue:
            return _Field(models[0].catalogue, models[0].index)
        return _Field((), {})

    def _score(
        self, models: Sequence[LoadedModel], place: _Field, verdict: Verdict, occasion: Occasion, made: str
    ) -> tuple[F32, str]:
        """(scores, "") or (zeros, why the models were not asked)."""
        if (stability := self.placement.stability) is not None and (
            why := self._stands(models, place, verdict, occasion)
        ):
            return _no_scores(place), why
        if len(models) < len(self.placement.models):
            missing = sorted({*self.placement.models} - {model.name for model in models})
            return _no_scores(place), f"no bundle of {', '.join(missing)} is active"
        if not place.items:
            return _no_scores(place), "there are no candidates"
        try:
            for model in models:
                watched = model.name in self._trials.running
                predict = self._timed if watched else _predict
                place.outputs[model.name] = predict(model, place, occasion)
            scores = self._scores.of(place.outputs, place.index)
        except (ModelError, ExpressionError) as error:
            return _no_scores(place), f"{error.code}: {error.what}"
        if self._doors.over_budget(made, self.placement.budget_ms):
            return _no_scores(place), f"{OVER_BUDGET} of {self.placement.budget_ms:g} ms"
        scores = scores + verdict.boost if verdict.boosted else scores
        if stability is not None and stability.switch_margin and occasion.standing is not None:
            at = place.index.get(occasion.standing.items[0])
            if at is not None:
                scores = scores.copy()
                scores[at] += np.float32(stability.switch_margin)
        return scores, ""

    def _stands(self, models: Sequence[LoadedModel], place: _Field, verdict: Verdict, occasion: Occasion) -> str:
        """Why the last choice is repeated; empty: it is not."""
        standing, stability = occasion.standing, self.placement.stability
        if standing is None or stability is None:
            return ""
        age_s = (occasion.now_ms - standing.at_ms) / 1_000
        # A clock that was set back holds nothing for longer.
        if not 0.0 <= age_s < stability.hold_s or standing.bundles != {model.name: model.version for model in models}:
            return ""
        if not all(item in place.index and verdict.eligible[place.index[item]] for item in standing.items):
            return ""
        occasion.stands = True
        return f"decided {age_s:g} s ago, which holds for {stability.hold_s:g} s"

    def _timed(self, model: LoadedModel, place: _Field, occasion: Occasion) -> F32:
        """The scores, with what they cost or that they failed counted for the trial of this bundle."""
        clock = self._doors.clock
        started = clock()
        try:
            scores = _predict(model, place, occasion)
        except ModelError:
            self._trials.called(model, 0.0, failed=True)
            raise
        took = clock() - started
        knows_some = not model.catalogue or any(item in model.index for item in place.items)
        self._trials.called(model, took, failed=knows_some and bool(np.isnan(scores).all()))
        return scores

    def _shadow(
        self, chosen: str, scores: F32, place: _Field, verdict: Verdict, occasion: Occasion
    ) -> tuple[Shadowed, ...]:
        """Let the versions in shadow score the same candidates; they decide nothing."""
        found = []
        for model in self._trials.shadows(self.placement.models):
            beside = _Field(place.items, place.index, dict(place.outputs))
            self._trials.decided((model,), overran=False)
            try:
                beside.outputs[model.name] = self._timed(model, beside, occasion)
                other = self._scores.of(beside.outputs, place.index) + verdict.boost
            except (ModelError, ExpressionError) as error:
                found.append(Shadowed(model.name, model.version, 0.0, "", f"{error.code}: {error.what}"))
                continue
            best, own_best = _best(other, verdict), _best(scores, verdict)
            at = place.index[chosen]
            difference = abs(float(other[at]) - float(scores[at]))
            if math.isfinite(difference):
                self._trials.compared(model, agreed=best == own_best, difference=difference)
            found.append(Shadowed(model.name, model.version, float(other[at]), place.items[best]))
        return tuple(found)

    def _choose(
        self,
        policy: Policy,
        scores: F32,
        verdict: Verdict,
        models: Sequence[LoadedModel],
        place: _Field,
        occasion: Occasion,
        made: str,
    ) -> tuple[Choice, str]:
        eligible = verdict.eligible if verdict.narrowed else None
        if isinstance(policy, Best) and eligible is None and self.placement.slate == 1 and len(scores):
            at = int(scores.argmax())  # a NaN would come first
            if not math.isnan(scores[at]):
                return Choice([at], (1.0,)), ""
        return self.exploring.choose(
            scores,
            eligible,
            place.items,
            self._scale(models),
            place.served,
            made,
            occasion.settled_ms,
        )

    def _scale(self, models: Sequence[LoadedModel]) -> str:
        """`rank` where scores are logits, else `probability`."""
        return models[0].scale if models and not self.placement.candidate else "probability"

    def _outcome(
        self, choice: Choice, why: str, occasion: Occasion, place: _Field, verdict: Verdict
    ) -> tuple[tuple[str, ...], float, Fallback]:
        if not why:
            return tuple(place.items[n] for n in choice.order), choice.propensity, ""
        if occasion.stands and occasion.standing is not None:
            return occasion.standing.items, 1.0, "standing"
        popular = occasion.popular()
        item, rung = step_down(occasion.cached, popular, place.items, place.index, verdict, self.placement.fallback)
        return ((item,) if item else ()), 1.0, rung


def _predict(model: LoadedModel, place: _Field, occasion: Occasion) -> F32:
    """float32 (n,) for a model with a candidate input (NaN where it does not know the item), else (1,)."""
    feeds: dict[str, Array] = dict(occasion.personal(model))
    rows = occasion.rows(model)
    for name, row in rows.items():
        place.served.setdefault(name, row[0].tolist())
    if not model.candidate:
        return model.score({**feeds, **rows})
    known = None
    if place.items is model.catalogue:
        numbers = np.arange(len(place.items), dtype=np.int64)
    else:
        numbers = np.array([model.index.get(item, -1) for item in place.items], dtype=np.int64)
        known = numbers >= 0
        numbers = numbers[known]
    if not len(numbers):
        return np.full(len(place.items), np.nan, np.float32)
    feeds[model.candidate] = numbers
    feeds.update({name: np.repeat(row, len(numbers), axis=0) for name, row in rows.items()})
    scored = model.score(feeds)
    if known is None or len(scored) == len(place.items):
        return scored
    spread = np.full(len(place.items), np.nan, np.float32)
    spread[known] = scored
    return spread


def _rules(placement: Placement) -> "Rules | None":
    return _compiled(placement.rule) if placement.rule else None


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(rules: tuple[Rule, ...]) -> "Rules":
    """What rules say depends on nothing but what they are asked: where a process holds many agents, they share them."""
    # The reading of CEL comes with it, which a device without rules need not load.
    from edge_agent.decide.rules import Rules

    return Rules(rules)


def _why_nothing(why: str, place: _Field, verdict: Verdict) -> str:
    """Why there is no item: in words, for `edge-agent explain --last`."""
    if not place.items:
        return "there were no candidates"
    if not verdict.count:
        named = "; ".join(f"{rule.name}: {rule.reason}" for rule in verdict.fired[:3])
        return f"rules denied all {len(place.items)} candidates ({named})"
    return f"{why}, and no fallback is allowed"


def _best(scores: F32, verdict: Verdict) -> int:
    return int(np.argmax(np.where(verdict.eligible & ~np.isnan(scores), scores, -np.inf)))


def _no_scores(place: _Field) -> F32:
    return np.zeros(len(place.items), np.float32)


def _of_first(item: str, place: _Field) -> dict[str, float]:
    at = place.index.get(item)
    if at is None:
        return {}
    return {name: float(out[at] if len(out) == len(place.items) else out[0]) for name, out in place.outputs.items()}


def _top(scores: F32, verdict: Verdict, items: Sequence[str], policy: Policy) -> tuple[Scored, ...]:
    """The best candidates, best first; all of them where the policy explores and they are few."""
    if len(items) > (TOP if isinstance(policy, Best | Threshold) else SCORED_MAX):
        ranked = np.where(np.isnan(scores), -np.inf, scores)
        best = np.argpartition(-ranked, TOP)[:TOP]
        order = best[np.argsort(-ranked[best], kind="stable")].tolist()
        return tuple(Scored(items[n], float(scores[n]), bool(verdict.eligible[n])) for n in order)
    # Numbers so few are compared faster without numpy.
    values = scores.tolist()
    eligible = verdict.eligible.tolist() if verdict.narrowed else [True] * len(values)
    order = sorted(range(len(items)), key=lambda n: values[n] if values[n] == values[n] else -math.inf, reverse=True)
    return tuple([Scored(items[n], values[n], eligible[n]) for n in order])


__all__ = ["CompiledPlacement", "Fired", "Occasion"]
