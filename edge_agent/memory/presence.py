"""Who was at the device lately: of each person the newest event time, and no more than that.

It is the only state that one person's features read of others; all that they learn of it is a number.
"""

from collections.abc import Collection

import msgspec

from edge_agent.limits import FUTURE_MS_MAX

_decoder = msgspec.msgpack.Decoder(dict[str, int])


class Presence:
    """Subject → newest event time, of those who came last. What is held does not depend on the order of arrival."""

    def __init__(self, most: int) -> None:
        """Hold at most so many people; those who came last are kept."""
        self._most = most
        self._newest: dict[str, int] = {}

    @property
    def newest_ms(self) -> int:
        """Largest event time held, unix ms; 0: nobody is."""
        return max(self._newest.values(), default=0)

    def hear(self, subject: str, t_ms: int, span_ms: int, now_ms: int) -> bool:
        """Take a person's event in; returns whether anything changed.

        Args:
            t_ms: event time, unix ms.
            span_ms: who was last there this long before the newest event is forgotten, ms.
            now_ms: wall clock, unix ms.
        """
        rewound = self._rewind(now_ms)
        held = self._newest
        before = held.get(subject)
        if before is not None and t_ms <= before:
            return rewound
        held[subject] = t_ms
        over = self.newest_ms - span_ms
        for gone in [one for one, at in held.items() if at <= over]:
            del held[gone]
        if len(held) > self._most:
            del held[min(held, key=lambda one: (held[one], one))]
        return rewound or held.get(subject) != before

    def _rewind(self, now_ms: int) -> bool:
        """Our clock was ahead and came back: who was there after now was there now."""
        if self.newest_ms <= now_ms + FUTURE_MS_MAX:
            return False
        self._newest = {one: min(at, now_ms) for one, at in self._newest.items()}
        return True

    def others(self, subject: str, t_ms: int, window_ms: int, most: int, kin: Collection[str] = ()) -> float:
        """How many others had an event less than `window_ms` before `t_ms`, or after it; at most `most`.

        `kin` are subjects of the same person, and no others.
        """
        since = t_ms - window_ms
        return float(
            min(most, sum(at > since and one != subject and one not in kin for one, at in self._newest.items()))
        )

    def forget(self, subject: str) -> bool:
        """Keep nothing of a person; returns whether there was something."""
        return self._newest.pop(subject, None) is not None

    def pack(self) -> bytes:
        """The stored form, the same whatever the order in which people came."""
        return msgspec.msgpack.encode(dict(sorted(self._newest.items())))

    def restore(self, packed: bytes) -> None:
        """Take a stored form up again.

        Raises:
            msgspec.MsgspecError: it is none.
        """
        self._newest = _decoder.decode(packed)
