"""What was last heard: the newest values of the few fields that channels and reasons ask for, by subject."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from edge_agent.limits import FUTURE_MS_MAX, SUBJECTS_MAX
from edge_agent.memory.subjects import Kept

Value = float | str | bool
Heard = dict[str, tuple[Value, int]]
"""Field → (value, event time in unix ms)."""

_decoder = msgspec.msgpack.Decoder(Heard)
pack = msgspec.msgpack.Encoder().encode


class Known:
    """Last known fields; what is held does not depend on the order of arrival."""

    def __init__(self, names: Iterable[str], recall: Callable[[str], bytes | None]) -> None:
        """Args:
        names: fields that anybody asks for.
        recall: subject → stored bytes.
        """
        self.names = frozenset(names)
        self._held: Kept[Heard] = Kept(recall, _decoder.decode, dict, SUBJECTS_MAX)

    def trim(self) -> None:
        """Let go of whom nothing was heard of lately."""
        self._held.trim()

    def hear(self, subject: str, fields: Mapping[str, Value], t_ms: int) -> Heard | None:
        """Take an event's fields in; returns what is to be stored, None when nothing changed.

        Args:
            t_ms: event time, unix ms.
        """
        named = self.names.intersection(fields)
        if not named:
            return None
        held = self._held.get(subject)
        newer = [name for name in named if name not in held or t_ms >= held[name][1]]
        for name in newer:
            held[name] = (fields[name], t_ms)
        return held if newer else None

    def forget(self, subject: str) -> None:
        """Keep nothing of a subject."""
        self._held.replace(subject, {})

    def values(self, subjects: Iterable[str], now_ms: int, fresh_s: float) -> dict[str, Value]:
        """The newest value of each field among the subjects; a later one in the list stands before an earlier one.

        Args:
            fresh_s: a value that was heard longer ago is not known. One from a clock that was ahead is not either.
        """
        since = now_ms - fresh_s * 1_000
        found: dict[str, Value] = {}
        for subject in subjects:
            for name, (value, at) in self._held.get(subject).items():
                if since < at <= now_ms + FUTURE_MS_MAX:
                    found[name] = value
        return found
