"""W3C Trace Context: reading a `traceparent`, and the one that a decision goes out with.

Source: https://www.w3.org/TR/trace-context/, sections 3.2 and 4.3. A decision's span id is the first half of its own
id, and a trace that begins here has the decision's id: nothing need be remembered to find them again, and a replay
finds the same.
"""

import re
from typing import NamedTuple

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
_SAMPLED = 1


class Context(NamedTuple):
    """Where a message stands in a trace."""

    trace: str
    """32 hex digits."""
    span: str
    """16 hex digits: of whoever sent it."""
    sampled: bool


def read(traceparent: str) -> Context | None:
    """A `traceparent`'s meaning; None: there is none, or it is malformed, and then the trace begins anew."""
    found = _PARENT.fullmatch(traceparent) if traceparent else None
    if found is None or (traceparent.startswith("00") and len(traceparent) != 55):
        return None
    trace, span, flags = found.groups()
    return Context(trace, span, bool(int(flags, 16) & _SAMPLED))


def span_of(decision: str) -> str:
    """The span id of a decision, 16 hex digits."""
    return decision[:16]


def outgoing(traceparent: str, decision: str, *, begins: bool = False) -> str:
    """The `traceparent` of a decision.

    Args:
        traceparent: of the message that it was made for; empty: none.
        decision: its id, 32 hex digits.
        begins: whether a trace begins here when the message carries none.
    Returns:
        Empty: it belongs to no trace.
    """
    context = read(traceparent)
    if context is not None:
        return f"00-{context.trace}-{span_of(decision)}-{_SAMPLED if context.sampled else 0:02x}"
    return f"00-{decision}-{span_of(decision)}-{_SAMPLED:02x}" if begins else ""
