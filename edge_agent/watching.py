"""What the profile wants to know of decisions, compiled: by placement what to watch for, by source what to look at."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

from edge_agent.learn.touches import Touch, dwelt_s
from edge_agent.limits import DAY_MS, LATENESS_MS_MAX
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import Expression, compile_expression
from firmware_configs.profile import (
    Creditable,
    Dwell,
    LifetimeValue,
    Metric,
    Outcome,
    Profile,
    Rate,
    ReturnVisit,
    TimeTo,
    View,
    Worth,
)

Fields = Mapping[str, float | str | bool]
FEEDBACK_LATE_MS = 60_000
"""How long a window is held open for feedback, which has no lateness of its own."""


class WatchedView(Struct, frozen=True):
    """A [[view]], compiled."""

    of: View
    start: Expression
    end: Expression | None

    def says(self, values: dict[str, Any]) -> Literal["", "start", "end"]:
        """What the event says of a view; empty: nothing."""
        if _holds(self.start, values):
            return "start"
        return "end" if self.end is not None and _holds(self.end, values) else ""

    def means(self, touch: Touch, fields: Fields) -> bool:
        """Whether the event speaks of this decision; of several, of the newest."""
        if touch.placement not in self.of.placements:
            return False
        if self.of.decision:
            return fields.get(self.of.decision) == touch.id
        return not self.of.item or fields.get(self.of.item) in touch.items


class WatchedOutcome(Struct, frozen=True):
    """An [[outcome]], compiled."""

    of: Outcome
    when: Expression | None
    entries: dict[str, Creditable]
    """Placement → what it demands of its decisions."""

    def holds(self, values: dict[str, Any]) -> bool:
        """Whether the event is this outcome."""
        return self.when is None or _holds(self.when, values)

    def value(self, fields: Fields) -> float | None:
        """What it is worth, within [0, value_max]; None: the event does not say."""
        return _value(fields, self.of.value_field, self.of.value, self.of.value_max)


class Visit(Struct, frozen=True):
    """What counts as a person's visit for a metric by person."""

    metric: Metric
    when: Expression | None
    day_ms: int | None
    """Start of the day of a return visit, ms after the decision; None: it is for a lifetime value."""
    value_field: str = ""
    value_max: float = 1.0

    def holds(self, values: dict[str, Any]) -> bool:
        """Whether the event is one."""
        return self.when is None or _holds(self.when, values)

    def value(self, fields: Fields) -> float | None:
        """What it is worth; None: the event does not say."""
        return _value(fields, self.value_field, 1.0, self.value_max)


class WatchedSource(Struct):
    """What an event of a source may be."""

    views: list[WatchedView] = []
    outcomes: list[WatchedOutcome] = []
    visits: list[Visit] = []


class Watched(Struct):
    """What is watched for of a placement's decisions. Times are ms after the decision."""

    metrics: dict[str, int] = {}
    """Metric → when its window closes."""
    anchored: dict[str, int] = {}
    """Metric by person → when it is observed."""
    paths: list[Outcome] = []
    """Outcomes of which paths are counted."""
    keep_ms: int = 0
    """When nothing can come of a decision any more; 0: it is not kept."""
    cap_ms: int = 0
    """Longest single view that is believed."""

    @property
    def first_ms(self) -> int:
        """When the first window of a decision closes."""
        return min([*self.metrics.values(), self.keep_ms])


class Watching:
    """The whole of it."""

    def __init__(self, profile: Profile) -> None:
        self._late_ms = {source.name: int(source.lateness_s * 1_000) for source in profile.source}
        self.metrics = {metric.name: metric for metric in profile.metric}
        self.outcomes = {
            outcome.name: WatchedOutcome(
                outcome, _compiled(outcome.when), {entry.placement: entry for entry in outcome.credit}
            )
            for outcome in profile.outcome
        }
        self.sources: dict[str, WatchedSource] = {}
        self.placements: dict[str, Watched] = {}
        self._views = profile.view
        for view in profile.view:
            end = compile_expression(view.end) if view.end else None
            self._source(view.source).views.append(WatchedView(view, compile_expression(view.start), end))
            for place in view.placements:
                self._placement(place)
        for outcome in self.outcomes.values():
            self._watch_outcome(outcome)
        for metric in profile.metric:
            self._watch_metric(metric)
        self.longest_ms = max(
            (offset for one in self.placements.values() for offset in (one.keep_ms, *one.anchored.values())), default=0
        )

    def _source(self, name: str) -> WatchedSource:
        return self.sources.setdefault(name, WatchedSource())

    def _placement(self, name: str) -> Watched:
        return self.placements.setdefault(name, Watched())

    def _until(self, window_s: float, sources: Iterable[str]) -> int:
        """When a window closes: events of these sources may come as late as they say, within reason."""
        window_ms = int(window_s * 1_000)
        late_ms = max([FEEDBACK_LATE_MS, *(self._late_ms[name] for name in sources)])
        return window_ms + min(late_ms, max(window_ms, FEEDBACK_LATE_MS), LATENESS_MS_MAX)

    def _watch_outcome(self, outcome: WatchedOutcome) -> None:
        self._source(outcome.of.source).outcomes.append(outcome)
        for entry in outcome.of.credit:
            watched = self._placement(entry.placement)
            watched.keep_ms = max(watched.keep_ms, self._until(entry.window_s, [outcome.of.source]))
            if outcome.of.paths:
                watched.paths.append(outcome.of)

    def _watch_metric(self, metric: Metric) -> None:
        measure = metric.measure
        for place in metric.placements:
            watched = self._placement(place)
            if isinstance(measure, ReturnVisit):
                late_ms = min(self._late_ms[measure.source], LATENESS_MS_MAX)
                watched.anchored[metric.name] = (measure.day + 1) * DAY_MS + late_ms
                continue
            if isinstance(measure, LifetimeValue):
                watched.anchored[metric.name] = int(measure.after_days * DAY_MS)
                continue
            sources = [view.source for view in self._views if place in view.placements]
            if isinstance(measure, Dwell):
                watched.cap_ms = int(measure.cap_s * 1_000)
            else:
                sources = [self.outcomes[name].of.source for name in measure.outcomes if name in self.outcomes]
            watched.metrics[metric.name] = self._until(measure.window_s, sources)
            watched.keep_ms = max(watched.keep_ms, watched.metrics[metric.name])
        if isinstance(measure, ReturnVisit):
            visit = Visit(metric, _compiled(measure.when), measure.day * DAY_MS)
            self._source(measure.source).visits.append(visit)
        elif isinstance(measure, LifetimeValue):
            when = _compiled(measure.when)
            self._source(measure.source).visits.append(
                Visit(metric, when, None, measure.value_field, measure.value_max)
            )


def observed(metric: Metric, touch: Touch) -> float | None:
    """What a decision came to at the end of its window; None: it is no observation."""
    measure, mark = metric.measure, touch.marks.get(metric.name)
    if isinstance(measure, Dwell):
        return dwelt_s(touch, measure)
    if isinstance(measure, Rate):
        return 0.0 if mark is None else 1.0
    if isinstance(measure, TimeTo):
        return measure.window_s if mark is None else mark
    return mark or 0.0


def standing(metric: Metric, touch: Touch) -> float:
    """What a decision has come to until now, within the metric's bounds; 0 for what is known only at the end."""
    if isinstance(metric.measure, Dwell):
        so_far = touch.viewed_ms / 1_000.0
    elif isinstance(metric.measure, Rate | Worth):
        so_far = observed(metric, touch) or 0.0
    else:
        return 0.0
    return min(max(so_far, metric.lower), metric.upper)


def mark(touch: Touch, metrics: Mapping[str, Metric], outcome: str, value: float, at_ms: int) -> None:
    """Note an outcome for every metric of a decision that is made of it and whose window holds it.

    Args:
        value: what the outcome was worth, times the decision's credit.
        at_ms: when it happened, unix ms.
    """
    after_s = max(0, at_ms - touch.made_ms) / 1_000.0
    for name in touch.pending:
        metric = metrics.get(name)
        if metric is None or not isinstance(metric.measure, Rate | TimeTo | Worth):
            continue
        if outcome not in metric.measure.outcomes or after_s > metric.measure.window_s:
            continue
        if isinstance(metric.measure, Worth):
            touch.marks[name] = touch.marks.get(name, 0.0) + value
        else:
            touch.marks[name] = min(touch.marks.get(name, after_s), after_s)


def _compiled(text: str) -> Expression | None:
    return compile_expression(text) if text else None


def _holds(expression: Expression, values: dict[str, Any]) -> bool:
    """What cannot be evaluated, for a field that is not there, does not hold."""
    try:
        return expression.holds(values)
    except ExpressionError:
        return False


def _value(fields: Fields, name: str, otherwise: float, most: float) -> float | None:
    if not name:
        return min(otherwise, most)
    found = fields.get(name)
    if found is None or isinstance(found, str) or not math.isfinite(found):
        return None
    return min(max(float(found), 0.0), most)
