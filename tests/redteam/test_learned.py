"""Items, traits and members from what is shared: the attacks win without a defence, and lose with it."""

import numpy as np
import pytest

from models.federated import Plan
from tests.redteam import items, membership, trait
from tests.redteam.people import People, auc, people


@pytest.fixture(scope="module")
def crowd() -> People:
    return people(0, most=120, made_up=True)


def test_auc_counts_a_tie_as_half() -> None:
    assert auc(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == pytest.approx(0.875)
    assert auc(np.ones(3), np.ones(4)) == pytest.approx(0.5)


def test_one_plain_update_tells_what_was_touched_and_noise_ends_that(crowd: People) -> None:
    target = items.Target(crowd, Plan(dimensions=8), 0, rounds=3)
    chosen = np.arange(20)
    plain = items.leak(crowd, target.single(), chosen, 0)
    assert (plain.by_sign_precision, plain.by_sign_recall) > (0.95, 0.9)
    guess = items.leak(crowd, items.popularity(crowd), chosen, 0)
    noised = items.leak(crowd, target.single(noise=8.0), chosen, 0)
    assert noised.informed_precision < guess.top_precision + 0.05
    summed = items.leak(crowd, target.summed(48), chosen, 0)
    assert guess.top_precision < summed.informed_precision < 0.5 * plain.top_precision


def test_a_trait_shows_in_a_plain_update_and_not_behind_noise(crowd: People) -> None:
    found = trait.attack(crowd, 0)["auc"]
    assert isinstance(found, dict)
    assert found["taste"]["one plain update"] > 0.8
    assert found["taste"]["one update, own noise 8"] < 0.7  # 60 people: a standard error of 0.075


def test_who_was_asked_shows_in_a_rounds_mean_and_not_behind_the_noise_of_a_budget(crowd: People) -> None:
    plan = Plan(dimensions=8, cohort=30, sampling="poisson", participations=3, server_lr=0.03)
    plain = membership.attack_run(crowd, plan, np.inf, 0.0, 60)
    assert plain.asked > 0.75
    private = membership.attack_run(crowd, plan, 0.01, 8.0, 60)
    assert private.asked < 0.6
    assert private.model_population < 0.65
