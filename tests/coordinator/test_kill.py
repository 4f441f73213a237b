"""Killed in any state of a round, a run is gone on with: nothing is lost, spent twice or published twice."""

from dataclasses import replace

from tests.coordinator.kill import DEVICES, Case, kill_all

CASES = [
    Case("closing", 1, "app", "private"),
    Case("aggregated", 2, "command", "plain"),
    Case("signed", 0, "command", "private"),
    Case("accounted", 1, "ctrl-c", "private"),
]


def test_a_run_that_is_killed_in_the_middle_is_gone_on_with_and_its_books_are_right() -> None:
    books = kill_all([replace(case) for case in CASES], say=False)
    assert books.wrong == []
    assert (books.kills, books.lost, books.double_spent) == (len(CASES), 0, 0)
    assert DEVICES == 3
