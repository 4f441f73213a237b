"""What a learner leaves with the agent at each step of a round, so that one that is cut goes on where it stood.

Two moments: it has taken a message (then it can read it again, for it confirms it only after its answer), and the
ledger has entered its answer (then the very same bytes are sent again, which changes nothing where they had arrived).
What rounding took and the personal parameters are those that belong to that moment, all of them or none.
"""

import msgspec
from msgspec import Struct


class Held(Struct, frozen=True, kw_only=True):
    """A learner's state between two moments."""

    seed: bytes
    """The seed that it began with: what is trained again comes out the same."""
    note: bytes
    """The message that was taken, as `Ask.note`."""
    reply: bytes = b""
    """The reply that was entered, as `fleet.pack` makes it; empty: none yet."""
    is_last: bool = False
    """Whether the reply is the run's last."""
    rounds: int = 0
    """Rounds answered, the reply included."""
    personal: dict[str, bytes] = {}
    """Subject → its parameters, as `parameters.pack` makes them."""
    copies: dict[str, bytes] = {}
    """Subject → its copy of the shared part, of those who have one (Ditto)."""
    residual: bytes
    control: bytes
    """This device's control variate (SCAFFOLD)."""
    loss_before: float = 0.0
    loss_after: float = 0.0


def pack(held: Held) -> bytes:
    """As bytes."""
    return msgspec.msgpack.encode(held)


def unpack(packed: bytes) -> Held | None:
    """What was held; None where it is of another version."""
    try:
        return msgspec.msgpack.decode(packed, type=Held)
    except msgspec.MsgspecError:
        return None
