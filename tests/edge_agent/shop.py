"""A shop in memory: a kiosk and an app decide, people look, and later the till tells what they bought."""

from collections.abc import Iterable

import msgspec

from edge_agent.effects import Append
from edge_agent.happenings import Tick
from edge_agent.learn import earned
from edge_agent.learn.earned import Earned
from edge_agent.learn.totals import Cell, Sums
from edge_agent.people import People
from firmware_configs.measured import Measured, PathTotals
from firmware_configs.messages import Feedback, Topics
from tests.edge_agent.house import DEVICE, House

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SHOP = """
schema = 1
name = "shop"
version = "1.0.0"
[device]
class = "shop"
fleet = "shops"
[[purpose]]
name = "recommend"
legal_basis = "consent"
consent = "required"
text = "The shop remembers what it showed you, and whether you bought it."
[retention]
"user.behavior" = { days = 90 }
[[egress]]
kind = "decision"
purposes = ["recommend"]
bytes_day_max = 10_000_000
[[egress]]
kind = "metric"
purposes = ["recommend"]
bytes_day_max = 1_000_000
k_min = 3
"""
SOURCE = """
[[source]]
name = "{name}"
topic = "shop/{{device}}/{name}"
event_id = "id"
event_time = "time"
event_time_unit = "ms"
subject = "user"
lateness_s = 600.0
"""
FIELD = """
[[source.field]]
name = "{name}"
path = "{path}"
type = "{kind}"
category = "user.behavior"
purposes = ["recommend"]
"""
PLACEMENT = """
[[placement]]
name = "{name}"
trigger = {{ kind = "event", source = "{source}" }}
purposes = ["recommend"]
candidate = [{{ item = "bread" }}, {{ item = "milk" }}]
policy = {{ kind = "thompson" }}
channel = "{channel}"
reward = [{{ outcome = "click", value = 1.0 }}, {{ outcome = "dismiss", value = 0.0 }}]
"""
TILL = (
    SOURCE.format(name="till")
    + FIELD.format(name="bought", path="item", kind="text")
    + FIELD.format(name="amount", path="amount", kind="number")
)
SCREEN = (
    SOURCE.format(name="screen")
    + FIELD.format(name="phase", path="phase", kind="text")
    + FIELD.format(name="shown", path="decision", kind="text")
)
PLACES = (
    SOURCE.format(name="kiosk")
    + FIELD.format(name="mood", path="mood", kind="text")
    + SOURCE.format(name="app")
    + FIELD.format(name="page", path="page", kind="text")
    + PLACEMENT.format(name="front", source="kiosk", channel="display")
    + PLACEMENT.format(name="feed", source="app", channel="app")
)
VIEW = """
[[view]]
source = "screen"
placements = ["front", "feed"]
start = "fields.phase == 'start'"
end = "fields.phase == 'end'"
decision = "shown"
"""


def outcome(attribution: str = "last-touch", more: str = "", credit: str = "window_s = 3600.0") -> str:
    """A purchase that both placements may be credited with."""
    entries = ", ".join(f'{{ placement = "{name}", {credit} }}' for name in ("front", "feed"))
    model = attribution if attribution.startswith("{") else f'{{ kind = "{attribution}" }}'
    return f"""
[[outcome]]
name = "purchase"
source = "till"
value_field = "amount"
value_max = 50.0
purposes = ["recommend"]
credit = [{entries}]
attribution = {model}
{more}
"""


def metric(name: str, measure: str, upper: float = 1.0, placements: str = '"front", "feed"') -> str:
    """A metric of both placements."""
    return f"""
[[metric]]
name = "{name}"
placements = [{placements}]
purposes = ["recommend"]
measure = {measure}
upper = {upper}
"""


class Household(People):
    """Who is who, as a test says."""

    def __init__(self, **names: str) -> None:
        self._names = names

    def person(self, subject: str, now_ms: int) -> str:
        del now_ms
        return self._names.get(subject, subject)

    def subjects(self, person: str, now_ms: int) -> tuple[str, ...]:
        del now_ms
        return (person, *sorted(s for s, p in self._names.items() if p == person and s != person))


class Shop(House):
    """A house that sells."""

    def __init__(
        self,
        *parts: str,
        record: bool = False,
        people: People | None = None,
        experiment: str = "",
        shop: str = SHOP,
        models: tuple[str, ...] = (),
    ) -> None:
        self.people = people
        feed = PLACEMENT.format(name="feed", source="app", channel="app")
        places = PLACES.replace(feed, experiment + feed)
        self.text = shop + places + TILL + SCREEN + "".join(parts)
        super().__init__(self.text, models=models, record=record)
        self.number = 0

    def _new(self):  # type: ignore[no-untyped-def]
        agent = super()._new()
        if self.people is not None:
            agent.people = self.people
        return agent

    def agree(self, *subjects: str) -> "Shop":
        for subject in subjects:
            self.consent(subject, "recommend")
        return self

    def event(self, source: str, subject: str, at_ms: int | None = None, **fields: object) -> str:
        """One event, now unless `at_ms` says otherwise; returns the id of the decision that it caused, if any."""
        self.number += 1
        at = self.now if at_ms is None else at_ms
        before = len(self.decisions())
        word = {"id": f"{source}-{self.number}", "user": subject, "time": at, "mood": "calm", "page": "home", **fields}
        self.last = self.message(f"shop/{DEVICE}/{source}", word)
        self.tell(self.last)
        made = self.decisions()[before:]
        return made[0].id if made else ""

    def buys(self, subject: str, amount: float = 25.0, at_ms: int | None = None, item: str = "bread") -> None:
        self.event("till", subject, at_ms, amount=amount, item=item)

    def answer(self, decision: str, word: str = "click") -> None:
        self.tell(
            self.message(
                Topics(DEVICE).of("feedback"), msgspec.to_builtins(Feedback(decision_id=decision, outcome=word))
            )
        )

    def pass_time(self, ms: int, *, step_ms: int = HOUR_MS) -> None:
        """Time passes, with ticks on the way."""
        end = self.now + ms
        while self.now < end:
            self.now = min(end, self.now + step_ms)
            self.tell(Tick())

    def earned(self, metric: str = "") -> list[Earned]:
        """What was kept beside decisions, in order."""
        rows = [a for a in self.effects if isinstance(a, Append) and a.shelf == "outcome"]
        kept = [earned.unpack(self.shelves[row.shelf, row.id].value) for row in rows]
        return [one for one in kept if not metric or one.metric == metric]

    def credits(self) -> list[tuple[str, float]]:
        """(decision, share) of every credit, in order."""
        return [(one.decision, one.credit) for one in self.earned() if one.by]

    def sums(self, name: str) -> Sums:
        """A metric's sums as they are committed."""
        return msgspec.msgpack.decode(self.rows["metric", name][0], type=Sums)

    def cell(self, name: str) -> Cell:
        """All groups of a metric together."""
        return added(self.sums(name).cells.values())

    def measured(self) -> list[Measured]:
        """What was told of metrics."""
        return [msgspec.msgpack.decode(s.payload, type=Measured) for s in self.sent if s.topic.endswith("/metric")]

    def paths(self) -> dict[tuple[str, ...], tuple[int, int]]:
        """Path → (conversions, nulls), as last told."""
        (told,) = self.measured()[-1].paths
        assert isinstance(told, PathTotals)
        return {count.path: (count.conversions, count.nulls) for count in told.paths}


def added(cells: Iterable[Cell]) -> Cell:
    """Sums of several groups."""
    whole = Cell()
    for cell in cells:
        whole.n += cell.n
        whole.total += cell.total
        whole.squares += cell.squares
        for mine, theirs in ((whole.buckets, cell.buckets), (whole.censored, cell.censored)):
            for at, count in theirs.items():
                mine[at] = mine.get(at, 0) + count
    return whole
