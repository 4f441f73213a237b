"""Which decision an outcome belongs to."""

from collections.abc import Callable, Mapping

from edge_agent.errors import FeedbackUnknown


def by_id(decision_id: str, recent: Mapping[str, bytes], recall: Callable[[str, str], bytes | None]) -> bytes:
    """The decision's stored trail, from memory or from the store.

    Raises:
        FeedbackUnknown: this device made no such decision, or its retention is over.
    """
    held = recent.get(decision_id) or recall("decision", decision_id)
    if held is None:
        raise FeedbackUnknown("no such decision here", hint="send the decision's own id, within its retention")
    return held
