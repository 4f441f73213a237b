"""A stage of a secret sum ends without those who stay silent, at the cost of neither the sum nor anybody's secret."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coordinator.errors import RoundError, TooFewReports
from coordinator.shell.secret_grid import FAILURE, Secret, Summed, sum_in_secret
from models.secure_sum.graph import plan
from tests.coordinator.answering import in_a_server_app  # noqa: F401 - a fixture
from tests.coordinator.secret_door import ANSWER_S, NEVER_S, Clock, SecretDoor, clock  # noqa: F401 - a fixture
from tests.models.secure_sum.party import STAGES, unmasked

F64 = NDArray[np.float64]
CONTEXT = "run-1:1:0"
SIZE = 24
GRACE_S, DEADLINE_S = 15.0, 60.0
POLLS_S = 5.0
"""Four stages' answers, and the looks that find them."""


def _vectors(members: int) -> dict[int, F64]:
    dice = np.random.default_rng(members)
    return {node: dice.normal(0.0, 0.1, SIZE) for node in range(members)}


def _sum(door: SecretDoor, secret: Secret | None = None, **calls: Any) -> Summed:
    given: dict[str, Any] = {"closing": lambda _count: None, "unmasking": lambda: None, **calls}
    return sum_in_secret(
        door,  # type: ignore[arg-type]
        door.get_node_ids(),
        CONTEXT,
        {},
        {"clip_norm": 2.0},
        secret or Secret(grace_s=GRACE_S),
        size=SIZE,
        minimum=3,
        deadline_s=DEADLINE_S,
        seed=5,
        **given,
    )


def _check_exact(door: SecretDoor, summed: Summed, vectors: Mapping[int, F64]) -> None:
    """The sum is that of the vectors which its members were told are in it."""
    inside = door.asked["reveal"]
    assert summed.members == len(inside)
    ring = door.last["masked"].ring
    assert summed.total == pytest.approx(sum(vectors[node] for node in inside), abs=len(inside) * ring.step)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_ends_a_grace_time_after_the_last_answer_though_some_of_sixty_four_are_silent(
    clock: Clock,  # noqa: F811
    stage: str,
) -> None:
    vectors, silent = _vectors(64), {7, 20, 33, 63}
    door = SecretDoor(clock, vectors, {node: {stage: NEVER_S} for node in silent})
    began = clock.now
    summed = _sum(door)
    assert GRACE_S <= clock.now - began < GRACE_S + POLLS_S
    assert set(door.asked["reveal"]) == set(vectors) - (set() if stage == "reveal" else silent)
    _check_exact(door, summed, vectors)


def test_members_that_fall_silent_one_after_another_cost_a_grace_time_at_each_stage_and_no_deadline(
    clock: Clock,  # noqa: F811
) -> None:
    vectors = _vectors(64)
    silent = {node: STAGES[node % 4] for node in range(16)}
    door = SecretDoor(clock, vectors, {node: {stage: NEVER_S} for node, stage in silent.items()})
    began = clock.now
    summed = _sum(door)
    assert clock.now - began < 4 * GRACE_S + POLLS_S
    assert set(door.asked["reveal"]) == {n for n in vectors if silent.get(n, "reveal") == "reveal"}
    _check_exact(door, summed, vectors)


def test_everybody_who_answers_keeps_a_stage_open_and_nobody_else(clock: Clock) -> None:  # noqa: F811
    """Each answers ten seconds after the one before: none is given up, though the last takes three grace times."""
    vectors = _vectors(5)
    door = SecretDoor(clock, vectors, {node: {"masked": 10.0 * (node + 1)} for node in vectors})
    began = clock.now
    summed = _sum(door)
    assert summed.members == 5
    assert 50.0 <= clock.now - began < 50.0 + POLLS_S


def test_no_grace_time_waits_for_all_until_the_deadline(clock: Clock) -> None:  # noqa: F811
    vectors = _vectors(8)
    door = SecretDoor(clock, vectors, {3: {"masked": NEVER_S}, 5: {"keys": DEADLINE_S - 1.0}})
    began = clock.now
    summed = _sum(door, Secret(grace_s=0.0))
    assert 2 * DEADLINE_S - 1.0 <= clock.now - began < 2 * DEADLINE_S + POLLS_S
    assert summed.members == 7
    _check_exact(door, summed, vectors)


@pytest.mark.parametrize("stage", ["keys", "shares", "masked"])
def test_where_more_are_silent_than_the_sum_was_made_for_they_are_waited_for(clock: Clock, stage: str) -> None:  # noqa: F811
    """Seventeen of sixty-four are missing, a quarter are sixteen: until the deadline one of them may still come."""
    vectors = _vectors(64)
    late = {node: {stage: NEVER_S} for node in range(16)} | {16: {stage: DEADLINE_S - 5.0}}
    door = SecretDoor(clock, vectors, late)
    began = clock.now
    summed = _sum(door)
    assert clock.now - began >= DEADLINE_S - 5.0
    assert summed.members == 48
    assert 16 in door.asked["reveal"]
    _check_exact(door, summed, vectors)


def test_a_sum_that_the_fewest_devices_must_be_in_is_never_closed_early_with_fewer(clock: Clock) -> None:  # noqa: F811
    """Of four one is silent, and the plan would bear it; but four must be in the sum."""
    vectors = _vectors(4)
    door = SecretDoor(clock, vectors, {2: {"shares": NEVER_S}})
    began, unmasking = clock.now, []
    with pytest.raises(TooFewReports, match="3 devices are in the secret sum, 4 are needed"):
        sum_in_secret(
            door,  # type: ignore[arg-type]
            list(vectors),
            CONTEXT,
            {},
            {"clip_norm": 2.0},
            Secret(grace_s=GRACE_S),
            size=SIZE,
            minimum=4,
            deadline_s=DEADLINE_S,
            seed=5,
            closing=lambda _count: None,
            unmasking=lambda: unmasking.append(clock.now),
        )
    assert clock.now - began >= DEADLINE_S
    assert not unmasking


def test_masks_are_waited_for_until_they_come_off_however_long_the_silence(clock: Clock) -> None:  # noqa: F811
    """A share that the sum cannot do without comes long after the others: the last stage does not end before it."""
    vectors = _vectors(5)  # a mask takes 3 of 4 shares
    door = SecretDoor(clock, vectors, {n: {"reveal": DEADLINE_S - 20.0 if n == 0 else NEVER_S} for n in (0, 1)})
    began = clock.now
    summed = _sum(door)
    assert clock.now - began >= DEADLINE_S - 20.0
    assert summed.members == 5
    _check_exact(door, summed, vectors)


@pytest.mark.parametrize("stage", ["keys", "shares", "masked"])
def test_whoever_was_given_up_is_asked_nothing_more_and_its_late_answer_changes_nothing(
    clock: Clock,  # noqa: F811
    stage: str,
) -> None:
    """Its answer comes in the midst of the next stage, and the SuperLink hands it over though nobody waits for it."""
    vectors = _vectors(8)
    late = {stage: GRACE_S + 2.0}
    next_stage = STAGES[STAGES.index(stage) + 1]
    slow = {next_stage: 5.0}  # keeps the next stage open for it
    door = SecretDoor(clock, vectors, {2: late, 6: slow}, loose=True)
    summed = _sum(door)
    assert 2 in door.answers[stage]
    for later in STAGES[STAGES.index(stage) + 1 :]:
        assert 2 not in door.asked[later]
    assert summed.members == 7
    _check_exact(door, summed, vectors)


DELAYS = st.dictionaries(
    st.sampled_from(STAGES), st.sampled_from([ANSWER_S, 6.0, GRACE_S + 1.0, 40.0, NEVER_S]), max_size=2
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.integers(4, 10),
    delays=st.dictionaries(st.integers(0, 9), DELAYS, max_size=5),
    vanish=st.sampled_from([0.25, 0.4]),
    grace_s=st.sampled_from([0.0, 3.0, GRACE_S]),
    loose=st.booleans(),
)
def test_however_stages_end_the_sum_is_exact_or_refused_and_no_vector_can_be_unmasked(
    clock: Clock,  # noqa: F811
    members: int,
    delays: dict[int, dict[str, float]],
    vanish: float,
    grace_s: float,
    loose: bool,
) -> None:
    """The server's machine keeps every answer, also those of members that were given up, and tries them all."""
    vectors = _vectors(members)
    door = SecretDoor(clock, vectors, delays, loose=loose)
    counts: list[int] = []
    began = clock.now
    try:
        summed = _sum(door, Secret(vanish=vanish, grace_s=grace_s), closing=counts.append)
    except RoundError:
        summed = None
    if summed is not None:
        _check_exact(door, summed, vectors)
        assert counts == [summed.members]
        if clock.now - began < DEADLINE_S:
            assert summed.members >= members - int(vanish * members)
    for earlier, later in pairwise(STAGES):
        assert set(door.asked[later]) <= set(door.answers[earlier])
    heard = door.heard()
    for told in heard.revealed.values():
        assert not told.seeds.keys() & told.keys.keys()
    if not heard.masked:
        return
    threshold = plan(members, vanish, 0.0, FAILURE).threshold
    for one in range(members):
        seeds = sum(one in told.seeds for told in heard.revealed.values())
        keys = sum(one in told.keys for told in heard.revealed.values())
        assert min(seeds, keys) < threshold, "both masks of one vector come off"
    assert unmasked(heard, door.last["masked"].ring, threshold, SIZE, CONTEXT) == {}
