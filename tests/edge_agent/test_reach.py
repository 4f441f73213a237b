"""Channels: one choice a theme, caps, quiet hours, do not disturb, waiting, retraction; and what survives a restart."""

import msgspec
import pytest

from edge_agent.decide import decision, moment
from edge_agent.decide.decision import Trail
from edge_agent.people import People
from tests.edge_agent.house import DEVICE
from tests.edge_agent.reach_house import DAY, HOUR, MINUTE, PLACEMENTS, ReachHouse

NOON = 1_800_000_000_000 // DAY * DAY + 12 * HOUR


def house(
    delivery: str = 'channels = ["phone"]',
    *channels: str,
    source: str = "touch",
    expiry_s: float = 3_600.0,
    more: str = "",
    record: bool = False,
) -> ReachHouse:
    """A house with one placement that is delivered as said."""
    tables = "".join(f"[[channel]]\n{one}\n" for one in channels or ('name = "phone"\nkind = "in-app"',))
    text = f"""
{more}
{tables}
[[placement]]
name = "offer"
trigger = {{ kind = "event", source = "{source}" }}
purposes = ["personalise"]
expiry_s = {expiry_s}
candidate = [{{ item = "soup", score = "0.9" }}, {{ item = "rice", score = "0.8" }}]
[placement.delivery]
{delivery}
"""
    made = ReachHouse(text, record=record)
    made.now = NOON
    return made


def trail(home: ReachHouse, number: int = -1) -> Trail:
    """A kept decision's trail; the newest."""
    kept = [one.value for one in home.shelves.values() if one.shelf == "decision"]
    return decision.unpack(kept[number])


PHONE = 'name = "phone"\nkind = "in-app"\n'
MAIL = 'name = "mail"\nkind = "email"\nadapter = "smtp"\n'
PUSH = 'name = "alert"\nkind = "push"\nadapter = "http"\n'
PANEL = 'name = "panel"\nkind = "display"\naudience = "shared"\nretain = true\ntopic = "home/{device}/panel"\n'
SAYS = 'title = "Dinner"\ntext = "How about {item}?"\n'


# ---- one choice ----------------------------------------------------------------------------------------------


def test_what_the_app_says_is_what_the_kiosk_says() -> None:
    home = ReachHouse()
    (app,) = home.say("touch", "ann", item="x")
    (kiosk,) = home.say("stand", "ann", near=True)  # it would have chosen rice
    assert app.items == kiosk.items == ("soup",)
    assert kiosk.id != app.id
    assert kiosk.propensity == 1.0
    assert trail(home).reach.standing == app.id  # type: ignore[union-attr]


def test_a_choice_stands_for_its_person_and_its_time_only() -> None:
    home = ReachHouse()
    home.say("touch", "ann", item="x")
    (other,) = home.say("stand", "bea", near=True)
    assert other.items == ("rice",)
    home.wait(HOUR + MINUTE)
    (later,) = home.say("stand", "ann", near=True)
    assert later.items == ("rice",)


def test_what_was_said_on_a_channel_is_not_said_there_again_while_it_stands() -> None:
    home = ReachHouse()
    assert len(home.say("touch", "ann", item="x")) == 1
    assert home.say("touch", "ann", item="x") == []
    assert home.agent.counters["suppressed.standing"] == 1


def test_a_placement_that_may_not_make_the_standing_choice_says_nothing() -> None:
    rule = """[{ name = "no-soup", when = "item == 'soup'", effect = "deny", reason = "It is out." }]"""
    denied = PLACEMENTS.replace('name = "kiosk"', f'name = "kiosk"\nrule = {rule}')
    home = ReachHouse(denied)
    home.say("touch", "ann", item="x")
    assert home.say("stand", "ann", near=True) == []
    other = PLACEMENTS.replace('[{ item = "soup", score = "0.1" }, ', '[{ item = "bread", score = "0.1" }, ')
    home = ReachHouse(other)
    home.say("touch", "ann", item="x")
    assert home.say("stand", "ann", near=True) == []


def test_the_standing_choice_survives_a_restart() -> None:
    home = ReachHouse()
    home.say("touch", "ann", item="x")
    home.restart()
    (kiosk,) = home.say("stand", "ann", near=True)
    assert kiosk.items == ("soup",)


def test_a_more_important_choice_displaces_the_standing_one_and_takes_it_back() -> None:
    home = ReachHouse(PLACEMENTS.replace('channels = ["panel"]', 'channels = ["panel"]\nimportance = "high"'))
    (app,) = home.say("touch", "ann", item="x")
    back, kiosk = home.say("stand", "ann", near=True)
    assert (back.id, back.items, back.channel) == (app.id, (), "phone")
    assert "more important" in back.retracted
    assert kiosk.items == ("rice",)
    assert trail(home).reach.displaced == app.id  # type: ignore[union-attr]


def test_a_request_is_answered_with_the_standing_choice() -> None:
    asked = PLACEMENTS.replace('trigger = { kind = "event", source = "stand" }', 'trigger = { kind = "request" }')
    home = ReachHouse(asked)
    home.say("touch", "ann", item="x")
    for _ in range(2):  # an answer is wanted each time, though the panel has carried it already
        message = home.message(
            f"edgeward/1/{DEVICE}/request/kiosk", {"subject": "ann", "correlation": "c", "reply_to": "reply/1"}
        )
        home.tell(message)
    answers = [sent for sent in home.sent if sent.topic == "reply/1"]
    assert [msgspec.json.decode(one.payload)["items"] for one in answers] == [["soup"]] * 2


def test_a_request_may_ask_for_some_of_the_declared_candidates() -> None:
    asked = PLACEMENTS.replace('trigger = { kind = "event", source = "stand" }', 'trigger = { kind = "request" }')
    home = ReachHouse(asked)
    for items in (["soup"], ["rice", "stew"], ["stew"]):
        topic = f"edgeward/1/{DEVICE}/request/kiosk"
        home.tell(home.message(topic, {"subject": f"p{items}", "items": items, "reply_to": "reply/1"}))
        home.consent(f"p{items}", "personalise")
        home.tell(home.message(topic, {"subject": f"p{items}", "items": items, "reply_to": "reply/1"}))
    answers = [msgspec.json.decode(sent.payload)["items"] for sent in home.sent if sent.topic == "reply/1"]
    assert answers == [["soup"], ["rice"], ["stew"]]


def test_after_a_restart_the_newest_choice_stands_in_whatever_order_rows_come_back() -> None:
    for n in range(12):
        home = house('channels = ["phone"]\nstands_s = 60', expiry_s=60)
        home.numbers = n * 100  # other ids, other orders
        home.say("touch", "ann", item="x")
        home.now += 61_000  # it is over, and no tick has seen it yet
        home.say("touch", "ann", item="x")
        home.restart()
        assert home.say("touch", "ann", item="x") == []
        assert home.agent.counters["suppressed.standing"] == 1


# ---- which channel -------------------------------------------------------------------------------------------


def test_the_highest_priority_then_the_cheapest_open_channel_carries_it() -> None:
    home = house(
        'channels = ["a", "b", "c"]',
        'name = "a"\nkind = "web"\ncost = 0.2',
        'name = "b"\nkind = "web"\ncost = 0.1',
        'name = "c"\nkind = "web"\npriority = 80\nquiet_hours = { start = 11, end = 13 }',
    )
    (word,) = home.say("touch", "ann", item="x")
    assert word.channel == "b"
    said = {one.channel: one.said for one in trail(home).reach.considered}  # type: ignore[union-attr]
    assert said == {"c": "shut", "b": "carries", "a": "spare"}


def test_spread_over_all_channels_the_choice_is_one() -> None:
    home = house('channels = ["a", "b"]\nspread = "all"', 'name = "a"\nkind = "web"', 'name = "b"\nkind = "voice"')
    words = home.say("touch", "ann", item="x")
    assert [(word.id, word.items) for word in words] == [(words[0].id, ("soup",))] * 2
    assert [word.channel for word in words] == ["a", "b"]
    assert trail(home).channel == "a+b"


@pytest.mark.parametrize("restarted", [False, True])
def test_an_exclusive_channel_shows_the_more_important_message(restarted: bool) -> None:
    text = f"""
[[channel]]
{PANEL}
exclusive = true
""" + "".join(
        f"""
[[placement]]
name = "{name}"
trigger = {{ kind = "event", source = "{source}" }}
purposes = ["personalise"]
expiry_s = 600
candidate = [{{ item = "{name}" }}]
[placement.delivery]
channels = ["panel"]
audience = "shared"
importance = "{importance}"
"""
        for name, source, importance in (("small", "touch", "low"), ("big", "stand", "high"))
    )
    home = ReachHouse(text)
    (small,) = home.say("touch", "ann", item="x")
    if restarted:
        home.restart()
    back, big = home.say("stand", "ann", near=True)
    assert (back.id, back.retracted != "") == (small.id, True)
    assert big.items == ("big",)
    assert home.say("touch", "bea", item="x") == []  # it waits
    assert "more important" in trail(home).reach.considered[0].reason  # type: ignore[union-attr]


# ---- caps ----------------------------------------------------------------------------------------------------


def test_a_capped_message_waits_until_the_window_has_slid() -> None:
    home = house(
        "channels = ['phone']\nstands_s = 60", expiry_s=7_200, more="[contact]\ncap = [{ count = 1, per_s = 3600 }]"
    )
    assert len(home.say("touch", "ann", item="x")) == 1
    home.wait(2 * MINUTE)
    assert home.say("touch", "ann", item="x") == []


def test_caps_of_a_shared_channel_count_everybody() -> None:
    home = house('channels = ["panel"]\naudience = "shared"', PANEL + "cap = [{ count = 1, per_s = 600 }]", expiry_s=60)
    assert len(home.say("touch", "ann", item="x")) == 1
    assert home.say("touch", "bea", item="x") == []


def test_two_subjects_of_one_person_share_a_cap() -> None:
    home = house(more="[contact]\ncap = [{ count = 1, per_s = 86400 }]", expiry_s=60)
    home.say("touch", "ann", item="x")
    home.wait(5 * MINUTE)

    class Linked(People):
        def person(self, subject: str, now_ms: int) -> str:
            return "bea" if subject == "ann" else super().person(subject, now_ms)

        def subjects(self, person: str, now_ms: int) -> tuple[str, ...]:
            return ("ann", "bea") if person == "bea" else super().subjects(person, now_ms)

    home.agent.people = Linked()
    assert home.say("touch", "bea", item="x") == []


def test_two_logins_of_one_person_share_a_cap_and_a_choice() -> None:
    text = PLACEMENTS.replace('channels = ["panel"]', 'channels = ["panel"]\nimportance = "high"')
    linked = """
[identity]
purposes = ["personalise"]
link = [{ name = "account", kind = "login", field = "item" }]
[contact]
cap = [{ count = 2, per_s = 86400 }]
"""
    apart, one = ReachHouse(text), ReachHouse(linked + text)
    for home, kiosk in ((apart, "rice"), (one, "rice")):
        home.say("touch", "ann", item="account-1")
        home.wait(MINUTE)
        said = home.say("touch", "bea", item="account-1")
        assert len(said) == (1 if home is apart else 0)  # it stands for the person already
        words = home.say("stand", "bea", near=True)
        assert words[-1].items == (kiosk,)
        assert [word.subject for word in words if not word.items] == (["bea"] if home is apart else ["ann"])


def test_a_local_day_is_a_day_by_the_zone_of_then_and_of_now() -> None:
    home = house(more="[contact]\ncap = [{ count = 1, local_day = true }]", expiry_s=60)
    home.zone = "Asia/Tokyo"
    home.now = NOON + 8 * HOUR  # 5 in the morning there, 8 in the evening in London
    assert len(home.say("touch", "ann", item="x")) == 1
    home.now += HOUR
    home.zone = "Europe/London"
    assert home.say("touch", "ann", item="x") == []  # the same day by London's clock, though Tokyo's is one ahead
    home.now += 4 * HOUR  # a new day in London, and the one on which it was sent by Tokyo's clock
    assert home.say("touch", "ann", item="x") == []
    home.now += 24 * HOUR
    assert len(home.say("touch", "ann", item="x")) == 1


# ---- when not ------------------------------------------------------------------------------------------------


def test_quiet_hours_end_by_local_clocks_also_when_summer_time_begins() -> None:
    home = house(
        'channels = ["phone"]', PHONE + "quiet_hours = { start = 22, end = 7 }", expiry_s=40_000, source="touch"
    )
    home.zone = "Europe/Paris"
    home.now = 1_774_738_800_000  # 2026-03-28 23:00 UTC: midnight in Paris; the clocks go forward at 2
    assert home.say("touch", "ann", item="x") == []
    assert home.wait(6 * HOUR - MINUTE, step=10 * MINUTE) == []
    (word,) = home.wait(MINUTE)  # 7:00 in Paris is 5:00 UTC, an hour sooner than without summer time
    assert word.items == ("soup",)
    assert home.now == 1_774_738_800_000 + 6 * HOUR


def test_quiet_hours_are_those_of_the_persons_zone() -> None:
    home = house(
        'channels = ["phone"]',
        PHONE + "quiet_hours = { start = 22, end = 7 }",
        more='[contact]\nzone_field = "zone"',
    )
    assert len(home.say("touch", "ann", item="x", zone="Europe/London")) == 1
    assert home.say("touch", "bea", item="x", zone="Pacific/Auckland") == []


@pytest.mark.parametrize("passes", ['["quiet-hours"]', '["do-not-disturb"]', "[]"])
def test_a_critical_message_breaks_into_quiet_hours_only_where_the_profile_says_so(passes: str) -> None:
    home = house(
        'channels = ["phone"]\nimportance = "critical"',
        PHONE + "quiet_hours = { start = 11, end = 14 }",
        more=f"[contact]\ncritical_passes = {passes}",
    )
    assert len(home.say("touch", "ann", item="x")) == (1 if "quiet" in passes else 0)


DISTURB = PHONE + 'do_not_disturb = [{ when = "fields.meeting", fresh_s = 600, reason = "a meeting", unknown = "%s" }]'


def test_nobody_is_disturbed_in_a_meeting_and_the_message_comes_after_it() -> None:
    home = house('channels = ["phone"]', DISTURB % "hold")
    home.say("room", meeting=True)
    assert home.say("touch", "ann", item="x") == []
    assert "a meeting" in trail(home).reach.considered[0].reason  # type: ignore[union-attr]
    home.restart()
    home.wait(MINUTE)
    home.say("room", meeting=False)
    (word,) = home.wait(15_000, step=1_000)
    assert word.items == ("soup",)


@pytest.mark.parametrize(("unknown", "said"), [("hold", 0), ("speak", 1)])
def test_a_sensor_that_has_fallen_silent_is_not_believed(unknown: str, said: int) -> None:
    home = house('channels = ["phone"]', DISTURB % unknown, expiry_s=30)
    assert len(home.say("touch", "ann", item="x")) == said
    home.say("room", meeting=False)
    home.wait(11 * MINUTE)
    assert len(home.say("touch", "bea", item="x")) == said


def test_a_message_that_cannot_be_delivered_in_time_is_given_up() -> None:
    home = house('channels = ["phone"]', DISTURB % "hold", expiry_s=120)
    home.say("room", meeting=True)
    home.say("touch", "ann", item="x")
    home.wait(3 * MINUTE, step=1_000)
    home.say("room", meeting=False)
    assert home.wait(MINUTE, step=1_000) == []
    assert home.agent.counters["expired.waiting"] == 1
    assert home.rows_of("delivery") == 0
    assert "expired" in home.notes(trail(home).id)[-1][1]


def test_what_waits_goes_by_importance() -> None:
    text = f"[[channel]]\n{DISTURB % 'hold'}\n" + "".join(
        f"""
[[placement]]
name = "{name}"
trigger = {{ kind = "event", source = "touch" }}
purposes = ["personalise"]
expiry_s = 600
candidate = [{{ item = "{name}" }}]
[placement.delivery]
channels = ["phone"]
importance = "{importance}"
"""
        for name, importance in (("one", "low"), ("two", "high"), ("three", "normal"))
    )
    home = ReachHouse(text + "[contact]\ncap = [{ count = 2, per_s = 3600 }]\n")
    home.say("room", meeting=True)
    assert home.say("touch", "ann", item="x") == []
    home.say("room", meeting=False)
    assert [word.placement for word in home.wait(12_000, step=1_000)] == ["two", "three"]


def test_more_than_can_wait_costs_the_least_important_ones() -> None:
    home = house('channels = ["phone"]', DISTURB % "hold")
    home.say("room", meeting=True)
    for n in range(1_040):
        home.agent.consents.hear(f"p{n}", {"personalise": True}, 1, home.now)
        home.say("touch", f"p{n}", item="x")
    assert 1_000 <= home.rows_of("delivery") <= 1_024
    assert home.agent.counters["dropped.crowded"] == 1_040 - home.rows_of("delivery")


# ---- taking back ---------------------------------------------------------------------------------------------

REASON = 'holds = "!has(fields.open_window) || fields.open_window"\n'


def test_a_message_that_lost_its_reason_is_taken_back_on_its_topic_and_the_display_is_cleared() -> None:
    home = house(f'channels = ["panel"]\naudience = "shared"\n{REASON}', PANEL)
    home.say("room", open_window=True)
    (word,) = home.say("touch", "ann", item="x")
    home.restart()
    (back,) = home.say("room", open_window=False)
    assert (back.id, back.items, back.channel) == (word.id, (), "panel")
    retraction, cleared = home.sent[-2:]
    assert retraction.topic == cleared.topic == f"home/{DEVICE}/panel"
    assert (retraction.retain, cleared.retain, cleared.payload) == (False, True, b"")
    assert home.rows_of("delivery") == 0
    assert home.wait(2 * HOUR, step=MINUTE) == []


def test_a_message_that_waits_and_loses_its_reason_is_never_delivered() -> None:
    home = house(f'channels = ["phone"]\n{REASON}', DISTURB % "hold")
    home.say("room", meeting=True, open_window=True)
    home.say("touch", "ann", item="x")
    assert home.say("room", meeting=False, open_window=False) == []
    assert home.wait(HOUR, step=MINUTE) == []
    assert home.agent.counters["dropped.waiting"] == 1


def test_nothing_is_decided_without_its_reason() -> None:
    home = house(f'channels = ["phone"]\n{REASON}')
    home.say("room", open_window=False)
    assert home.say("touch", "ann", item="x") == []
    assert home.agent.counters["suppressed.reason"] == 1
    assert "decisions" not in home.agent.counters


def test_repeats_are_taken_back_with_the_choice_that_they_repeat() -> None:
    home = ReachHouse(PLACEMENTS.replace('channels = ["phone"]', f'channels = ["phone"]\n{REASON}'))
    home.say("touch", "ann", item="x")
    home.say("stand", "ann", near=True)
    backs = home.say("room", open_window=False)
    assert [(back.channel, back.items) for back in backs] == [("phone", ()), ("panel", ())]


def test_withdrawn_consent_takes_back_what_was_said_and_drops_what_waits() -> None:
    home = house('channels = ["phone"]', DISTURB % "speak")
    (word,) = home.say("touch", "ann", item="x")
    home.say("room", meeting=True)
    assert home.say("touch", "bea", item="x") == []
    for person in ("ann", "bea"):
        home.now += 1
        home.consent(person, "personalise", granted=False)
    assert [(back.id, back.items) for back in home.words()[-1:]] == [(word.id, ())]
    home.say("room", meeting=False)
    assert home.wait(HOUR, step=MINUTE) == []


# ---- moments -------------------------------------------------------------------------------------------------


def test_the_best_moment_pays_for_its_waiting() -> None:
    assert moment.best([0.1, 0.5, 0.9], 3_600, 0.05) == 2
    assert moment.best([0.5, 0.52, 0.5], 3_600, 0.05) == 0
    assert moment.best([0.5, 0.5], 3_600, 0.0) == 0
    assert moment.best([float("nan"), 0.1], 3_600, 0.0) == 1
    assert moment.best([float("nan")], 3_600, 0.0) == 0


# ---- what teaches ---


@pytest.mark.parametrize(("meeting", "losses"), [(True, 0), (False, 1)])
def test_silence_about_what_nobody_saw_teaches_nothing(meeting: bool, losses: int) -> None:
    text = f"""
[[channel]]
{DISTURB % "hold"}
[[placement]]
name = "offer"
trigger = {{ kind = "event", source = "touch" }}
purposes = ["personalise"]
expiry_s = 60
policy = {{ kind = "thompson" }}
reward_window_s = 600
no_outcome = 0.0
reward = [{{ outcome = "click", value = 1.0 }}]
candidate = [{{ item = "soup" }}]
[placement.delivery]
channels = ["phone"]
"""
    home = ReachHouse(text)
    home.say("room", meeting=meeting)
    home.say("touch", "ann", item="x")
    home.wait(20 * MINUTE, step=10_000)
    assert home.agent.counters.get("feedback.none", 0) == losses


# ---- the trail -----------------------------------------------------------------------------------------------


def test_a_profile_without_deliveries_loads_none_of_it() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from tests.edge_agent.house import House; House(models=()); "
        "print([m for m in sys.modules if m in {'edge_agent.reaching', 'edge_agent.letters', 'edge_agent.openings'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
