"""What needs a person: each alert is told when it begins, when its severity changes and when it is over, on `…/alert`.

Whoever watches something says after each look what it found, however often: only changes leave. The state survives a
restart, so that what is over is told to be over.
"""

from collections.abc import Iterable, MutableMapping
from typing import Literal

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.gate import Gate
from firmware_configs.messages import Alert
from firmware_configs.profile import Profile

Kind = Literal["burn-rate", "drift"]
ROW = "alerts"
"""Key of the room `meta`."""


class Finding(Struct, frozen=True, kw_only=True):
    """Why an alert fires; the fields of `firmware_configs.messages.Alert` with the same names."""

    severity: Literal["page", "ticket"]
    what: str
    value: float
    threshold: float
    window_s: float = 0.0
    placement: str = ""
    bundle: str = ""


class Alerts:
    """The alerts that fire now.

    Attributes:
        firing: (kind, name) → the word that was sent last.
    """

    def __init__(
        self, device: str, gate: Gate, counters: MutableMapping[str, int], declared: Iterable[tuple[Kind, str]]
    ) -> None:
        """Begin with none.

        Args:
            declared: (kind, name) of all that is watched here.
        """
        self._device, self._gate, self._counters = device, gate, counters
        self._declared = frozenset(declared)
        self._orphaned = False
        self.firing: dict[tuple[str, str], Alert] = {}

    def restore(self, packed: bytes) -> None:
        """Take up what fired when the agent stopped."""
        for word in msgspec.msgpack.decode(packed, type=list[Alert]):
            self.firing[word.kind, word.name] = word
        self._orphaned = any(key not in self._declared for key in self.firing)

    def tick(self, batch: Batch) -> None:
        """Once a second: what nobody watches any more, after a change of the profile, is over."""
        if self._orphaned:
            self._orphaned = False
            for kind, name in [key for key in self.firing if key not in self._declared]:
                self.tell(kind, name, None, batch)  # type: ignore[arg-type]

    def tell(self, kind: Kind, name: str, finding: Finding | None, batch: Batch) -> None:
        """What a look found.

        Args:
            name: of the objective or detector, from the profile.
            finding: why the alert fires; None: all is well.
        """
        was = self.firing.get((kind, name))
        if finding is None:
            if was is not None:
                del self.firing[kind, name]
                self._send(msgspec.structs.replace(was, state="resolved", time_ms=batch.now_ms), batch)
            return
        if was is not None and was.severity == finding.severity:
            return
        word = Alert(
            device=self._device,
            kind=kind,
            name=name,
            state="firing",
            since_ms=was.since_ms if was is not None else batch.now_ms,
            time_ms=batch.now_ms,
            **msgspec.structs.asdict(finding),
        )
        self.firing[kind, name] = word
        counted = f"alerts.{kind}"
        self._counters[counted] = self._counters.get(counted, 0) + 1
        self._send(word, batch)

    def _send(self, word: Alert, batch: Batch) -> None:
        batch.put("meta", ROW, msgspec.msgpack.encode(list(self.firing.values())))
        self._gate.alert(word, batch)


def declared_in(profile: Profile) -> list[tuple[Kind, str]]:
    """All that a profile has watched."""
    found: list[tuple[Kind, str]] = [("burn-rate", objective.name) for objective in profile.objective]
    return found + [("drift", detector.name) for detector in profile.drift]
