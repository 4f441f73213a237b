"""When updates and rounds may begin: by the local clock, whatever the clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.effects import Fetch, Switch, Train
from edge_agent.happenings import BundleReady, Connected, Tick
from edge_agent.maintenance import Windows, is_open
from edge_agent.shell.clock import local_times
from firmware_configs.messages import Desired, Reported, RoundOffer, Topics
from firmware_configs.windows import DAYS, Window, read_window, window_fault
from tests.edge_agent.house import DEVICE, HOME, House
from tests.edge_agent.test_wishes import reports

ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC")
MINUTE = 60_000


def at(zone: str, *when: int, fold: int = 0) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1_000)  # type: ignore[arg-type,misc]


def windows(*texts: str) -> Windows:
    return Windows(texts, local_times("Europe/Paris"))


def test_a_window_is_written_as_people_say_it() -> None:
    assert read_window("daily 02:00-05:00") == Window(frozenset(range(7)), 120, 180)
    assert read_window("fri-mon 22:00-06:00") == Window(frozenset({4, 5, 6, 0}), 1_320, 480)
    assert read_window("sat+wed 00:00-00:00") == Window(frozenset({5, 2}), 0, 1_440)


parts = st.sampled_from(
    ["daily", "mon", "fri-mon", "sat+sun", " ", "02:00", "24:00", "7:00", "-", "+", "05:00", "\n", "é"]
)


@given(st.text(max_size=40) | st.lists(parts, max_size=6).map("".join) | st.just("daily 02:00-05:00\n"))
def test_whatever_is_written_is_a_window_or_a_fault(text: str) -> None:
    window = read_window(text)
    assert (window is None) == bool(window_fault([text]))
    if window is not None:
        assert window.days
        assert 0 <= window.start < 1_440
        assert 1 <= window.minutes <= 1_440


@given(
    st.sampled_from(ZONES),
    st.integers(at("UTC", 2026, 1, 1), at("UTC", 2027, 12, 31)),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1_439),
    st.integers(1, 1_440),
)
def test_a_window_lasts_its_minutes_and_opens_once_a_day(
    zone: str, moment: int, days: set[int], start: int, minutes: int
) -> None:
    """Between two noons a window of a chosen day is open for just its length, on days of changing clocks too."""
    local = local_times(zone)
    window = Window(frozenset(days), start, minutes)
    day = (datetime.fromtimestamp(moment / 1_000, UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    begins = local(day, start)
    chosen = (day + 3) % 7 in days
    inside = [begins, begins + minutes * MINUTE - 1]
    if chosen:
        assert all(is_open([window], one, local) for one in inside)
    if days == {(day + 3) % 7}:
        assert not is_open([window], begins - 1, local)
        assert not is_open([window], begins + minutes * MINUTE, local)


def test_clocks_that_jump_over_a_window_do_not_lose_it() -> None:
    """In Paris there is no 02:30 on 29 March 2026: the hour begins at 03:00 summer time."""
    night = windows("daily 02:15-02:45")
    opened = [m for m in range(240) if night.opened(t := at("Europe/Paris", 2026, 3, 29, 0) + m * MINUTE, t)]
    assert len(opened) == 30
    assert opened == list(range(135, 165)), "as long after midnight as on other days"


def test_an_hour_that_comes_twice_opens_a_window_once() -> None:
    night = windows("daily 02:15-02:45")
    opened = [m for m in range(360) if night.opened(t := at("Europe/Paris", 2026, 10, 25, 0) + m * MINUTE, t)]
    assert opened == list(range(135, 165))


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday = windows("fri 23:00-01:00")
    midnight = at("Europe/Paris", 2026, 11, 28, 0, 30)
    assert friday.opened(midnight, midnight), "Saturday, half past midnight"
    later = midnight + 24 * 60 * MINUTE
    assert not friday.opened(later, later)


def test_a_leap_of_the_clock_opens_no_window() -> None:
    night, noon = windows("daily 02:00-05:00"), at("Europe/Paris", 2026, 11, 20, 12)
    leapt = at("Europe/Paris", 2030, 1, 1, 3)
    assert not night.opened(leapt, noon)
    assert night.opened(leapt, leapt), "once the clock has stood by it"


def test_the_coordinator_may_narrow_the_profiles_windows_and_never_widen_them() -> None:
    night = windows("daily 02:00-05:00")
    two, four, ten = (at("Europe/Paris", 2026, 11, 20, hour) for hour in (2, 4, 10))
    night.narrow(["daily 03:30-10:30"])
    assert [night.opened(t, t) for t in (two, four, ten)] == [False, True, False]
    night.narrow([])
    assert [night.opened(t, t) for t in (two, four, ten)] == [True, True, False]


def closed_house(text: str = "daily 02:00-05:00") -> House:
    house = House(HOME.replace("schema = 1", f'schema = 1\nmaintenance = ["{text}"]', 1)).everyone_agrees()
    house.now = at("UTC", 2027, 1, 20, 12)
    return house


def say(house: House, desired: Desired) -> None:
    house.tell(house.message(Topics(DEVICE).of("desired"), msgspec.msgpack.encode(desired)))


def fetched(house: House) -> list[str]:
    return [f"{one.name} {one.version}" for one in house.effects if isinstance(one, Fetch)]


def newest(house: House) -> Reported:
    return reports(house)[-1]


def tick(house: House) -> None:
    house.tell(Tick())


def test_an_update_waits_for_the_window_and_begins_in_it() -> None:
    house = closed_house()
    say(house, Desired(revision=1, bundles={"context": "1.0.1"}, registry="https://r"))
    assert fetched(house) == []
    assert newest(house).bundles["context"].state == "waiting"
    assert newest(house).bundles["context"].serving, "the old one serves meanwhile"
    tick(house)
    assert fetched(house) == []
    house.now = at("UTC", 2027, 1, 21, 2, 0)
    tick(house)
    tick(house)
    assert fetched(house) == ["context 1.0.1"], "once"
    assert newest(house).bundles["context"].state == "fetching"


def test_what_waits_survives_a_restart() -> None:
    house = closed_house()
    say(house, Desired(revision=1, bundles={"context": "1.0.1"}, registry="https://r"))
    house.restart()
    house.tell(Connected(session_present=True))
    assert fetched(house) == []
    house.now = at("UTC", 2027, 1, 21, 4, 59)
    tick(house)
    assert fetched(house) == ["context 1.0.1"]


def test_a_round_is_only_joined_within_the_window() -> None:
    house = closed_house()
    for n in range(3):
        house.tell(house.reading(n))
    version = house.agent.doors.models["context"].version
    offer = RoundOffer(
        run="7", bundle="context", version=version, superlink="h:1", app_hash="0" * 64, closes_ms=house.now + 86_400_000
    )
    say(house, Desired(revision=1, offer=offer))
    assert newest(house).learning == "waiting"
    assert not [one for one in house.effects if isinstance(one, Train)]
    house.now = at("UTC", 2027, 1, 21, 3)
    tick(house)
    assert newest(house).learning != "waiting", "it is judged now, and answered"
    assert newest(house).run == "7"


def test_going_back_does_not_wait() -> None:
    house = closed_house()
    house.tell(BundleReady(name="context", version="1.0.9", base="1.0.5"))
    say(house, Desired(revision=1, bundles={"context": "1.0.6"}, registry="https://r"))
    assert newest(house).bundles["context"].state == "waiting"
    say(house, Desired(revision=2, bundles={"context": "1.0.5"}, registry="https://r"))
    assert [one.version for one in house.effects if isinstance(one, Switch)] == ["1.0.5"], "the one before"


def test_the_days_of_the_language_are_those_of_the_week() -> None:
    monday = datetime(2026, 11, 23, 3, tzinfo=UTC)
    for n, day in enumerate(DAYS):
        moment = int((monday + timedelta(days=n)).timestamp() * 1_000)
        own = [d for d in DAYS if is_open([read_window(f"{d} 02:00-05:00")], moment, local_times("UTC"))]  # type: ignore[list-item]
        assert own == [day]
