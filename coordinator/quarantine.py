"""Reports that do not fit, and nodes that are not asked for a while because theirs keep not fitting.

Nothing here proves malice: a report is compared with what an honest device can send at all, with its own earlier ones
and with the others of the round, and gives points for what does not fit. A node's points are added up over rounds by
Page's rule (CUSUM): W ← max(0, W + points). Honest reports agree with the others on average, which takes points away,
so W stays near 0; W ≥ LIMIT is quarantine. Whoever is quarantined is not asked until the entry expires or is released.

===========  =======================================================================  ==========
check        what does not fit                                                         points
===========  =======================================================================  ==========
bound        longer than `clip_norm`: the agent clips by itself, so this one does not  6
outsize      longer than OUTSIZE times the round's median                              4
single       one number holds more than SINGLE of the squared length                   4
repeated     byte for byte the node's of another round, or another node's of this one  4
examples     more than EXAMPLES times its own last claim, or FAR times the median      3
loss         negative, or after training more than LOSS times what it was before       2
direction    its cosine with what the others say is negative, and deviations too low   -1 … 2
===========  =======================================================================  ==========

`single` counts only above SPREAD times the round's median as well: in a small model, or after a start that noise has
ruined, one number may hold much of every honest update, and to leave out whoever is a little above the others would
stop the fleet for good. Where the median is above a third it counts for nobody.

A report with APART or more points of the first six is left out of its own round too. In a round of fewer than FEW
reports nobody is compared with others; a report that passes the rest then counts for -QUIET.

Sources: Page 1954, "Continuous Inspection Schemes"; Cao et al. 2021, "FLTrust" (the cosine as a measure of trust; here
it is taken to what the others say, for there is no clean data at a server that sees none).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.aggregate import Report

F64 = NDArray[np.float64]

LIMIT = 6.0
APART = 4.0
FEW = 7
QUIET = 1.0
OUTSIZE = 4.0
SINGLE = 0.25
SPREAD = 3.0
EXAMPLES, FAR = 8, 64
LOSS = 4.0
SLACK = 1.02
"""Half a rounding step a coordinate, which is all that an honest report may be too long."""
STEPS_MIN = 100
"""Where fewer numbers may be sent, one of them may well hold most of an update: in a small model, or of its largest."""
DEVIATIONS = 2.5
"""Below the median cosine of the round (by the median absolute deviation) from which on direction gives points."""
MEMORY = 0.9
"""What is left of the older rounds' direction after one more."""
KEPT = 20
"""Findings that are kept as evidence, the newest."""


class Claim(Struct, frozen=True, kw_only=True):
    """What one node's report says about itself."""

    node: int
    norm: float
    """L2 norm as it came, before it was scaled down."""
    examples: int
    loss_before: float = 0.0
    loss_after: float = 0.0
    digest: str = ""
    """Of the update's bytes; empty: it moves nothing, and repeats nothing."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that does not fit."""

    check: str
    value: float
    limit: float
    points: float


class Evidence(Struct, frozen=True, kw_only=True):
    """A finding, and where it was made."""

    run: str
    round: int
    finding: Finding


class Standing(Struct, frozen=True, kw_only=True):
    """What is remembered of a node: no update, only what did not fit."""

    score: float = 0.0
    """W."""
    rounds: int = 0
    digest: str = ""
    asked: str = ""
    """The run and round of `digest`: asked for it again, an honest device may well answer the same."""
    examples: int = 0
    evidence: tuple[Evidence, ...] = ()

    @property
    def quarantined(self) -> bool:
        """Whether it has come so far that it should not be asked."""
        return self.score >= LIMIT


def digest_of(vector: NDArray[np.generic]) -> str:
    """Of an update's bytes, 16 hex digits; empty where all are zero."""
    return hashlib.sha256(np.ascontiguousarray(vector).tobytes()).hexdigest()[:16] if vector.any() else ""


def claim_of(report: Report) -> Claim:
    """What a report says about itself."""
    whole = np.concatenate([delta.reshape(-1) for delta in report.delta.values()])
    return Claim(
        node=report.node,
        norm=report.norm,
        examples=report.examples,
        loss_before=report.loss_before,
        loss_after=report.loss_after,
        digest=digest_of(whole),
    )


def asked_of(run: str, number: int) -> str:
    """One round of one run, however often it is asked for."""
    return f"{run}:{number}"


def found(
    claims: Sequence[Claim],
    rows: F64,
    before: F64 | None,
    clip_norm: float,
    known: Mapping[int, Standing],
    *,
    asked: str = "",
    sent: float = 0.0,
) -> list[tuple[Finding, ...]]:
    """What does not fit in each report of a round.

    Args:
        claims: one each.
        rows: float64 (reports, d), the updates as they will count, in the same order.
        before: the direction of earlier rounds, float64 (d,); None: there is none.
        clip_norm: L2 norm that the round asked for.
        known: node → its standing before the round.
        asked: the round, as `asked_of` names it; empty: one that nobody was asked for before.
        sent: share of the d numbers that the round asked for, the largest; 0: all. What a report claims of itself does
            not count: it could send one number alone.
    """
    numbers = rows.shape[1] * (sent or 1.0)
    seen = Counter(claim.digest for claim in claims if claim.digest)
    norms = np.array([claim.norm for claim in claims])
    many = len(claims) >= FEW
    middle = float(np.median(norms)) if many else 0.0
    usual = float(np.median([claim.examples for claim in claims])) if many else 0.0
    agree = agreement(rows, before) if many else np.zeros(len(rows))
    usually = float(np.median(agree))
    scale = 1.4826 * float(np.median(np.abs(agree - usually)))  # the deviation, were they normal
    largest = _largest(rows) if numbers >= STEPS_MIN else np.zeros(len(rows))
    held = max(SINGLE, SPREAD * float(np.median(largest))) if len(rows) > 1 else SINGLE
    result = []
    for n, claim in enumerate(claims):
        own = known.get(claim.node, Standing())
        repeats = seen[claim.digest] > 1 or (claim.digest == own.digest and not _is_again(own, claim, asked))
        made = [*_by_itself(claim, own, clip_norm)]
        if largest[n] > held:
            made.append(Finding(check="single", value=float(largest[n]), limit=held, points=4.0))
        if claim.digest and repeats:
            made.append(Finding(check="repeated", value=1.0, limit=0.0, points=4.0))
        if many and middle > 0.0 and claim.norm > OUTSIZE * middle:
            made.append(Finding(check="outsize", value=claim.norm / middle, limit=OUTSIZE, points=4.0))
        if many and claim.examples > FAR * usual and not any(one.check == "examples" for one in made):
            made.append(Finding(check="examples", value=claim.examples / usual, limit=FAR, points=3.0))
        if scale > 0.0 and claim.digest:
            below = (usually - agree[n]) / scale - DEVIATIONS
            points = float(np.clip(below, -1.0, 2.0)) if agree[n] < 0.0 else -1.0
            made.append(Finding(check="direction", value=float(agree[n]), limit=0.0, points=points))
        result.append(tuple(made))
    return result


def _is_again(own: Standing, claim: Claim, asked: str) -> bool:
    """Whether this is the very report that the node has given for this round before."""
    return bool(asked and claim.digest) and (own.asked, own.digest) == (asked, claim.digest)


def _largest(rows: F64) -> F64:
    """The share of each row's squared length that its largest number holds, float64 (reports,); 0.0 of zeros."""
    square = rows * rows
    total = square.sum(axis=1)
    share: F64 = np.divide(square.max(axis=1, initial=0.0), total, out=np.zeros(len(rows)), where=total > 0.0)
    return share


def _by_itself(claim: Claim, own: Standing, clip_norm: float) -> list[Finding]:
    """What no other update is needed for."""
    made = []
    if not claim.norm <= SLACK * clip_norm:
        made.append(Finding(check="bound", value=min(claim.norm, 1e300), limit=clip_norm, points=6.0))
    if own.examples and claim.examples > EXAMPLES * own.examples:
        made.append(Finding(check="examples", value=claim.examples / own.examples, limit=EXAMPLES, points=3.0))
    if min(claim.loss_before, claim.loss_after) < 0.0 or claim.loss_after > LOSS * claim.loss_before > 0.0:
        value = claim.loss_after / claim.loss_before if claim.loss_before else claim.loss_after
        made.append(Finding(check="loss", value=value, limit=LOSS, points=2.0))
    return made


def agreement(rows: F64, before: F64 | None) -> F64:
    """The cosine of each row with what the others say, and with what was said before, float64 (reports,).

    Rows are scaled down to their median norm first, so that a few long ones are not what the others say.
    """
    even = evened(rows)
    total = even.sum(axis=0)
    others = total[None, :] - even if before is None else (total + before)[None, :] - even
    product = np.einsum("nd,nd->n", even, others)
    length = np.sqrt(np.einsum("nd,nd->n", even, even) * np.einsum("nd,nd->n", others, others))
    return np.asarray(np.divide(product, length, out=np.zeros_like(product), where=length > 0.0), np.float64)


def direction_after(before: F64 | None, rows: F64) -> F64:
    """What was said so far, with this round's rows (those that were not left out), float64 (d,)."""
    now = evened(rows).sum(axis=0)
    return np.asarray(now if before is None else MEMORY * before + now, np.float64)


def evened(rows: F64) -> F64:
    """Rows scaled down to their median norm."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    most = float(np.median(norms)) if len(norms) else 0.0
    shrink = np.divide(most, norms, out=np.ones_like(norms), where=norms > most)
    return np.asarray(rows * shrink[:, None], np.float64)


def apart(findings: Sequence[Finding]) -> bool:
    """Whether a report is left out of its own round."""
    return sum(one.points for one in findings if one.check != "direction") >= APART


def after(own: Standing, claim: Claim, findings: Sequence[Finding], run: str, number: int) -> Standing:
    """A node's standing after a round of a run; the same report once more for the same round says nothing new."""
    asked = asked_of(run, number)
    if _is_again(own, claim, asked):
        return own
    points = sum(one.points for one in findings) if findings else -QUIET
    made = [Evidence(run=run, round=number, finding=one) for one in findings if one.points > 0.0]
    score = max(0.0, own.score + points)
    return Standing(
        score=score,
        rounds=own.rounds + 1,
        digest=claim.digest,
        asked=asked,
        examples=max(claim.examples, own.examples) if not apart(findings) else own.examples,
        # Evidence of points that are gone is evidence of nothing.
        evidence=(*own.evidence, *made)[-KEPT:] if score > 0.0 else (),
    )


def in_words(evidence: Sequence[Evidence]) -> str:
    """Why, in one line: each check with how often it did not fit and its worst value."""
    worst: dict[str, tuple[int, float]] = {}
    for one in evidence:
        count, value = worst.get(one.finding.check, (0, 0.0))
        value = max(value, one.finding.value, key=abs)
        worst[one.finding.check] = count + 1, value
    return "; ".join(f"{check} {count}x (worst {value:.3g})" for check, (count, value) in sorted(worst.items()))
