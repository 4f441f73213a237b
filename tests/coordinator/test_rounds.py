"""The round's table: every step that exists, and every one that does not."""

import itertools

import msgspec
import pytest

from coordinator.errors import RoundStateInvalid
from coordinator.rounds import ENDED, NEXT, Course, Round, State, abandon, advance, course

ROW = Round(run="r", number=1)
LIFE: tuple[State, ...] = ("planned", "open", "closing", "aggregated", "accounted", "published")


def test_a_round_lives_from_planned_to_published() -> None:
    row = ROW
    for state in LIFE[1:]:
        row = advance(row, state)
    assert row.state == "published"


@pytest.mark.parametrize(("old", "new"), list(itertools.product(NEXT, NEXT)))
def test_a_round_moves_only_along_the_table(old: State, new: State) -> None:
    row = msgspec.structs.replace(ROW, state=old)
    if new in NEXT[old]:
        assert advance(row, new).state == new
    else:
        with pytest.raises(RoundStateInvalid, match=f"cannot become {new}"):
            advance(row, new)


@pytest.mark.parametrize("state", [s for s in NEXT if s not in ENDED])
def test_every_round_that_has_not_ended_can_be_abandoned_with_a_reason(state: State) -> None:
    row = abandon(msgspec.structs.replace(ROW, state=state, reports=3), "too few")
    assert (row.state, row.reason, row.reports) == ("abandoned", "too few", 3)


def test_the_end_is_the_end() -> None:
    assert all(NEXT[state] == () for state in ENDED)


COURSES: dict[State | None, tuple[Course, Course, Course, Course]] = {
    # reports kept:     no                  yes
    # sum released:     no       yes        no         yes
    None: ("again", "again", "again", "again"),
    "planned": ("again", "lost", "again", "lost"),
    "open": ("again", "lost", "again", "lost"),
    "closing": ("again", "lost", "combine", "combine"),
    "aggregated": ("account", "account", "account", "account"),
    "accounted": ("done", "done", "done", "done"),
    "published": ("done", "done", "done", "done"),
    "abandoned": ("again", "lost", "again", "lost"),
}


@pytest.mark.parametrize("state", COURSES)
def test_a_round_that_was_cut_off_goes_on_as_the_table_says(state: State | None) -> None:
    row = None if state is None else msgspec.structs.replace(ROW, state=state)
    found = [course(row, kept=kept, released=released) for kept in (False, True) for released in (False, True)]
    assert tuple(found) == COURSES[state]


def test_the_table_of_courses_has_every_state() -> None:
    assert set(COURSES) == {None, *NEXT}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("state", NEXT)
def test_no_round_whose_sum_was_seen_is_asked_for_again(state: State, kept: bool) -> None:
    assert course(msgspec.structs.replace(ROW, state=state), kept=kept, released=True) != "again"
