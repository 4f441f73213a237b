"""The round's table: every step that exists, and every one that does not."""

import itertools

import msgspec
import pytest

from coordinator.errors import RoundStateInvalid
from coordinator.rounds import ENDED, NEXT, Round, State, abandon, advance

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
