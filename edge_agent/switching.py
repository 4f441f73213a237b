"""The last door before a command leaves: an actuator's limits, which no model, rule, experiment or operator passes."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.decide import channel
from edge_agent.decide.decision import Trail
from edge_agent.effects import Log
from edge_agent.errors import SwitchForbidden
from edge_agent.limits import DAY_MS, FUTURE_MS_MAX
from edge_agent.withheld import Withheld
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import Expression, compile_expression, paths
from firmware_configs.profile import Actuator, ActuatorLimit, Profile

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.placements import CompiledPlacement

Value = float | str | bool


class Reading(Struct, array_like=True):
    """The newest value of a field that limits read."""

    value: Value
    at_ms: int
    """Event time, unix ms."""


class Switched(Struct, array_like=True):
    """What an actuator was last told."""

    item: str = ""
    since_ms: int = 0
    """When it was first told so."""


_reading = msgspec.msgpack.Decoder(Reading)
_switched = msgspec.msgpack.Decoder(Switched)


class Switches:
    """All actuators of a profile: what they were told, and the readings that their limits need."""

    def __init__(self, agent: "Agent", profile: Profile) -> None:
        self._agent = agent
        self._limits: dict[str, list[tuple[ActuatorLimit, Expression]]] = {
            actuator.name: [(limit, compile_expression(limit.never)) for limit in actuator.limit]
            for actuator in profile.actuator
        }
        self.reads = frozenset(
            name for limits in self._limits.values() for _, never in limits for name in paths(never, "fields")
        )
        """Fields that are remembered for limits."""
        self._readings: dict[str, Reading | None] = {}
        self._told: dict[str, Switched] = {}

    def hear(self, fields: "dict[str, Value]", event_time_ms: int, batch: Batch) -> None:
        """Remember what limits may ask for; an older event changes nothing."""
        for name in self.reads & fields.keys():
            newest = self._reading(name)
            if newest is None or newest.at_ms <= event_time_ms or newest.at_ms > batch.now_ms + FUTURE_MS_MAX:
                self._readings[name] = Reading(fields[name], event_time_ms)
                packed = msgspec.msgpack.encode(self._readings[name])
                batch.put("caps", f"reading\x00{name}", packed, batch.now_ms + self._agent.retention_ms)

    def _reading(self, name: str) -> Reading | None:
        if name not in self._readings:
            packed = self._agent.doors.recall("caps", f"reading\x00{name}")
            self._readings[name] = _reading.decode(packed) if packed else None
        return self._readings[name]

    def told(self, actuator: str) -> Switched:
        """What it was last told."""
        if actuator not in self._told:
            packed = self._agent.doors.recall("caps", f"switched\x00{actuator}")
            self._told[actuator] = _switched.decode(packed) if packed else Switched()
        return self._told[actuator]

    def switch(self, place: "CompiledPlacement", trail: Trail, batch: Batch) -> None:
        """Send the actuator's command, within its limits; else say why not."""
        agent, now = self._agent, batch.now_ms
        actuator = agent.actuators[place.placement.actuator]
        item = trail.items[0]
        key = f"actuator\x00{actuator.name}"
        history = agent.histories.get(key)
        payload = channel.command(actuator, item, history, now)
        why = f"it may be told {actuator.per_minute_max} times a minute" if payload is None else ""
        why = why or self._lasting(actuator, item, now) or self._forbidden(actuator, item, now)
        if payload is None or why:
            agent.count("suppressed.actuator-limit")
            held = Withheld("actuator", why, trail.event_id, trail.subject, now, trail.id)
            agent.withheld.note(place.name, held)
            text = f"{actuator.name} was not told {item}: {why}"
            batch.effects.append(Log(level="warning", code=SwitchForbidden.code, text=text))
            return
        agent.histories.replace(key, channel.remember(history, now))
        batch.touch("caps", key, lambda: msgspec.msgpack.encode(agent.histories.get(key)), now + DAY_MS)
        if self.told(actuator.name).item != item:
            self._told[actuator.name] = Switched(item, now)
            batch.put("caps", f"switched\x00{actuator.name}", msgspec.msgpack.encode(self._told[actuator.name]))
        agent.gate.command(actuator, payload, place.placement.expiry_s, batch)

    def _lasting(self, actuator: Actuator, item: str, now_ms: int) -> str:
        """Why the last item must last longer; empty: it need not."""
        told = self.told(actuator.name)
        must_ms = actuator.lasts_s.get(told.item, 0.0) * 1_000
        # A clock that was set back makes nothing last for ever.
        if item == told.item or not must_ms or not 0 <= now_ms - told.since_ms < must_ms:
            return ""
        return (
            f"{told.item} lasts at least {must_ms / 1_000:g} s, and began {(now_ms - told.since_ms) / 1_000:.0f} s ago"
        )

    def _forbidden(self, actuator: Actuator, item: str, now_ms: int) -> str:
        """Why a limit forbids the item; empty: none does."""
        limits = self._limits[actuator.name]
        if not limits:
            return ""
        hour, weekday = self._agent.doors.local_hour(now_ms)
        told = {name: self.told(name).item for name in self._limits}
        values = {"item": item, "hour": hour, "weekday": weekday, "actuators": told}
        for limit, never in limits:
            try:
                holds = never.evaluate({**values, "fields": self._fresh(limit.fresh_s, now_ms)})
            except ExpressionError:
                holds = None
            if holds is not False:
                unknown = "" if holds is True else " (could not be evaluated, so it forbids)"
                return f"limit {limit.name}: {limit.reason}{unknown}"
        return ""

    def _fresh(self, fresh_s: float, now_ms: int) -> dict[str, Value]:
        readings = {name: self._reading(name) for name in self.reads}
        return {
            name: one.value
            for name, one in readings.items()
            if one is not None and abs(now_ms - one.at_ms) <= fresh_s * 1_000
        }
