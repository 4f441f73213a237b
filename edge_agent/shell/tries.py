"""What may come of one try of a letter."""

from typing import Literal, NamedTuple


class Outcome(NamedTuple):
    """As the agent hears it; the reason holds no address, no text, and nothing that a server wrote."""

    what: Literal["sent", "again", "refused"]
    reason: str = ""
    wait_s: float = 0.0


SENT = Outcome("sent")


def refused(reason: str) -> Outcome:
    """It will never be taken."""
    return Outcome("refused", reason)


def again(reason: str, wait_s: float = 0.0) -> Outcome:
    """It may be taken later; and it may have been taken all the same."""
    return Outcome("again", reason, wait_s)
