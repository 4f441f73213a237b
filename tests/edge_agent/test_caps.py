"""Caps are never exceeded, and nothing that is over is delivered: over restarts, power cuts, zones and channels."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_agent.decide import contact
from edge_agent.decide.contact import Bound, Contact, Now
from edge_agent.happenings import Tick
from firmware_configs.profile import ContactCap
from tests.edge_agent.reach_house import DAY, HOUR, MINUTE, ReachHouse

ZONES = ("UTC", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati", "Europe/Paris", "Pacific/Pago_Pago")
TEXT = """
[contact]
cap = [{ count = 4, per_s = 7200 }, { count = 5, local_day = true }]
high = [{ count = 2, per_s = 3600 }]
zone_field = "zone"

[[theme]]
name = "dinner"
cap = [{ count = 3, per_s = 3600 }]

[[channel]]
name = "phone"
kind = "in-app"
cap = [{ count = 2, per_s = 1800 }]
do_not_disturb = [{ when = "fields.meeting", reason = "a meeting", unknown = "speak" }]

[[channel]]
name = "panel"
kind = "display"
audience = "shared"
exclusive = true
retain = true
topic = "home/{device}/panel"
cap = [{ count = 3, per_s = 1800 }]

[[channel]]
name = "alert"
kind = "push"
adapter = "http"
cap = [{ count = 2, per_s = 3600 }]
quiet_hours = { start = 22, end = 7 }

[[placement]]
name = "offer"
trigger = { kind = "event", source = "touch" }
purposes = ["personalise"]
expiry_s = 3600
cap = [{ count = 3, per_s = 3600 }]
candidate = [{ item = "soup" }, { item = "rice" }]
[placement.delivery]
channels = ["phone", "panel", "alert"]
spread = "all"
theme = "dinner"
audience = "shared"
stands_s = 300
holds = "!has(fields.open_window) || fields.open_window"
text = "{item}"

[[placement]]
name = "kiosk"
trigger = { kind = "event", source = "stand" }
purposes = ["personalise"]
expiry_s = 1800
candidate = [{ item = "soup" }, { item = "rice" }]
[placement.delivery]
channels = ["panel", "phone"]
theme = "dinner"
audience = "shared"
importance = "high"
stands_s = 60
"""


class Sent(NamedTuple):
    """A message that was handed over."""

    at: int
    day: int
    id: str
    placement: str
    person: str
    channel: str


def _caps(one: Sent, other: Sent) -> list[tuple[bool, int, int]]:
    """(whether `other` counts with `one`, count, window in ms) of every cap that is declared above."""
    same = one.person == other.person
    return [
        (same, 4, 2 * HOUR),
        (same and one.placement == other.placement == "kiosk", 2, HOUR),
        (same, 3, HOUR),  # the theme is all there is
        (same and one.placement == other.placement == "offer", 3, HOUR),
        (same and one.channel == other.channel == "phone", 2, HOUR // 2),
        (one.channel == other.channel == "panel", 3, HOUR // 2),
        (same and one.channel == other.channel == "alert", 2, HOUR),
    ]


class Reaching(RuleBasedStateMachine):
    """People touch and stand; the room changes; time, zones and power do what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.home = ReachHouse(TEXT)
        self.sent: list[Sent] = []
        self.over: set[str] = set()
        """Decisions of which nothing more may come."""
        self._seen, self._tried = len(self.home.sent), 0
        self.letters: set[str] = set()
        self.zones = dict.fromkeys(("ann", "bea"), "")

    def _collect(self) -> None:
        """What was handed over since; letters when they are written, for that is when they count."""
        home = self.home
        for word in home.words(self._seen):
            if word.items:
                assert word.id not in self.over, "delivered after it was over"
                self._add(word.id, word.placement, word.subject, word.channel)
        for one in home.tried[self._tried :]:
            if not one.retracts:
                assert one.decision not in self.over, "sent after it was over"
                if one.tries == 1 and one.key not in self.letters:
                    self.letters.add(one.key)
                    self._add(one.decision, one.placement, one.subject, one.channel)
        self._seen, self._tried = len(home.sent), len(home.tried)
        live = {key for room, key in home.rows if room == "delivery"}
        self.over = {key for room, key in home.rows if room == "delivered"} - live

    def _add(self, key: str, placement: str, person: str, channel: str) -> None:
        day = self.home.zoned(self.home.now, self.zones[person])[2]
        self.sent.append(Sent(self.home.now, day, key, placement, person, channel))

    @rule(user=st.sampled_from(["ann", "bea"]), source=st.sampled_from(["touch", "stand"]), power=st.booleans())
    def something_happens(self, user: str, source: str, power: bool) -> None:
        if not power:  # the step is lost, the event comes again
            word = {"id": f"e{self.home.numbers + 1}", "time": self.home.now / 1_000, "user": user, "near": True}
            self.home.tell(self.home.message(f"home/home-1/{source}", {**word, "item": "x"}), commit=False)
            self.home.restart()
        self.home.say(source, user, item="x", near=True)
        self._collect()

    @rule(users=st.lists(st.sampled_from(["ann", "bea"]), min_size=2, max_size=5))
    def much_happens_at_once(self, users: list[str]) -> None:
        """All in one step, by both placements."""
        home = self.home
        messages = []
        for n, user in enumerate(users):
            home.numbers += 1
            word = {"id": f"e{home.numbers}", "time": home.now / 1_000, "user": user, "near": True, "item": "x"}
            messages.append(home.message(f"home/home-1/{('touch', 'stand')[n % 2]}", word))
        home.tell(*messages)
        self._collect()

    @rule(meeting=st.booleans(), window=st.booleans())
    def the_room_changes(self, meeting: bool, window: bool) -> None:
        self.home.say("room", meeting=meeting, open_window=window)
        self._collect()

    @rule(steps=st.integers(1, 6), ms=st.sampled_from([1_000, MINUTE, 7 * MINUTE, HOUR, 5 * HOUR]))
    def time_passes(self, steps: int, ms: int) -> None:
        for _ in range(steps):
            self.home.now += ms
            self.home.tell(Tick())
            self._collect()

    @rule(outcome=st.sampled_from(["sent", "again", "refused"]))
    def the_gateway_answers(self, outcome: str) -> None:
        self.home.answer(outcome)
        self._collect()

    @rule()
    def power_fails(self) -> None:
        self.home.restart()
        self._collect()

    @rule(zone=st.sampled_from(ZONES))
    def the_device_moves(self, zone: str) -> None:
        self.home.zone = zone

    @rule(user=st.sampled_from(["ann", "bea"]), zone=st.sampled_from(ZONES))
    def a_person_travels(self, user: str, zone: str) -> None:
        self.zones[user] = zone
        self.home.say("touch", user, item="x", zone=zone)
        self._collect()

    @invariant()
    def no_window_holds_more_than_its_cap(self) -> None:
        if not self.sent:
            return
        newest = self.sent[-1]
        own = _caps(newest, newest)
        for n, (applies, most, span) in enumerate(own):
            if applies:
                near = [one for one in self.sent if one.at > newest.at - span]
                assert sum(_caps(newest, one)[n][0] for one in near) <= most, (n, newest)

    @invariant()
    def no_local_day_holds_more_than_its_cap(self) -> None:
        for person in ("ann", "bea"):
            mine = [one for one in self.sent if one.person == person]
            for day in {one.day for one in mine}:
                assert sum(one.day == day for one in mine) <= 5

    def teardown(self) -> None:
        assert self.home.rows_of("delivery") <= 20


Reaching.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
TestReaching = Reaching.TestCase


@given(
    st.lists(st.integers(0, 3 * DAY), max_size=40),
    st.integers(1, 5),
    st.sampled_from([60.0, 3_600.0, 86_400.0]),
    st.integers(0, 3 * DAY),
)
def test_a_cap_counts_what_its_window_holds(times: list[int], count: int, per_s: float, now: int) -> None:
    history = [Contact(at, at // DAY, "p", "t", "normal", "c") for at in sorted(times)]
    bound = Bound("it", ContactCap(count=count, per_s=per_s), "", "")
    inside = sum(now - per_s * 1_000 < at <= now + 300_000 for at in times)
    assert bool(contact.broken(history, [bound], Now(now, now // DAY, lambda ms: ms // DAY))) == (inside >= count)


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=1_200))
def test_a_history_that_is_full_lets_nobody_through(placements: list[str]) -> None:
    bound = Bound("a", ContactCap(count=1, per_s=2_000.0), "placement", "a")
    history: contact.Histories = []
    said = 0
    for at, placement in enumerate(placements):
        now = Now(at * 1_000, 0, lambda _ms: 0)
        if placement == "a" and not contact.broken(history, [bound], now):
            said += 1
        elif placement == "a":
            continue
        history = contact.remember(history, Contact(now.ms, 0, placement, "", "", ""), 2_000_000)
        assert len(history) <= contact.CONTACTS_MAX
    assert said <= 1
