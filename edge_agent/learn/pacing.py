"""When a device begins with a round that many are offered, and how long it pauses after a cut: never all at once.

Each device has a share of its own, a uniform number of its key and the run, so its moment is the same however often it
asks, nobody else can tell it, and over a fleet the moments are spread evenly.
"""

WINDOW_MS_MIN = 1_000
"""A shorter window is none: the agent looks at offers once a second."""
PAUSE_MS = 5_000
"""Mean pause before a learner that was cut is started again, the first time; it doubles."""


def turn_ms(share: float, seen_ms: int, opens_ms: int, window_ms: int, closes_ms: int) -> int:
    """When a device begins.

    Who sees the offer late has what is left of the window: whoever comes back from one outage together is spread again.

    Args:
        share: this device's, in [0, 1).
        seen_ms: unix ms at which the device first saw the offer.
        opens_ms: when the window opened, by the coordinator's clock. A device whose clock is behind it has the whole
            window, one whose clock is far ahead none of it: it begins at once.
        window_ms: how long it is.
        closes_ms: after which no part can be taken; 0: never.
    Returns:
        Unix ms, not before `seen_ms`, and before `closes_ms` where `seen_ms` is.
    """
    ends_ms = min(opens_ms + window_ms, closes_ms) if closes_ms else opens_ms + window_ms
    left_ms = min(ends_ms - seen_ms, window_ms, closes_ms - seen_ms if closes_ms else window_ms)
    return seen_ms + int(share * left_ms) if left_ms >= WINDOW_MS_MIN else seen_ms


def pause_ms(share: float, times: int) -> int:
    """How long a device waits before it goes on after a cut, ms: between half and one and a half of the mean.

    What cuts one learner, such as a SuperLink that starts again, cuts them all, and they must not come back together.

    Args:
        share: this device's, in [0, 1); another one each time.
        times: how often it has gone on before.
    """
    return int((0.5 + share) * (PAUSE_MS << times))
