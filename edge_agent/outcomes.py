"""What becomes of decisions: outcomes that come as events are credited, windows close, metrics are observed.

Imported only for profiles that declare a view, an outcome or a metric. State is kept by subject (`learn.touches`), so
that it can be forgotten by subject, and read by person, so that a purchase on the phone finds what the kiosk showed.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail
from edge_agent.intake.minimise import Minimised
from edge_agent.learn import touches
from edge_agent.learn.calendar import Calendar
from edge_agent.learn.credit import shares
from edge_agent.learn.lifetime import Purchases
from edge_agent.learn.touches import Anchor, Touch, Track
from edge_agent.limits import CLOCKS_AGREE_MS, CLOSED_MAX, DAY_MS, SUBJECTS_MAX
from edge_agent.memory.segments import Segments
from edge_agent.memory.subjects import Kept
from edge_agent.placements import Occasion
from edge_agent.tally import Tally
from edge_agent.watching import Visit, Watched, WatchedOutcome, WatchedView, Watching, mark, observed, standing
from firmware_configs.profile import Dwell, TimeTo
from models.errors import ModelError

if TYPE_CHECKING:
    from edge_agent.agent import Agent


class Outcomes:
    """Everything that is open, and what became of the rest."""

    def __init__(self, agent: "Agent") -> None:
        """Compile the profile's views, outcomes and metrics."""
        self._agent = agent
        self.watching = Watching(agent.profile)
        self.tally = Tally(agent)
        self._segments = Segments(agent.profile.segment) if agent.profile.segment else None
        self._calendar = Calendar(SUBJECTS_MAX)
        self._tracks: Kept[Track] = Kept(
            lambda key: agent.doors.recall("touch", key), self._unpacked, Track, SUBJECTS_MAX
        )

    def _unpacked(self, packed: bytes) -> Track:
        try:
            return touches.unpack(packed)
        except msgspec.MsgspecError:
            self._agent.count("outcomes.unreadable")
            return Track()

    def restore(self, key: str, due_ms: int) -> None:
        """Take up again that something of a subject is due."""
        self._calendar.set(key, due_ms)

    # ---- decisions ---------------------------------------------------------------------------------------

    def decided(self, trail: Trail, occasion: Occasion, batch: Batch) -> None:
        """A decision is on its way to its person: from now on something may come of it."""
        watched = self.watching.placements.get(trail.placement)
        if watched is None:
            return
        arm = f"{trail.experiment}/{trail.arm}" if trail.experiment else ""
        segment = self._segment(trail, occasion) if watched.metrics else ""
        touch = Touch(
            id=trail.id,
            placement=trail.placement,
            channel=trail.channel,
            items=trail.items,
            made_ms=trail.decided_ms,
            arm=arm,
            segment=segment,
            pending=[name for name in watched.metrics if self._allowed(name, trail.subject)],
        )
        if watched.keep_ms:
            track = self._tracks.get(trail.subject)
            gone = track.add(touch)
            if gone is not None:
                self._give_up(gone, batch)
            self._keep(trail.subject, track, touch.made_ms + watched.first_ms, batch)
        self._anchor(trail, occasion.person, arm, segment, watched, batch)
        for outcome in watched.paths:
            own = self._tracks.get(occasion.person)
            step = trail.channel if outcome.paths == "channel" else trail.placement
            own.journeys[outcome.name] = list(touches.path_of([*own.journeys.get(outcome.name, ()), step]))
            self._keep(occasion.person, own, touch.made_ms + watched.first_ms, batch)

    def _allowed(self, metric: str, subject: str) -> bool:
        return self._agent.consents.all_allowed(self.watching.metrics[metric].purposes, subject)

    def _anchor(self, trail: Trail, person: str, arm: str, segment: str, watched: Watched, batch: Batch) -> None:
        """Count the days from here, unless they are being counted already."""
        for name, due_ms in watched.anchored.items():
            track, key = self._tracks.get(person), f"{name}\x00{trail.placement}"
            if key in track.anchors or not self._allowed(name, trail.subject):
                continue
            track.anchors[key] = Anchor(trail.id, trail.placement, trail.decided_ms, arm, segment)
            self._keep(person, track, trail.decided_ms + due_ms, batch)

    def _segment(self, trail: Trail, occasion: Occasion) -> str:
        if self._segments is None:
            return ""
        hour, weekday = self._agent.doors.local_hour(occasion.now_ms)
        values = {
            "fields": dict(occasion.fields),
            "features": trail.features,
            "session": dict(occasion.session),
            "hour": hour,
            "weekday": weekday,
        }

        def best(name: str) -> str:
            model = self._agent.doors.models.get(name)
            if model is None or not model.catalogue:
                return ""
            feeds = {**occasion.personal(model), **occasion.rows(model)}
            rows = np.arange(len(model.catalogue), dtype=np.int64)
            try:
                return model.catalogue[int(np.argmax(model.score({**feeds, model.candidate: rows})))]
            except ModelError:
                return ""

        return self._segments.of(values, best)

    # ---- events ------------------------------------------------------------------------------------------

    def take(self, event: Minimised, person: str, batch: Batch) -> None:
        """An event: it may be a view, an outcome, a visit."""
        watched = self.watching.sources.get(event.source)
        if watched is None:
            return
        values: dict[str, Any] = {"fields": event.fields}
        for view in watched.views:
            if shown := view.says(values):
                self._viewed(event, view, shown, person, batch)
        for outcome in watched.outcomes:
            if outcome.holds(values) and self._agent.consents.all_allowed(outcome.of.purposes, event.subject):
                self._happened(outcome, event, person, batch)
        for visit in watched.visits:
            if visit.holds(values) and self._agent.consents.all_allowed(visit.metric.purposes, event.subject):
                self._visited(visit, event, person, batch)

    def _open(self, person: str, batch: Batch) -> list[tuple[str, Touch]]:
        """All that is open of a person, oldest first, with the subject that it was decided for."""
        subjects = self._agent.people.subjects(person, batch.now_ms)
        found = [(subject, touch) for subject in subjects for touch in self._tracks.get(subject).touches]
        return sorted(found, key=lambda one: (one[1].made_ms, one[1].id)) if len(subjects) > 1 else found

    def _viewed(self, event: Minimised, view: WatchedView, shown: str, person: str, batch: Batch) -> None:
        at_ms = event.event_time_ms
        for subject, touch in reversed(self._open(person, batch)):
            if at_ms >= touch.made_ms - CLOCKS_AGREE_MS and view.means(touch, event.fields):
                cap_ms = self.watching.placements[touch.placement].cap_ms
                move = partial(touch.show if shown == "start" else touch.hide, at_ms, cap_ms)
                self._change(subject, touch, move, batch)
                self._agent.count("outcomes.views")
                return
        self._agent.count("outcomes.views-unknown")

    def _happened(self, outcome: WatchedOutcome, event: Minimised, person: str, batch: Batch) -> None:
        """An outcome: share its credit among the decisions before it."""
        declared, at_ms = outcome.of, event.event_time_ms
        value = outcome.value(event.fields)
        if value is None:
            self._agent.count(f"outcomes.{declared.name}.without-value")
            return
        open_now = self._open(person, batch)
        of_touch = {touch.id: subject for subject, touch in open_now}
        due = [
            (touch, item)
            for touch, item in touches.creditable(
                (touch for _, touch in open_now), outcome.entries, event.fields, at_ms
            )
            if self._agent.consents.all_allowed(declared.purposes, of_touch[touch.id])
        ]
        self._agent.count(f"outcomes.{declared.name}")
        if not due:
            self._agent.count(f"outcomes.{declared.name}.uncredited")
        if declared.paths:
            self._end_journey(outcome, person, [touch for touch, _ in due], value, batch)
        earned = shares(declared.attribution, [touch.made_ms for touch, _ in due], at_ms)
        cause = hashlib.sha256(f"{declared.name}\x00{event.event_id}".encode()).hexdigest()[:12]
        for (touch, item), share in zip(due, earned, strict=True):
            if share > 0.0:
                self._mark(of_touch[touch.id], touch, declared.name, share * value, at_ms, batch)
                self.tally.credit(touch, item, declared, share, value, at_ms, cause, batch)

    def _end_journey(self, outcome: WatchedOutcome, person: str, due: list[Touch], value: float, batch: Batch) -> None:
        declared = outcome.of
        path = [touch.channel if declared.paths == "channel" else touch.placement for touch in due]
        self.tally.path(declared, touches.path_of(path), value, batch)
        track = self._tracks.get(person)
        if track.journeys.pop(declared.name, None) is not None:
            self._keep(person, track, 0, batch)

    def answered(self, trail: Trail, outcome: str, value: float, at_ms: int, batch: Batch) -> None:
        """Feedback named a decision: metrics that are made of it take it up."""
        if trail.placement not in self.watching.placements:
            return
        track = self._tracks.get(trail.subject)
        for touch in track.touches:
            if touch.id == trail.id:
                self._mark(trail.subject, touch, outcome, value, at_ms, batch)

    def _mark(self, subject: str, touch: Touch, outcome: str, value: float, at_ms: int, batch: Batch) -> None:
        metrics = self.watching.metrics
        self._change(subject, touch, partial(mark, touch, metrics, outcome, value, at_ms), batch)

    def _change(self, subject: str, touch: Touch, change: Callable[[], None], batch: Batch) -> None:
        """Change a decision's record and keep it; its experiment hears at once by how much each metric rose."""
        metrics = [self.watching.metrics[name] for name in touch.pending if name in self.watching.metrics]
        before = [standing(metric, touch) for metric in metrics]
        change()
        for metric, was in zip(metrics, before, strict=True):
            if (now := standing(metric, touch)) != was:
                self.tally.moved(metric, touch, now - was, batch)
        self._keep(subject, self._tracks.get(subject), 0, batch)

    def _visited(self, visit: Visit, event: Minimised, person: str, batch: Batch) -> None:
        track = self._tracks.get(person)
        if visit.day_ms is not None:
            for place in visit.metric.placements:
                anchor = track.anchors.get(f"{visit.metric.name}\x00{place}")
                if anchor is not None and 0 <= event.event_time_ms - anchor.made_ms - visit.day_ms < DAY_MS:
                    anchor.back = True
                    self._keep(person, track, 0, batch)
            return
        value = visit.value(event.fields)
        if value is not None:
            track.purchases.setdefault(visit.metric.name, Purchases()).take(value, event.event_time_ms)
            self._keep(person, track, 0, batch)

    # ---- windows -----------------------------------------------------------------------------------------

    def close(self, by_ms: int, batch: Batch) -> bool:
        """Close the windows that are over; whether there were any.

        Args:
            by_ms: the time by which things expire, unix ms; it does not follow a clock that leaps.
        """
        due = self._calendar.take(by_ms, CLOSED_MAX)
        for key in due:
            self._close_of(key, by_ms, batch)
        self.tally.report(by_ms, batch)
        return bool(due)

    def _close_of(self, key: str, by_ms: int, batch: Batch) -> None:
        track = self._tracks.get(key)
        kept: list[Touch] = []
        ended: list[Touch] = []
        for touch in track.touches:
            watched = self.watching.placements.get(touch.placement)
            if watched is None:
                continue
            over = [n for n in touch.pending if touch.made_ms + watched.metrics.get(n, 0) <= by_ms]
            for name in over:
                touch.pending.remove(name)
                if name in self.watching.metrics:
                    self._observe(touch, name, batch)
            (ended if touch.made_ms + watched.keep_ms <= by_ms else kept).append(touch)
        track.touches = kept
        for name, anchor in list(track.anchors.items()):
            metric = name.partition("\x00")[0]
            watched = self.watching.placements.get(anchor.placement)
            if watched is None or metric not in watched.anchored:
                del track.anchors[name]
            elif anchor.made_ms + watched.anchored[metric] <= by_ms:
                del track.anchors[name]
                self.tally.anchored(self.watching.metrics[metric], anchor, track.purchases.get(metric), batch)
        if ended:
            self._end_nulls(self._agent.people.person(key, batch.now_ms), batch)
        track.due_ms = 0
        self._keep(key, track, self._next(track), batch)

    def _end_nulls(self, person: str, batch: Batch) -> None:
        """Journeys of which nothing is open any more came to nothing."""
        own = self._tracks.get(person)
        placements = {touch.placement for _, touch in self._open(person, batch)}
        for name, journey in list(own.journeys.items()):
            outcome = self.watching.outcomes.get(name)
            if outcome is None or placements.isdisjoint(outcome.entries):
                del own.journeys[name]
                if outcome is not None and outcome.of.paths:
                    self.tally.path(outcome.of, touches.path_of(journey), None, batch)
        self._keep(person, own, 0, batch)

    def _next(self, track: Track) -> int:
        """When the next window of a track closes, unix ms; 0: never."""
        due = []
        for touch in track.touches:
            watched = self.watching.placements[touch.placement]
            due += [touch.made_ms + watched.metrics.get(name, 0) for name in touch.pending]
            due.append(touch.made_ms + watched.keep_ms)
        for name, anchor in track.anchors.items():
            watched = self.watching.placements[anchor.placement]
            due.append(anchor.made_ms + watched.anchored[name.partition("\x00")[0]])
        return min(due, default=0)

    def _observe(self, touch: Touch, name: str, batch: Batch) -> None:
        metric = self.watching.metrics[name]
        value = observed(metric, touch)
        if value is None:
            return
        happened = not isinstance(metric.measure, TimeTo) or name in touch.marks
        clipped = self.tally.observe(metric, touch, value, batch, happened=happened)
        if isinstance(metric.measure, Dwell) and (more := clipped - standing(metric, touch)):
            self.tally.moved(metric, touch, more, batch)  # views whose end was never told

    def _give_up(self, touch: Touch, batch: Batch) -> None:
        """A decision that is watched no longer, for there are too many: its open metrics end here."""
        for name in touch.pending:
            if name in self.watching.metrics:
                self.tally.cut_short(self.watching.metrics[name], touch, batch)

    def _keep(self, key: str, track: Track, due_ms: int, batch: Batch) -> None:
        """Store a track with the step, and note when something of it is due."""
        if track.is_empty:
            self._calendar.drop(key)
            batch.drop("due", key)
            batch.drop("touch", key)
            return
        expires_ms = batch.now_ms + self.watching.longest_ms + 2 * DAY_MS
        if due_ms and not 0 < track.due_ms <= due_ms and self._calendar.set(key, due_ms):
            track.due_ms = due_ms
            batch.put("due", key, str(due_ms).encode(), expires_ms)
        batch.touch("touch", key, lambda: touches.pack(track), expires_ms)

    def forget(self, subject: str, batch: Batch) -> None:
        """Somebody withdrew: what is open of them is gone."""
        self._tracks.replace(subject, Track())
        self._keep(subject, Track(), 0, batch)

    def trim(self) -> None:
        """Between steps: let go of what is stored."""
        self._tracks.trim()
