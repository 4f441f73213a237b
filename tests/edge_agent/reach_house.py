"""A home whose decisions reach people by channels: clocks with zones, ticks, and letters that a test answers."""

from functools import cache
from typing import Any

import msgspec

from edge_agent.agent import Agent
from edge_agent.decide.delivery import Note, unpack, unpack_notes
from edge_agent.doors import Doors
from edge_agent.effects import Effect, Post
from edge_agent.egress import letter as letters
from edge_agent.egress.letter import Letter
from edge_agent.happenings import Posted, Tick
from edge_agent.reaching import ROOMS
from edge_agent.shell.clock import zoned_times
from firmware_configs.messages import DecisionMade
from tests.edge_agent.house import DEVICE, House
from tests.edge_agent.house import RESTORED as HOUSE_ROOMS

_clocks = cache(zoned_times)
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
PROFILE = """
schema = 1
name = "reach"
version = "1.0.0"

[device]
class = "home-gateway"
fleet = "homes"

[[source]]
name = "touch"
topic = "home/{device}/touch"
event_id = "id"
event_time = "time"
subject = "user"
[[source.field]]
name = "item"
type = "text"
category = "user.behavior"
purposes = ["personalise"]
[[source.field]]
name = "zone"
type = "text"
category = "user.behavior"
purposes = ["personalise"]

[[source]]
name = "stand"
topic = "home/{device}/stand"
event_id = "id"
event_time = "time"
subject = "user"
[[source.field]]
name = "near"
type = "flag"
category = "user.behavior"
purposes = ["personalise"]

[[source]]
name = "room"
topic = "home/{device}/room"
event_id = "id"
event_time = "time"
[[source.field]]
name = "meeting"
type = "flag"
category = "user.sensor"
purposes = ["comfort"]
[[source.field]]
name = "open_window"
type = "flag"
category = "user.sensor"
purposes = ["comfort"]

[retention]
"user.behavior" = { days = 30 }
"user.sensor" = { days = 7 }

[[purpose]]
name = "personalise"
legal_basis = "consent"
consent = "required"
text = "Your gateway suggests what may suit you, and remembers what you pick."

[[purpose]]
name = "comfort"
legal_basis = "contract"
consent = "not-needed"
text = "Your gateway looks after the air of the room that it stands in."

[[purpose]]
name = "letters"
legal_basis = "consent"
consent = "required"
text = "Your gateway may send you its suggestions by e-mail and push."

[[egress]]
kind = "decision"
purposes = ["personalise", "comfort"]
bytes_day_max = 10000000
fields = ["item"]

[[egress]]
kind = "email"
destination = "smtp"
purposes = ["letters"]
bytes_day_max = 100000
fields = ["item"]

[[egress]]
kind = "push"
destination = "http"
purposes = ["letters"]
bytes_day_max = 100000
"""
PLACEMENTS = """
[[theme]]
name = "dinner"

[[placement]]
name = "offer"
trigger = { kind = "event", source = "touch" }
purposes = ["personalise"]
expiry_s = 3600
candidate = [{ item = "soup", score = "0.9" }, { item = "rice", score = "0.8" }]
[placement.delivery]
channels = ["phone"]
theme = "dinner"

[[placement]]
name = "kiosk"
trigger = { kind = "event", source = "stand" }
purposes = ["personalise"]
expiry_s = 3600
candidate = [{ item = "soup", score = "0.1" }, { item = "rice", score = "0.9" }]
[placement.delivery]
channels = ["panel"]
theme = "dinner"

[[channel]]
name = "phone"
kind = "in-app"

[[channel]]
name = "panel"
kind = "display"
topic = "home/{device}/panel"
retain = true
"""


class ReachHouse(House):
    """One device with channels."""

    def __init__(self, placements: str = PLACEMENTS, *, record: bool = False, models: tuple[Any, ...] = ()) -> None:
        self.zone = "UTC"
        self.posts: list[Letter] = []
        """Tries of letters that were handed to the shell and not answered."""
        self.tried: list[Letter] = []
        """Every try that was ever handed over."""
        self.numbers = 0
        super().__init__(PROFILE + placements, models, record=record)
        for person in ("ann", "bea"):
            self.consent(person, "personalise", "letters")

    def _new(self) -> Agent:
        doors = Doors(
            secret=b"s" * 32,
            recall=self._recall,
            models=self._models,
            over_budget=self._over_budget,
            local_hour=lambda ms: self.zoned(ms, "")[:2],
            zoned=self.zoned,
        )
        return Agent(self.loaded, DEVICE, doors, record=self._record)

    def zoned(self, ms: int, zone: str) -> tuple[int, int, int]:
        """Local hour, weekday and day where the device, or a person, is at present."""
        return _clocks(self.zone)(ms, zone)

    def commit(self, effects: list[Effect]) -> None:
        super().commit(effects)
        posts = [letters.unpack(effect.letter) for effect in effects if isinstance(effect, Post)]
        self.posts += posts
        self.tried += posts

    def restart(self) -> None:
        """The process dies; what was out by a sender is out no more."""
        self.agent = self._new()
        self.posts = []
        kept = {*HOUSE_ROOMS, *ROOMS}
        rows = [(room, key, *value) for (room, key), value in sorted(self.rows.items()) if room in kept]
        self.agent.restore(rows, self.now)  # type: ignore[arg-type]
        self.agent.models_changed()

    def say(self, source: str, user: str = "", **fields: Any) -> list[DecisionMade]:
        """An event; what was published because of it."""
        self.numbers += 1
        before = len(self.sent)
        word = {"id": f"e{self.numbers}", "time": self.now / 1_000, **({"user": user} if user else {}), **fields}
        self.tell(self.message(f"home/{DEVICE}/{source}", word))
        return self.words(before)

    def wait(self, ms: int, step: int = 0) -> list[DecisionMade]:
        """Time goes by, with a tick at its end, or one each `step`."""
        before = len(self.sent)
        until = self.now + ms
        while self.now < until:
            self.now = min(until, self.now + (step or ms))
            self.tell(Tick())
        return self.words(before)

    def words(self, since: int = 0) -> list[DecisionMade]:
        """Decisions and retractions that were published since."""
        return [
            msgspec.msgpack.decode(sent.payload, type=DecisionMade)
            for sent in self.sent[since:]
            if sent.entered.kind == "decision" and sent.payload and sent.content_type != "text/plain"
        ]

    def answer(self, outcome: Any = "sent", **more: Any) -> None:
        """The shell tells what came of every letter that is out."""
        said = [Posted(key=one.key, outcome=outcome, **more) for one in self.posts]
        self.posts = []
        self.tell(*said)

    def notes(self, decision: str) -> list[Note]:
        """What became of a decision, as `edge-agent explain` reads it."""
        if packed := self._recall("delivery", decision):
            return unpack(packed).notes
        return unpack_notes(self._recall("delivered", decision) or b"\x90")

    def rows_of(self, room: str) -> int:
        """Committed rows of a room."""
        return sum(where == room for where, _ in self.rows)
