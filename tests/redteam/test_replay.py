"""Old wishes begin nothing; a budget ends averaging; without either the attack wins."""

from tests.redteam.replay import DECLARED, OLD, UNBOUNDED, averaged, wishes


def test_wishes_that_a_broker_kept_begin_no_round_and_new_revisions_do() -> None:
    assert wishes(revised=False) == 0
    assert wishes(revised=True) == OLD, "the control: the coordinator itself can ask for as many as it likes"


def test_a_budget_of_the_devices_own_noise_ends_averaging() -> None:
    held, free = averaged(DECLARED, 0), averaged(UNBOUNDED, 0)
    assert 1 <= held.answered < 20
    assert free.answered == free.asked
    assert held.cosine < 0.75
    assert free.cosine > 0.9, "the control: without a budget the noise is averaged away"
