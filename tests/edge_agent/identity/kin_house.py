"""A home whose profile has an [identity], and what happens in it, in a few words."""

from typing import Any

import msgspec

from edge_agent.happenings import PeopleAsked
from edge_agent.identity import IdentityGraph
from edge_agent.infer.model import LoadedModel
from tests.edge_agent.house import DEVICE, House

PURPOSES = ("personalise", "recognise")
EVERYBODY = ("phone", "tablet", "laptop", "watch")
TEXT = """
schema = 1
name = "kin"
version = "1.0.0"
[device]
class = "kin"
fleet = "kin"
[[purpose]]
name = "personalise"
legal_basis = "consent"
consent = "required"
text = "What you pick is remembered here, to suggest more."
[[purpose]]
name = "recognise"
legal_basis = "consent"
consent = "required"
text = "Which devices are yours is noticed here, so that they agree."
[[source]]
name = "touch"
topic = "kin/{device}/touch"
event_id = "id"
event_time = "time"
event_time_unit = "ms"
subject = "user"
lateness_s = 1e9
[[source.field]]
name = "item"
type = "text"
category = "user.behavior"
purposes = ["personalise", "recognise"]
[[source.field]]
name = "amount"
category = "user.behavior"
purposes = ["personalise"]
[[source.field]]
name = "network"
type = "text"
category = "user.device"
purposes = ["recognise"]
transform = { kind = "keyed-hash" }
[[source.field]]
name = "room"
type = "text"
category = "user.device"
purposes = ["recognise"]
[[source.field]]
name = "account"
type = "text"
category = "user.device"
purposes = ["recognise"]
transform = { kind = "keyed-hash" }
[[source.field]]
name = "peer"
type = "text"
category = "user.device"
purposes = ["recognise"]
[retention]
"user.behavior" = { days = 90 }
"user.device" = { days = 90 }
[identity]
purposes = ["recognise"]
view = "VIEW"
[[identity.link]]
name = "account"
kind = "login"
field = "account"
[[identity.link]]
name = "pairing"
kind = "pairing"
field = "peer"
[[identity.evidence]]
name = "network"
kind = "same-value"
field = "network"
[[identity.evidence]]
name = "next"
kind = "hand-over"
within_s = 120.0
[[identity.evidence]]
name = "turns"
kind = "turns"
within_s = 120.0
[[identity.evidence]]
name = "hours"
kind = "rhythm"
[[identity.evidence]]
name = "taste"
kind = "habit"
field = "item"
[[identity.apart]]
name = "rooms"
field = "room"
[[placement]]
name = "pick"
trigger = { kind = "event", source = "touch" }
purposes = ["personalise"]
models = MODELS
candidate = [{ item = "a" }, { item = "b" }, { item = "c" }]
policy = { kind = "epsilon-greedy", epsilon = 0.3 }
experiment = { name = "arms", share = 1.0, arms = [{ name = "one" }, { name = "two" }] }
fallback = "a"
[[egress]]
kind = "decision"
purposes = ["personalise"]
bytes_day_max = 9_000_000_000
[[egress]]
kind = "status"
purposes = ["personalise"]
bytes_day_max = 9_000_000_000
[[egress]]
kind = "rejection"
purposes = ["personalise"]
bytes_day_max = 9_000_000_000
"""


def text(view: str = "subject", models: str = "[]") -> str:
    """The profile."""
    return TEXT.replace("VIEW", view).replace("MODELS", models)


class KinHouse(House):
    """A house whose subjects are devices of people."""

    def __init__(self, profile: str = "", models: tuple[str | LoadedModel, ...] = (), *, record: bool = False) -> None:
        super().__init__(profile or text(), models, record=record)
        self.number = 0

    def everybody(self, *subjects: str) -> "KinHouse":
        """All agree."""
        for subject in subjects or EVERYBODY:
            self.consent(subject, *PURPOSES)
        return self

    def touch(self, user: str, **fields: Any) -> None:
        """An event of a subject, now."""
        self.number += 1
        event = {"id": f"t{self.number}", "time": self.now, "user": user, **fields}
        self.tell(self.message(f"kin/{DEVICE}/touch", event))

    def people_said(self, *subjects: str, same: bool) -> None:
        """An operator's word."""
        self.tell(PeopleAsked(subjects=subjects, same=same))

    @property
    def graph(self) -> IdentityGraph:
        """The agent's."""
        found = self.agent.people
        assert isinstance(found, IdentityGraph)
        return found

    def persons(self) -> list[tuple[str, ...]]:
        """The subjects of each person with more than one, sorted."""
        return sorted(tuple(sorted(one.subjects)) for one in self.graph.persons(self.now))

    def kept(self, *, but: tuple[str, ...] = ()) -> dict[str, object]:
        """The rows of the room `identity`, decoded."""
        return {
            key: msgspec.msgpack.decode(value)
            for (room, key), (value, _) in self.rows.items()
            if room == "identity" and key not in but
        }
