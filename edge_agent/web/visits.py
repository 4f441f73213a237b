"""Visitors who have come in: held in memory, so that all of them end with the process."""

import hmac
import secrets
from threading import Lock

import msgspec
from msgspec import Struct

from edge_agent.roles import Person, themselves

VISITS_MAX = 64
COOKIE_BYTES = 32


class Visit(Struct, frozen=True, kw_only=True):
    """One visitor, until they leave or stay away."""

    cookie: str
    person: Person
    form_key: str
    """Every form carries it: another site's page cannot know it."""
    seen_ms: int
    said: str = ""
    """What the next page tells once, such as the outcome of a form."""
    paper: bytes = b""
    """A receipt to take along; it is nowhere else."""

    @property
    def subject(self) -> str:
        """Whose own pages these are; empty: nobody's."""
        return self.person.subject


class Visits:
    """Cookie → visit; threads of the server share it."""

    def __init__(self, silence_ms: int) -> None:
        """Args:
        silence_ms: after which a visit is over.
        """
        self._silence_ms = silence_ms
        self._held: dict[str, Visit] = {}
        self._lock = Lock()

    def begin(self, person: Person, now_ms: int) -> Visit:
        """A new visit; of too many, the one that has been silent for longest ends."""
        visit = Visit(
            cookie=secrets.token_urlsafe(COOKIE_BYTES),
            person=person,
            form_key=secrets.token_urlsafe(COOKIE_BYTES),
            seen_ms=now_ms,
        )
        with self._lock:
            self._end_silent(now_ms)
            while len(self._held) >= VISITS_MAX:
                del self._held[min(self._held, key=lambda one: self._held[one].seen_ms)]
            self._held[visit.cookie] = visit
        return visit

    def of(self, cookie: str, now_ms: int) -> Visit | None:
        """The visit of a cookie, seen now; None: there is none, or it is over."""
        with self._lock:
            self._end_silent(now_ms)
            visit = self._held.get(cookie)
            if visit is not None:
                visit = self._held[cookie] = msgspec.structs.replace(visit, seen_ms=now_ms)
            return visit

    def tell(self, visit: Visit, said: str, paper: bytes = b"") -> None:
        """What the visitor is told by the next page."""
        with self._lock:
            if (held := self._held.get(visit.cookie)) is not None:
                self._held[visit.cookie] = msgspec.structs.replace(held, said=said, paper=paper or held.paper)

    def told(self, visit: Visit) -> str:
        """What is to be told, once."""
        with self._lock:
            held = self._held.get(visit.cookie)
            if held is None or not held.said:
                return ""
            self._held[visit.cookie] = msgspec.structs.replace(held, said="")
            return held.said

    def forget(self, visit: Visit) -> None:
        """The visitor stays, and is nobody any more."""
        with self._lock:
            if (held := self._held.get(visit.cookie)) is not None:
                self._held[visit.cookie] = msgspec.structs.replace(held, person=themselves(""))

    def end(self, visit: Visit) -> None:
        """The visitor leaves."""
        with self._lock:
            self._held.pop(visit.cookie, None)

    def _end_silent(self, now_ms: int) -> None:
        over = [one for one, visit in self._held.items() if not 0 <= now_ms - visit.seen_ms <= self._silence_ms]
        for one in over:
            del self._held[one]


def is_own(visit: Visit, form_key: str) -> bool:
    """Whether a form came from a page that this visit was shown."""
    return hmac.compare_digest(visit.form_key.encode(), form_key.encode())
