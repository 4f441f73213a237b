"""Session windows, merged in whatever order events come.

Each event opens a window [t, t + gap]; windows that touch are one session (Akidau et al. 2015, "The Dataflow Model",
section 2.2.2). The two newest sessions are kept: that is exact whatever the order of arrival while no event is later
than the gap, for then no third session can still grow or merge.
"""

from array import array


def merge(row: "array[float]", at: int, size: int, t_ms: int, gap_ms: int) -> int | None:
    """Take an event into the two newest sessions, which lie side by side, the newer first.

    Args:
        row: changed in place; a session is (start ms, end ms, events, and what the caller keeps).
        at: where the newer one lies.
        size: numbers in a session.
    Returns:
        Where the event's session lies now; None: it is older than both. The caller's own numbers of two sessions
        that became one are in the returned place and, still to be added, in the other one (its events are 0 then).
    """
    older = at + size
    end = t_ms + gap_ms
    if not row[at + 2]:
        _open(row, at, size, t_ms, end)
        return at
    if t_ms > row[at + 1]:
        row[older : older + size] = row[at : at + size]
        _open(row, at, size, t_ms, end)
        return at
    if end >= row[at]:
        _extend(row, at, t_ms, end)
        if row[older + 2] and row[older + 1] >= row[at]:
            row[at] = min(row[at], row[older])
            row[at + 2] += row[older + 2]
            row[older + 2] = 0.0
        return at
    if row[older + 2] and end < row[older]:
        return None
    if not row[older + 2] or t_ms > row[older + 1]:
        _open(row, older, size, t_ms, end)
    else:
        _extend(row, older, t_ms, end)
    return older


def _open(row: "array[float]", at: int, size: int, start_ms: int, end_ms: int) -> None:
    row[at], row[at + 1], row[at + 2] = start_ms, end_ms, 1.0
    for n in range(at + 3, at + size):
        row[n] = 0.0


def _extend(row: "array[float]", at: int, t_ms: int, end_ms: int) -> None:
    row[at] = min(row[at], t_ms)
    row[at + 1] = max(row[at + 1], end_ms)
    row[at + 2] += 1.0


def at_time(row: "array[float]", at: int, size: int, now_ms: int) -> int | None:
    """Where the session lies that runs at `now_ms`; None: none does."""
    for one in (at, at + size):
        if row[one + 2] and row[one] <= now_ms <= row[one + 1]:
            return one
    return None


def before_time(row: "array[float]", at: int, size: int, now_ms: int) -> int | None:
    """Where the newest session lies that was over by `now_ms`; None: none was."""
    for one in (at, at + size):
        if row[one + 2] and row[one + 1] < now_ms:
            return one
    return None


def forget_future(row: "array[float]", at: int, size: int, now_ms: int) -> None:
    """Drop sessions that began after now: our clock was ahead when they were written."""
    older = at + size
    for one in (older, at):
        if row[one] > now_ms:
            for n in range(one, one + size):
                row[n] = 0.0
    if not row[at + 2] and row[older + 2]:
        row[at : at + size] = row[older : older + size]
        for n in range(older, older + size):
            row[n] = 0.0
