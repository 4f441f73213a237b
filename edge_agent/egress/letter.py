"""Letters: messages that leave by e-mail or push, one try at a time, under a key that stays the same over all tries."""

import hashlib
from typing import Literal

import msgspec
from msgspec import Struct

from edge_agent.limits import LETTER_RETRY_MS_MAX, LETTER_RETRY_MS_MIN

Adapter = Literal["smtp", "http"]


class Letter(Struct, kw_only=True, array_like=True):
    """One message to one person by one channel."""

    key: str
    """32 hex digits of the decision, the channel and what it says: the Message-ID and the Idempotency-Key."""
    decision: str
    placement: str
    channel: str
    adapter: Adapter
    subject: str
    """Whom it is for; the sender's address book knows where that is."""
    person: str
    title: str
    text: str
    retracts: str = ""
    """Key of the letter that this one takes back; empty: none."""
    importance: int = 1
    made_ms: int
    expires_ms: int
    """Unix ms after which it is given up."""
    due_ms: int = 0
    """Not tried before, unix ms."""
    tries: int = 0
    entered: int = 0
    """Sequence number of its ledger row; 0: none yet, so nothing was sent."""


_decoder = msgspec.msgpack.Decoder(Letter)
pack = msgspec.msgpack.Encoder().encode
unpack = _decoder.decode


def key_of(decision: str, channel: str, *, retraction: bool) -> str:
    """The key that a receiver knows repeated tries by."""
    return hashlib.sha256(f"{decision}\x00{channel}\x00{'retract' if retraction else 'say'}".encode()).hexdigest()[:32]


def content(letter: Letter) -> bytes:
    """What of it leaves, as the ledger counts and hashes it."""
    return msgspec.json.encode(
        {"id": letter.key, "title": letter.title, "text": letter.text, "retracts": letter.retracts}
    )


def next_try_ms(letter: Letter, now_ms: int, asked_s: float) -> int:
    """When to try again: twice as late each time, with a jitter that the letter's own key gives.

    Args:
        asked_s: the receiver's own wish (Retry-After), s; 0: none. An hour at most is heeded.
    """
    step = min(LETTER_RETRY_MS_MAX, LETTER_RETRY_MS_MIN << min(letter.tries, 16))
    word = hashlib.sha256(f"{letter.key}\x00{letter.tries}".encode()).digest()
    share = 0.5 + int.from_bytes(word[:4]) / 2**32
    return now_ms + max(int(step * share), int(min(asked_s * 1_000, LETTER_RETRY_MS_MAX)))
