"""What other policies would have earned at a placement, from the decisions that its own policy made.

A policy that learns is made to live through the log: at each decision it knows the outcomes that had come until then,
and no others, so its value is that of learning there (with the log's choices), not of knowing the end already.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.decide.decision import Trail
from edge_agent.errors import LogSaysNothing
from edge_agent.evidence import REASONS, Evidence, Lesson, Round
from edge_agent.limits import SCORED_MAX
from models.offpolicy.confidence import Confidence, Interval, Value, estimates, gain, valued
from models.offpolicy.estimators import Fitted, Index, Rounds, on_policy, snips
from models.offpolicy.reward_model import fit, folds
from models.offpolicy.support import Caution, Support, cautions, support

F64 = NDArray[np.float64]
SUBJECTS_MIN = 20
"""People from which on intervals are over people, whose decisions belong together; with fewer, over decisions."""
SURE = 1.0 - 1e-12
HINTS = {
    "unscored": f"trails keep all scores where the policy explores among at most {SCORED_MAX} candidates",
    "fallback": "see with `edge-agent explain` why models and rules do not decide",
}
"""What to do when most decisions were left out for a reason."""


class Chooser(Protocol):
    """A policy that can be asked how it would choose."""

    def probabilities(self, trail: Trail) -> F64:
        """The probability of each candidate of `trail.top` to come first, float64 (candidates,); sums to at most 1."""

    def of_taken(self, trail: Trail) -> float | None:
        """That of what was decided, where `trail.top` holds only the best candidates; None: it cannot be told."""

    def learn(self, trail: Trail, lesson: Lesson) -> None:
        """An outcome of the decision's first item has come."""


class Chances(Struct, frozen=True, kw_only=True):
    """How a policy would have chosen, at each decision.

    Attributes:
        taken: float64 (n,), its probability of what was decided.
        uncovered: float64 (n,), its probability of what the log could not, or never did, decide there.
        fitted: what a reward model says; None where trails do not hold all candidates.
    """

    taken: F64
    uncovered: F64
    fitted: Fitted | None = None


class Judged(Struct, frozen=True, kw_only=True):
    """One policy, evaluated."""

    policy: str
    estimates: dict[str, Value]
    """By `ips`, `snips`, `dm`, `dr`."""
    gain: float
    """Its SNIPS value minus what the log's own policy earned, on the same decisions."""
    gain_interval: Interval
    support: Support
    cautions: tuple[Caution, ...]


class Evaluation(Struct, frozen=True, kw_only=True):
    """What `edge-agent evaluate --json` prints."""

    placement: str
    metric: str
    decisions: int
    """That are evaluated."""
    left_out: dict[str, int]
    since_ms: int
    first_ms: int
    last_ms: int
    subjects: int
    over: str
    """What the intervals resample: `subjects` or `decisions`."""
    whole: bool
    """Whether trails hold all candidates; where not, only policies that go by scores, and no `dm` and `dr`."""
    level: float
    logged_policies: dict[str, int]
    """Policy that ran → decisions."""
    logged: Value
    """What the log's own policies earned: the mean."""
    policies: tuple[Judged, ...]


def evaluate(
    placement: str,
    metric: str,
    since_ms: int,
    evidence: Evidence,
    choosers: Mapping[str, Chooser],
    clip: float | None,
    confidence: Confidence,
) -> Evaluation:
    """Let every policy live through the log.

    Args:
        placement, metric, since_ms: for the report.
        evidence: the log, at least one decision.
        choosers: name → a policy that has learned nothing yet.
        clip: largest weight; None: unclipped.
        confidence: how intervals are made.
    Raises:
        LogSaysNothing: there is nothing to evaluate on, or nothing else was ever tried.
    """
    whole = bool(evidence.rounds)
    rounds = evidence.rounds or evidence.brief
    if not rounds:
        raise _nothing_left(placement, evidence.left_out)
    cluster, subjects = _people(rounds)
    reward = np.array([one.earned for one in rounds])
    first = Rounds(reward=reward, logged=_logged(rounds), evaluated=_logged(rounds), cluster=cluster)
    judged = []
    for name, chooser in choosers.items():
        chances = _of_whole(lived(chooser, rounds), rounds, cluster) if whole else _of_brief(name, chooser, rounds)
        _refuse_certainty(placement, name, rounds, chances)
        judged.append(_judged(name, first, chances, clip, confidence))
    policies: dict[str, int] = {}
    for one in rounds:
        policies[one.trail.policy] = policies.get(one.trail.policy, 0) + 1
    return Evaluation(
        placement=placement,
        metric=metric,
        decisions=len(rounds),
        left_out={**evidence.left_out, **({"unscored": len(evidence.brief)} if whole and evidence.brief else {})},
        since_ms=since_ms,
        first_ms=rounds[0].trail.decided_ms,
        last_ms=rounds[-1].trail.decided_ms,
        subjects=subjects,
        over="decisions" if cluster is None else "subjects",
        whole=whole,
        level=confidence.level,
        logged_policies=policies,
        logged=valued(on_policy(first), cluster, confidence),
        policies=tuple(judged),
    )


def _nothing_left(placement: str, left_out: Mapping[str, int]) -> LogSaysNothing:
    told = "; ".join(f"{count} {REASONS[reason]}" for reason, count in left_out.items())
    most = max(left_out, key=lambda reason: left_out[reason], default="")
    return LogSaysNothing(
        f"no decision at {placement} can be evaluated{f' ({told})' if told else ''}",
        hint=HINTS.get(most, "wait until decisions have earned something, or look further back with --since"),
    )


def lived(chooser: Chooser, rounds: Sequence[Round]) -> list[F64]:
    """The policy's distribution at each decision, knowing only the outcomes that had come before it."""
    came = [(lesson, one.trail) for one in rounds for lesson in one.lessons]
    came.sort(key=lambda each: (each[0], each[1].id))
    found, known = [], 0
    for one in rounds:
        while known < len(came) and came[known][0].at_ms < one.trail.decided_ms:
            lesson, trail = came[known]
            chooser.learn(trail, lesson)
            known += 1
        found.append(chooser.probabilities(one.trail))
    return found


def _of_whole(chosen: Sequence[F64], rounds: Sequence[Round], cluster: Index | None) -> Chances:
    tried = {one.trail.items[0] for one in rounds}
    return Chances(
        taken=np.clip([float(each[_place(one.trail)]) for one, each in zip(rounds, chosen, strict=True)], 0.0, 1.0),
        uncovered=np.array([_uncovered(one.trail, each, tried) for one, each in zip(rounds, chosen, strict=True)]),
        fitted=_fitted(rounds, chosen, cluster),
    )


def _of_brief(name: str, chooser: Chooser, rounds: Sequence[Round]) -> Chances:
    """What can be told from the best candidates alone.

    Raises:
        LogSaysNothing: this policy needs them all.
    """
    found = [chooser.of_taken(one.trail) for one in rounds]
    if any(chance is None for chance in found):
        raise LogSaysNothing(f"trails hold too few candidates to say what {name} would do", hint=HINTS["unscored"])
    taken = np.array(found, np.float64)
    return Chances(taken=taken, uncovered=np.where(_logged(rounds) >= SURE, 1.0 - taken, 0.0))


def _judged(name: str, first: Rounds, chances: Chances, clip: float | None, confidence: Confidence) -> Judged:
    own = Rounds(
        reward=first.reward,
        logged=first.logged,
        evaluated=chances.taken,
        fitted=chances.fitted,
        uncovered=chances.uncovered,
        cluster=first.cluster,
    )
    found = support(own, clip)
    more, interval = gain(snips(own, clip), on_policy(first), first.cluster, confidence)
    return Judged(
        policy=name,
        estimates=estimates(own, clip, confidence),
        gain=more,
        gain_interval=interval,
        support=found,
        cautions=cautions(own, found, clip),
    )


def _logged(rounds: Sequence[Round]) -> F64:
    return np.array([one.trail.propensity for one in rounds])


def _place(trail: Trail) -> int:
    return next(n for n, scored in enumerate(trail.top) if scored.item == trail.items[0])


def _uncovered(trail: Trail, chosen: F64, tried: set[str]) -> float:
    """The evaluated policy's probability of what this log could not, or never did, decide here."""
    if trail.propensity >= SURE:
        return float(chosen.sum() - chosen[_place(trail)])
    return float(sum(chance for scored, chance in zip(trail.top, chosen, strict=True) if scored.item not in tried))


def _refuse_certainty(placement: str, name: str, rounds: Sequence[Round], chances: Chances) -> None:
    """A log without chance says something of the policy that ran, and of no other."""
    if all(one.trail.propensity >= SURE for one in rounds) and not bool((chances.taken >= SURE).all()):
        raise LogSaysNothing(
            f"all {len(rounds)} decisions at {placement} were made with probability 1: nothing else was ever tried, so "
            f"nothing can be said of {name}",
            hint='let the placement explore, a little is enough: policy = {kind = "epsilon-greedy", epsilon = 0.05}',
        )


def _people(rounds: Sequence[Round]) -> tuple[Index | None, int]:
    """(which decisions are one person's, or None where there are too few people; how many people)."""
    names = {subject: n for n, subject in enumerate(dict.fromkeys(one.trail.subject for one in rounds))}
    if len(names) < SUBJECTS_MIN:
        return None, len(names)
    return np.array([names[one.trail.subject] for one in rounds], np.int64), len(names)


def _fitted(rounds: Sequence[Round], chosen: Sequence[F64], cluster: Index | None) -> Fitted:
    """A reward model of items and scores, each fold's from the other folds (people stay whole)."""
    index: dict[str, int] = {}
    for one in rounds:
        for scored in one.trail.top:
            index.setdefault(scored.item, len(index))
    action = np.array([index[one.trail.items[0]] for one in rounds], np.int64)
    scores = [_scores(one.trail) for one in rounds]
    x = np.array([each[_place(one.trail)] for each, one in zip(scores, rounds, strict=True)])[:, None]
    reward = np.array([one.earned for one in rounds])
    taken, direct, own = np.zeros(len(rounds)), np.zeros(len(rounds)), folds(len(rounds), cluster, seed=0)
    for fold in np.unique(own):
        here, there = np.flatnonzero(own == fold), own != fold
        model = fit(action[there], x[there], reward[there], len(index))
        taken[here] = model.expected(action[here], x[here])
        for n in here.tolist():
            places = np.array([index[scored.item] for scored in rounds[n].trail.top], np.int64)
            direct[n] = float(chosen[n] @ model.expected(places, scores[n][:, None]))
    return Fitted(taken=taken, direct=direct)


def _scores(trail: Trail) -> F64:
    """Of each candidate, float64 (candidates,); what has none counts as 0."""
    found = np.array([scored.score for scored in trail.top], np.float64)
    return np.where(np.isfinite(found), found, 0.0)
