"""What outcomes come to: rewards of policies, sums of metrics, counts of paths; and what of it is told."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.learn import totals
from edge_agent.learn.earned import Earned
from edge_agent.learn.lifetime import Purchases, lifetime_value
from edge_agent.learn.totals import Sums
from edge_agent.learn.touches import Anchor, Touch
from edge_agent.learning import keep_earned, reward
from edge_agent.limits import DAY_MS, PATHS_MAX
from edge_agent.memory.subjects import Kept
from edge_agent.observing import REWARD, observe
from firmware_configs.measured import Measured, MetricTotals, PathCount, PathTotals
from firmware_configs.messages import Topics
from firmware_configs.profile import LifetimeValue, Metric, Outcome, ReturnVisit, TimeTo

if TYPE_CHECKING:
    from edge_agent.agent import Agent

KNOWN_AT_THE_END = (TimeTo, ReturnVisit, LifetimeValue)
"""Experiments hear of these when the window is over, of other metrics at once."""
RARE = "…"
"""The path of those for which there is no more room."""
PATH = "path:"
"""What an outcome's key begins with, beside those of metrics."""
TOLD = "told"


class Paths(Struct, array_like=True):
    """An outcome's paths."""

    definition: str
    since_ms: int
    by: str
    """`channel` or `placement`."""
    counts: dict[str, list[float]] = {}
    """Steps divided by U+001F → [conversions, nulls, sum of the conversions' values]."""


_paths_decoder = msgspec.msgpack.Decoder(Paths)


class Tally:
    """The sums of every metric and the paths of every outcome, each in the store and in memory while it is hot."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        profile = agent.profile
        self._means = {m.name: totals.definition_of(m) for m in profile.metric} | {
            PATH + o.name: totals.definition_of(o) for o in profile.outcome
        }
        many = len(self._means) + 1
        self._sums: Kept[Sums | None] = Kept(self._recall, self._sums_of, lambda: None, many)
        self._paths: Kept[Paths | None] = Kept(self._recall, self._paths_of, lambda: None, many)
        self._told_day = -1

    def _recall(self, key: str) -> bytes | None:
        return self._agent.doors.recall("metric", key)

    def _sums_of(self, packed: bytes) -> Sums | None:
        try:
            return totals.unpack(packed)
        except msgspec.MsgspecError:
            self._agent.count("metrics.unreadable")
            return None

    def _paths_of(self, packed: bytes) -> Paths | None:
        try:
            return _paths_decoder.decode(packed)
        except msgspec.MsgspecError:
            self._agent.count("metrics.unreadable")
            return None

    def _of(self, metric: Metric, batch: Batch) -> Sums:
        """A metric's sums; they start again under another definition."""
        sums = self._sums.get(metric.name)
        if sums is None or sums.definition != self._means[metric.name]:
            kind = str(metric.measure.__struct_config__.tag)
            sums = Sums(self._means[metric.name], batch.now_ms, kind, metric.lower, metric.upper)
            self._sums.replace(metric.name, sums)
        kept = sums
        batch.touch("metric", metric.name, lambda: totals.pack(kept))
        return sums

    # ---- observations ------------------------------------------------------------------------------------

    def observe(
        self, metric: Metric, of: Touch | Anchor, value: float, batch: Batch, *, happened: bool = True
    ) -> float:
        """Add one observation of a decision, at the end of its window; returns it, clipped.

        Args:
            happened: False for a time that ran to the end of its window without the outcome.
        """
        group = (of.placement, of.arm, of.segment)
        clipped = self._of(metric, batch).add(group, value, happened=happened)
        self._agent.count(f"metrics.{metric.name}")
        trail = self.trail(of.id)
        if trail is None:
            self._agent.count("metrics.decision-gone")
            return clipped
        if isinstance(metric.measure, KNOWN_AT_THE_END):
            observe(self._agent, trail, metric.name, clipped, batch)
        found = Earned(of.id, trail.items[0], metric.name, clipped, "", batch.now_ms)
        keep_earned(self._agent, trail, found, batch)
        return clipped

    def moved(self, metric: Metric, touch: Touch, by: float, batch: Batch) -> None:
        """Tell a decision's experiment that a metric rose: it adds up, for as long as it measures the person."""
        if self._agent.experiments is not None and (trail := self.trail(touch.id)) is not None:
            observe(self._agent, trail, metric.name, by, batch)

    def anchored(self, metric: Metric, anchor: Anchor, purchases: Purchases | None, batch: Batch) -> None:
        """Add the observation of a person whose days were counted from this decision."""
        if isinstance(metric.measure, LifetimeValue):
            at_ms = anchor.made_ms + int(metric.measure.after_days * DAY_MS)
            value = lifetime_value(metric.measure, purchases or Purchases(), at_ms)
        else:
            value = 1.0 if anchor.back else 0.0
        self.observe(metric, anchor, value, batch)

    def cut_short(self, metric: Metric, touch: Touch, batch: Batch) -> None:
        """A decision is watched no longer, before its window was over: a time is censored, all else says nothing."""
        self._agent.count("metrics.cut-short")
        if isinstance(metric.measure, TimeTo):
            after_s = max(0, batch.now_ms - touch.made_ms) / 1_000.0
            group, mark = (touch.placement, touch.arm, touch.segment), touch.marks.get(metric.name)
            value = after_s if mark is None else mark
            self._of(metric, batch).cut(group, value, happened=mark is not None)

    def trail(self, identity: str) -> Trail | None:
        """A decision's trail; None when it is no longer kept."""
        held = self._agent.recent.get(identity) or self._agent.doors.recall("decision", identity)
        return decision.unpack(held) if held is not None else None

    # ---- credit ------------------------------------------------------------------------------------------

    def credit(
        self,
        touch: Touch,
        item: str,
        declared: Outcome,
        share: float,
        value: float,
        at_ms: int,
        cause: str,
        batch: Batch,
    ) -> None:
        """A decision gets its share of an outcome: it is kept beside the decision, and rewards the policy.

        Args:
            share: in (0, 1].
            value: of the outcome, in its own unit.
            at_ms: when it happened, unix ms.
            cause: short digest of the outcome's event.
        """
        trail = self.trail(touch.id)
        if trail is None:
            self._agent.count("outcomes.decision-gone")
            return
        self._agent.count(f"outcomes.{declared.name}.credited")
        by = str(declared.attribution.__struct_config__.tag)
        earned = share * value / declared.value_max
        found = Earned(trail.id, item, REWARD, earned, declared.name, at_ms, share, by)
        if declared.reward and reward(self._agent, trail, found, cause, batch):
            return
        found = Earned(trail.id, item, declared.name, share * value, declared.name, at_ms, share, by)
        keep_earned(self._agent, trail, found, batch, cause)

    # ---- paths -------------------------------------------------------------------------------------------

    def path(self, declared: Outcome, path: tuple[str, ...], value: float | None, batch: Batch) -> None:
        """Count a path.

        Args:
            value: of the outcome that it led to; None: it led to none.
        """
        key = PATH + declared.name
        paths = self._paths.get(key)
        if paths is None or paths.definition != self._means[key]:
            paths = Paths(self._means[key], batch.now_ms, declared.paths)
            self._paths.replace(key, paths)
        name = "\x1f".join(path)
        if name not in paths.counts and len(paths.counts) >= PATHS_MAX - 1:
            name = RARE
        count = paths.counts.setdefault(name, [0.0, 0.0, 0.0])
        count[0 if value is not None else 1] += 1.0
        count[2] += value or 0.0
        kept = paths
        batch.touch("metric", key, lambda: msgspec.msgpack.encode(kept))

    # ---- telling -----------------------------------------------------------------------------------------

    def report(self, by_ms: int, batch: Batch) -> None:
        """Once a day, send the sums: all of them since the start, retained, so that nothing is counted twice."""
        day = by_ms // DAY_MS
        egress = self._agent.gate.ledger.declared("metric")
        if egress is not None and self._told_day < 0:
            stored = self._recall(TOLD)
            self._told_day = int(stored) if stored else 0
        if egress is None or day == self._told_day:
            return
        if egress.privacy is not None and egress.privacy.secret_sum:
            return  # the learner tells them, under masks
        self._told_day = day
        batch.put("metric", TOLD, str(day).encode())
        word = self.told(batch.now_ms, egress.k_min)
        if word.totals or word.paths:
            topic = Topics(self._agent.device).of("metric")
            self._agent.gate.send("metric", topic, msgspec.msgpack.encode(word), batch, retain=True)

    def told(self, now_ms: int, k_min: int) -> Measured:
        """Everything that was added up."""
        profile = self._agent.profile
        sums = [(m, kept) for m in profile.metric if (kept := self._sums.get(m.name)) is not None]
        paths = [(o, held) for o in profile.outcome if (held := self._paths.get(PATH + o.name)) is not None]
        return Measured(
            device=self._agent.device,
            profile=self._agent.profile_hash[:16],
            k_min=k_min,
            totals=[told_sums(m.name, kept) for m, kept in sums if kept.definition == self._means[m.name]],
            paths=[told_paths(o.name, held) for o, held in paths if held.definition == self._means[PATH + o.name]],
            time_ms=now_ms,
        )


def told_sums(metric: str, sums: Sums) -> MetricTotals:
    """A metric's sums as they may leave."""
    return MetricTotals(
        metric=metric,
        kind=sums.kind,
        lower=sums.lower,
        upper=sums.upper,
        since_ms=sums.since_ms,
        cells=sums.told(),
    )


def told_paths(outcome: str, paths: Paths) -> PathTotals:
    """An outcome's paths as they may leave."""
    counts = [
        PathCount(
            path=tuple(name.split("\x1f")) if name else (),
            conversions=int(conversions),
            nulls=int(nulls),
            value=value,
        )
        for name, (conversions, nulls, value) in sorted(paths.counts.items())
    ]
    return PathTotals(outcome=outcome, by=paths.by, since_ms=paths.since_ms, paths=counts)
