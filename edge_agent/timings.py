"""Where time goes: a histogram a stage, how long outcomes take to come, and compact facts of what is traced.

A lap costs two additions and a reading of the clock, and at most one message every five milliseconds is timed: a flood
pays for 200 of them a second, an idle device has all of its own in the histograms. What is traced is decided by the
sampled flag of the message's `traceparent`, or for messages without one by counting: every n-th. Names and versions
that the profile knows are all that a fact holds; `edge_agent/shell/spans.py` makes spans of OpenTelemetry of it, in
another process.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from msgspec import Struct

from edge_agent import tracecontext
from edge_agent.decide.decision import Trail
from firmware_configs import histogram

Stage = Literal["read", "intake", "memory", "model", "choose", "keep", "enter", "commit", "publish"]
STAGES: dict[Stage, str] = {
    "read": "a batch is read from the socket",
    "intake": "an event or request is decoded, minimised and told from repetitions",
    "memory": "an event becomes profile, sessions, links, examples and outcomes",
    "model": "candidates, rules, features and models of a decision",
    "choose": "the policy's choice, or the fallback ladder's",
    "keep": "the decision's trail, counts and caches",
    "enter": "a decision that leaves at once is written and entered in the ledger",
    "commit": "a step's transaction",
    "publish": "what is due is handed to the socket",
}
Held = TypeVar("Held")
FACTS_MAX = 1_000
"""Facts that are remembered; the exporter must come by before as many more are made."""
TIMED_EVERY_NS = 5_000_000
"""Between the beginnings of two messages that are timed, unless they are traced."""
PLACES = 64
"""Bounds of a stage's histogram: a time of n bits in nanoseconds is in bucket n, below 2^n ns."""


class Lap(Struct, array_like=True, frozen=True):
    """One stage of a fact."""

    stage: Stage
    offset_ns: int
    """From the fact's start."""
    ns: int


class Fact(Struct, array_like=True):
    """A decision or an outcome that is traced."""

    number: int
    kind: Literal["decision", "outcome"]
    trace: str
    span: str
    parent: str
    """Span id; empty: the trace begins here."""
    link: str
    """`TRACE-SPAN` of the message that brought the outcome, where that is another trace; empty: none."""
    start_ns: int
    """Unix ns at which the message was taken up."""
    end_ns: int
    placement: str
    trigger: str
    rung: str
    """Of the fallback ladder; empty: a policy's choice."""
    bundles: dict[str, str]
    laps: list[Lap]


class StageTimes(Struct, frozen=True, kw_only=True):
    """One stage's histogram as it is told, since the start of the process."""

    count: int
    sum_s: float
    buckets: dict[int, int]
    """n → times of n bits in nanoseconds: from 2^(n-1) up to 2^n ns. Empty buckets are left out."""


class Untimed:
    """Measures nothing: for replay, and where the settings say so."""

    def begin(self, traceparent: str) -> None:
        """A message is taken up."""

    def lap(self, stage: Stage) -> None:
        """A stage ends, and the next begins."""

    def mark(self) -> int:
        """Where a stage outside of a message begins, monotonic ns."""
        return 0

    def since(self, stage: Stage, mark_ns: int) -> None:
        """A stage outside of a message ends."""

    def decided(self, trail: Trail) -> None:
        """A decision was kept."""

    def outgoing(self, trail: Trail) -> str:
        """The `traceparent` that a decision goes out with."""
        return tracecontext.outgoing(trail.traceparent, trail.id)

    def outcome(self, trail: Trail, happened_ms: int) -> None:
        """A decision's outcome has come."""

    def handed_over(self, traceparents: Iterable[str], mark_ns: int) -> None:
        """Decisions with these are at the socket; they went there from `mark_ns` on."""

    def stages(self) -> dict[str, StageTimes]:
        """By stage."""
        return {}

    def outcomes(self) -> dict[str, histogram.Histogram]:
        """By placement, ms from decision to outcome."""
        return {}

    def facts(self) -> list[Fact]:
        """The newest, oldest first."""
        return []


class Timings(Untimed):
    """Measures."""

    def __init__(self, clock_ns: Callable[[], int], wall_ns: Callable[[], int], share: float = 0.0) -> None:
        """Start with nothing.

        Args:
            clock_ns: monotonic ns.
            wall_ns: unix ns; asked only for what is traced.
            share: of the messages without a traceparent that are traced, in [0, 1]; each 1/share-th is.
        """
        self._clock, self._wall = clock_ns, wall_ns
        self._every = round(1.0 / share) if share > 0.0 else 0
        self._seen = 0
        self._rows: dict[Stage, list[int]] = {stage: [0] * (PLACES + 1) for stage in STAGES}
        """The buckets of each, and behind them the sum of all times."""
        self._outcomes: dict[str, list[int]] = {}
        self._begun = self._last = clock_ns()
        self._parent = ""
        self._laps: list[Lap] | None = None
        self._settled = False
        self._timed, self._timed_ns = False, self._begun - TIMED_EVERY_NS
        self._number = 0
        self._facts: deque[Fact] = deque(maxlen=FACTS_MAX)
        self._fresh: deque[tuple[Fact, int]] = deque(maxlen=FACTS_MAX)
        self._awaited: dict[str, tuple[Fact, int]] = {}
        """Span id → a decision on its way, and its start, monotonic ns."""
        self._ours: dict[str, None] = {}
        """Span ids of decisions whose traces began here, oldest first."""

    def begin(self, traceparent: str) -> None:
        self._parent = traceparent
        if traceparent:
            context = tracecontext.read(traceparent)
            sampled = context is not None and context.sampled
        else:
            self._seen += 1
            sampled = self._every > 0 and self._seen % self._every == 0
        self._laps, self._settled = [] if sampled else None, False
        now = self._clock()
        self._timed = sampled or now - self._timed_ns >= TIMED_EVERY_NS
        if self._timed:
            self._timed_ns = now
        self._begun = self._last = now

    def lap(self, stage: Stage) -> None:
        if not self._timed:
            return
        now = self._clock()
        took = now - self._last
        row = self._rows[stage]
        row[took.bit_length()] += 1
        row[PLACES] += took
        if self._laps is not None:
            if self._settled and stage == "model":
                # Decided about at another placement, too: only what was before the first decision is common to both.
                self._laps = [one for one in self._laps if one.stage in {"intake", "memory"}]
                self._settled = False
            self._laps.append(Lap(stage, self._last - self._begun, took))
        self._last = now

    def mark(self) -> int:
        return self._clock()

    def since(self, stage: Stage, mark_ns: int) -> None:
        took = self._clock() - mark_ns
        row = self._rows[stage]
        row[took.bit_length()] += 1
        row[PLACES] += took
        if stage == "commit" and self._fresh:
            for fact, begun in self._fresh:
                fact.laps.append(Lap(stage, mark_ns - begun, took))
                fact.end_ns = max(fact.end_ns, fact.start_ns + mark_ns - begun + took)
            self._fresh.clear()

    def decided(self, trail: Trail) -> None:
        if self._laps is None:
            return
        context = tracecontext.read(trail.traceparent)
        trace, parent = (context.trace, context.span) if context is not None else (trail.id, "")
        fact = self._fact("decision", trail, trace, tracecontext.span_of(trail.id), parent, "", self._laps)
        if context is None:
            _remember(self._ours, fact.span, None)
        _remember(self._awaited, fact.span, (fact, self._begun))
        self._settled = True

    def outgoing(self, trail: Trail) -> str:
        return tracecontext.outgoing(trail.traceparent, trail.id, begins=self._laps is not None)

    def outcome(self, trail: Trail, happened_ms: int) -> None:
        histogram.add(self._outcomes, trail.placement, happened_ms - trail.decided_ms)
        cause, context = tracecontext.read(self._parent), tracecontext.read(trail.traceparent)
        decided = tracecontext.span_of(trail.id)
        told = context.sampled if context is not None else decided in self._ours
        if not told and not (cause is not None and cause.sampled):
            return
        trace = context.trace if context is not None else trail.id
        within = cause is not None and cause.trace == trace
        parent = cause.span if within and cause is not None else decided
        link = f"{cause.trace}-{cause.span}" if cause is not None and not within else ""
        self._fact("outcome", trail, trace, f"{self._wall() & 0xFFFF_FFFF_FFFF_FFFF | 1:016x}", parent, link, [])

    def _fact(
        self,
        kind: Literal["decision", "outcome"],
        trail: Trail,
        trace: str,
        span: str,
        parent: str,
        link: str,
        laps: list[Lap],
    ) -> Fact:
        self._number += 1
        end_ns = self._wall()
        fact = Fact(
            number=self._number,
            kind=kind,
            trace=trace,
            span=span,
            parent=parent,
            link=link,
            start_ns=end_ns - (self._clock() - self._begun),
            end_ns=end_ns,
            placement=trail.placement,
            trigger=trail.trigger,
            rung=trail.fallback,
            bundles=dict(trail.bundles),
            laps=laps,
        )
        self._facts.append(fact)
        self._fresh.append((fact, self._begun))
        return fact

    def handed_over(self, traceparents: Iterable[str], mark_ns: int) -> None:
        if not self._awaited:
            return
        now = self._clock()
        for one in traceparents:
            if one and (found := self._awaited.pop(one[36:52], None)) is not None:
                fact, begun = found
                fact.laps.append(Lap("publish", mark_ns - begun, now - mark_ns))
                fact.end_ns = max(fact.end_ns, fact.start_ns + now - begun)

    def stages(self) -> dict[str, StageTimes]:
        return {
            stage: StageTimes(
                count=sum(row[:PLACES]),
                sum_s=row[PLACES] / 1e9,
                buckets={n: count for n, count in enumerate(row[:PLACES]) if count},
            )
            for stage, row in self._rows.items()
        }

    def outcomes(self) -> dict[str, histogram.Histogram]:
        return histogram.told_each(self._outcomes)

    def facts(self) -> list[Fact]:
        return list(self._facts)


def _remember(held: dict[str, Held], key: str, value: Held) -> None:
    """The newest `FACTS_MAX` of them."""
    held[key] = value
    if len(held) > FACTS_MAX:
        del held[next(iter(held))]
