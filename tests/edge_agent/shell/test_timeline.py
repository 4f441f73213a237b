"""Deletion never believes a leap of the clock; deciding follows it at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.limits import DAY_MS
from edge_agent.shell.timeline import CONFIRM_MS, JUMP_MS, LEAP_MS, Timeline, Times

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * DAY_MS


class Device:
    """A wall clock that is set at will, and a monotonic one."""

    def __init__(self, wall_ms: int, stored: bytes | None = None) -> None:
        self.wall_ms, self.monotonic_s = wall_ms, 5.0
        self.line = Timeline(lambda: self.wall_ms, lambda: self.monotonic_s, stored)

    def after(self, ms: int, jump_ms: int = 0) -> Times:
        """Time passes, and the wall clock is moved besides."""
        self.monotonic_s += ms / 1_000
        self.wall_ms += ms + jump_ms
        return self.line.read()

    def reboot(self, wall_ms: int) -> "Device":
        return Device(wall_ms, self.line.pack())


def test_a_clock_that_runs_well_is_both_times() -> None:
    device = Device(NOW)
    for _ in range(100):
        assert device.after(HOUR_MS) == (device.wall_ms, device.wall_ms, 0)


def test_a_leap_to_2040_deletes_nothing_before_it_has_stood_for_a_day() -> None:
    device = Device(NOW)
    leap = device.after(1_000, 14 * YEAR_MS)
    assert leap == (NOW + 1_000 + 14 * YEAR_MS, NOW + 1_000, 14 * YEAR_MS)
    assert device.line.held
    back = device.after(HOUR_MS, -14 * YEAR_MS)
    assert back == (NOW + HOUR_MS + 1_000, NOW + HOUR_MS + 1_000, -14 * YEAR_MS)
    assert not device.line.held


def test_a_leap_that_stands_is_believed_after_a_day_of_running() -> None:
    device = Device(NOW)
    device.after(0, YEAR_MS)
    assert device.after(CONFIRM_MS - 1).settled_ms < NOW + LEAP_MS
    assert device.after(1).settled_ms == device.wall_ms
    assert not device.line.held


def test_a_device_that_runs_ten_hours_a_day_catches_up() -> None:
    device = Device(NOW)
    for day in range(1, 30):
        device.after(10 * HOUR_MS)
        device = device.reboot(NOW + day * DAY_MS + 3 * DAY_MS)
    settled = device.after(0).settled_ms
    assert 0 <= device.wall_ms - settled < 6 * DAY_MS


def test_a_device_without_a_battery_starts_at_1970_and_keeps_what_it_has() -> None:
    device = Device(NOW)
    device.after(HOUR_MS)
    device = device.reboot(3_000)
    assert device.line.read() == (NOW + HOUR_MS, NOW + HOUR_MS, 0)
    assert device.line.now_ms() == NOW + HOUR_MS
    stepped = device.after(2_000, NOW + 5 * HOUR_MS - device.wall_ms)
    assert stepped.now_ms == device.wall_ms == NOW + 5 * HOUR_MS + 2_000
    assert stepped.settled_ms == stepped.now_ms
    assert stepped.jump_ms > YEAR_MS


def test_a_first_start_at_1970_deletes_nothing_when_the_clock_is_set() -> None:
    device = Device(3_000)
    stepped = device.after(60_000, NOW)
    assert stepped.now_ms == NOW + 63_000
    assert stepped.settled_ms == 63_000


def test_small_steps_are_followed_and_only_larger_ones_told() -> None:
    device = Device(NOW)
    assert device.after(1_000, JUMP_MS).jump_ms == 0
    assert device.after(1_000, JUMP_MS + 1).jump_ms == JUMP_MS + 1
    assert device.after(1_000, -JUMP_MS - 1) == (device.wall_ms, device.wall_ms, -JUMP_MS - 1)


JUMPS = st.sampled_from([0, 0, 0, 60_000, -60_000, -2 * HOUR_MS, 30 * YEAR_MS, -30 * YEAR_MS])
STEPS = st.lists(st.tuples(st.integers(0, 2 * DAY_MS), JUMPS), max_size=40)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_deletion_time_never_runs_ahead_of_the_clock_nor_leaps_before_it_is_confirmed(
    steps: list[tuple[int, int]],
) -> None:
    device, before, confirmed = Device(NOW + 40 * YEAR_MS), NOW + 40 * YEAR_MS, 0
    for passed, jump in steps:
        held = device.line.held
        times = device.after(passed, jump)
        confirmed = confirmed + passed if held else passed
        assert times.settled_ms <= times.now_ms
        if confirmed < CONFIRM_MS:
            assert times.settled_ms <= before + passed + LEAP_MS
        before = times.settled_ms
