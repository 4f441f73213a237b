"""What a running agent measures of itself, beyond its vital signs: stages, lags, queues, egress, objectives, alerts.

Names are the profile's and the code's own: nothing that came in an event is in here.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_agent.objectives import ObjectiveState
from edge_agent.timings import StageTimes
from firmware_configs.histogram import Histogram
from firmware_configs.messages import Alert

if TYPE_CHECKING:
    from edge_agent.shell.run import Loop


class Queues(Struct, frozen=True, kw_only=True):
    """What waits."""

    outbox: int
    """Messages that are committed and that the broker has not acknowledged."""
    in_flight: int
    """Of them, those that the socket has."""
    unacknowledged: int
    """Messages of the broker whose effects could not be committed yet."""


class Egressed(Struct, frozen=True, kw_only=True):
    """What left, or is about to, of one kind."""

    total_bytes: int
    """Since the start of the process."""
    today_bytes: int
    """Since midnight UTC."""
    day_bytes_max: int
    """What the profile allows."""


class Running(Struct, frozen=True, kw_only=True):
    """One version of a bundle."""

    version: str
    state: str
    """As in `reported`; a version on trial beside the one that serves is told with `serving`."""
    serving: str


class Measures(Struct, frozen=True, kw_only=True):
    """All of it. Histograms and counts begin with the process."""

    stages: dict[str, StageTimes]
    """Stage → how long it took; `edge_agent.timings.STAGES` says what each is."""
    decision_to_outcome_ms: dict[str, Histogram]
    """Placement → from a decision until the outcome that rewards it happened."""
    decisions: dict[str, dict[str, int]]
    """Placement → rung of the fallback ladder (empty: a policy's choice) → decisions."""
    queues: Queues
    egress: dict[str, Egressed]
    """By kind, those that the profile declares."""
    bundles: dict[str, Running]
    round: str
    """State of the newest federated round here, as in `reported`."""
    objectives: dict[str, ObjectiveState]
    alerts: list[Alert]
    """Those that fire."""


def of(loop: "Loop") -> Measures:
    """A running loop's."""
    agent, now_ms = loop.agent, loop.now_ms()
    ledger = agent.gate.ledger
    objectives = agent.objectives.told(now_ms) if agent.objectives is not None else {}
    bundles = agent.control.bundles()
    return Measures(
        stages=loop.timings.stages(),
        decision_to_outcome_ms=loop.timings.outcomes(),
        decisions={name: dict(place.rungs) for name, place in agent.placements.items()},
        queues=Queues(
            outbox=loop.store.waiting_rows,
            in_flight=len(loop.link.in_flight),
            unacknowledged=loop.unacknowledged,
        ),
        egress={
            declared.kind: Egressed(
                total_bytes=ledger.entered.get(declared.kind, 0),
                today_bytes=ledger.spent(declared.kind, now_ms),
                day_bytes_max=declared.bytes_day_max,
            )
            for declared in loop.loaded.profile.egress
        },
        bundles={
            name: Running(version=one.version, state=one.state, serving=one.serving) for name, one in bundles.items()
        },
        round=agent.control.offers.learning,
        objectives=objectives,
        alerts=list(agent.alerts.firing.values()),
    )
