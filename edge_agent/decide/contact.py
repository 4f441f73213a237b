"""How often a person may be reached: caps over one history of contacts, whatever placement or channel they came by.

A window slides in unix time, so neither a change of zone nor of summer time moves it. A cap of a local day counts what
was sent on that day or later, by the zone that was then or by the one that is now, whichever counts more: whoever
travels gets no second day's worth.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from edge_agent.limits import FUTURE_MS_MAX
from firmware_configs.profile import ContactCap

CONTACTS_MAX = 512
"""Contacts remembered of one person. A history that is full of contacts which still count lets nobody through."""


class Contact(Struct, frozen=True, array_like=True):
    """One message that was handed over."""

    made_ms: int
    day: int
    """Local day by the zone of then, days since 1970."""
    placement: str
    theme: str
    importance: str
    channel: str


class Bound(NamedTuple):
    """A cap, and which contacts count for it."""

    of: str
    """In words: what is capped."""
    cap: ContactCap
    attribute: str
    """Of a contact; empty: every contact counts."""
    value: str


class Now(NamedTuple):
    """The time, and where its day begins."""

    ms: int
    day: int
    day_of: Callable[[int], int]
    """Unix ms → local day by the zone of now."""


Histories = list[Contact]
_decoder = msgspec.msgpack.Decoder(Histories)
pack = msgspec.msgpack.Encoder().encode
unpack = _decoder.decode


def broken(history: Sequence[Contact], bounds: Iterable[Bound], now: Now) -> str:
    """The first cap that one more contact would break, in words; empty: none would.

    Args:
        history: of the person, in any order. What lies far ahead was written by a clock that was ahead, and does not
            count.
    """
    bounds = tuple(bounds)
    counted = [one for one in history if one.made_ms <= now.ms + FUTURE_MS_MAX]
    if bounds and len(counted) >= CONTACTS_MAX and counted[0].made_ms > now.ms - longest_ms(bounds):
        return f"the history of {CONTACTS_MAX} contacts is full"
    for bound in bounds:
        cap = bound.cap
        mine = [one for one in counted if not bound.attribute or getattr(one, bound.attribute) == bound.value]
        if len(mine) < cap.count:
            continue
        if cap.local_day:
            count = sum(one.day >= now.day or now.day_of(one.made_ms) >= now.day for one in mine)
        else:
            since = now.ms - cap.per_s * 1_000
            count = sum(since < one.made_ms for one in mine)
        if count >= cap.count:
            span = "a day" if cap.local_day else f"{cap.per_s:g} s"
            return f"{bound.of}: {count} of {cap.count} in {span}"
    return ""


def longest_ms(bounds: Iterable[Bound]) -> int:
    """How long a contact can count, ms; for a local day three of UTC, as zones lie up to 26 hours apart."""
    return int(max((259_200.0 if b.cap.local_day else b.cap.per_s for b in bounds), default=0.0) * 1_000)


def remember(history: Sequence[Contact], contact: Contact, kept_ms: int) -> Histories:
    """The history with one more contact, without what can count no longer."""
    since = contact.made_ms - kept_ms
    return [*[one for one in history if one.made_ms > since][-(CONTACTS_MAX - 1) :], contact]
