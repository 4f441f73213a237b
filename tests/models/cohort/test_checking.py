"""What a check finds: copies are caught, people whom nobody copied are not, and the verdict follows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from models.cohort import checking, membership, usefulness
from models.cohort.fitting import card_of
from models.cohort.generator import Settings
from models.cohort.people import People, people_of
from models.datasets import find, read_ratings
from models.errors import DatasetInvalid
from models.federated_affinity import Shared
from models.zoo.affinity_recent import PLAN
from tests.models.cohort.town import SETTINGS, fitted, town

SMALL = replace(PLAN, dimensions=8, length=5, participations=4, negatives=4)


def test_a_cohort_of_copies_gives_its_members_away() -> None:
    people = town(240)
    members, others, reference = (people.only(part) for part in membership.parted(240, 0))
    copied = membership.attacks(members, others, reference, members, fitted(members))
    assert copied["nearest"] > 0.95
    assert min(copied["density"], copied["order"]) > 0.7
    rest = people.only(np.sort(np.concatenate(membership.parted(240, 0)[1:])))
    near = membership.distance(members, rest, members, 0)
    assert near.copies == len(members.users)
    assert near.closer_to_members > 0.9


def test_people_who_have_nothing_to_do_with_it_give_nobody_away() -> None:
    people = town(400)
    members, others, reference = (people.only(part) for part in membership.parted(400, 0))
    found = membership.attacks(members, others, reference, town(200, seed=9), fitted(town(200, seed=9)))
    assert all(abs(auc - 0.5) < 0.1 for auc in found.values()), found


def test_the_three_groups_part_everybody() -> None:
    parts = membership.parted(101, 3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(101))


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_members_are_the_share_that_was_asked_for_and_the_rest_is_halved(share: float) -> None:
    members, others, reference = membership.parted(1_000, 1, share)
    assert len(members) == 1_000 * share
    assert abs(len(others) - len(reference)) <= 1
    assert sorted(np.concatenate([members, others, reference]).tolist()) == list(range(1_000))


def test_a_larger_cohort_is_attacked_as_a_whole_and_by_more_of_the_nearest() -> None:
    people = town(240)
    members, others, reference = (people.only(part) for part in membership.parted(240, 0))
    larger = members.only([*range(120)] * 3)
    found = membership.attacks(members, others, reference, larger, fitted(members))
    assert set(found) == {"nearest", "density", "wide", "order", "file"}
    assert min(found["nearest"], found["density"], found["wide"]) > 0.7


def test_a_check_draws_as_many_times_the_members_as_it_is_asked_for() -> None:
    people, told = town(160), list[str]()
    card = card_of(people, Path(__file__), SETTINGS, "town")
    report = checking.check(people, card, range(1), told.append, use=False, members=0.7, times=2)
    assert (report.members, report.times) == (0.7, 2)
    assert "a generator of 112 people, a cohort of 224" in "".join(told)
    assert {one.name for one in report.attacks if one.on == "cohort"} == {"nearest", "density", "wide", "order"}


def test_whoever_trains_a_model_on_copies_tells_members_and_on_other_people_nobody() -> None:
    people = town(240)
    members, *others = (people.only(part) for part in membership.parted(240, 0))
    plan = replace(SMALL, participations=40)

    def trained(source: People) -> Shared:
        return usefulness.learned(source.items, len(people.catalogue), 0, plan)

    copied = membership.learned(members, (others[0], others[1]), trained(members), trained)
    alike = membership.learned(members, (others[0], others[1]), trained(town(240, seed=9)), trained)
    assert copied > 0.6
    assert abs(alike - 0.5) < 0.1
    assert copied > alike + 0.1


@pytest.mark.parametrize("folds", [None, 2])
def test_the_attack_by_a_trained_model_counts_where_it_is_asked_for(folds: int | None) -> None:
    people = town(100)
    card = card_of(people, Path(__file__), SETTINGS, "town")
    report = checking.check(people, card, range(1), print, use=False, learned=True, folds=folds, plan=SMALL)
    found = {one.name: one for one in report.attacks}
    assert found["learned"].on == "cohort"
    assert report.membership_auc >= found["learned"].auc.value


@given(people=st.integers(4, 400), count=st.integers(2, 20), seed=st.integers(0, 99))
def test_folds_leave_everybody_out_once_and_fit_on_all_the_rest(people: int, count: int, seed: int) -> None:
    found = membership.folds(people, min(count, people), seed)
    assert sorted(np.concatenate([out for _, out in found]).tolist()) == list(range(people))
    assert all(sorted([*members, *out]) == list(range(people)) for members, out in found)


def test_an_attacker_without_people_of_their_own_has_the_others_but_the_one_who_is_judged() -> None:
    people = town(240)
    members, out = (people.only(part) for part in membership.folds(240, 4)[0])
    copied = membership.attacks(members, out, None, members, fitted(members))
    assert copied["density"] > 0.7
    assert copied["order"] > 0.6
    rest = fitted(town(200, seed=9))
    alike = membership.attacks(members, out, None, town(200, seed=9), rest)
    assert all(abs(auc - 0.5) < 0.12 for auc in alike.values()), "nobody is told by being compared with themselves"


def test_members_and_others_are_judged_by_as_many_people() -> None:
    seen: dict[int, set[int]] = {0: set(), 1: set()}
    people = town(60)
    members, out = people.only(range(47)), people.only(range(47, 60))

    def measure(some: People, source: People) -> np.ndarray:
        assert not set(some.users) & set(source.users)
        seen[some.users[0] in out.users].add(len(source.users))
        return np.array([float(user[1:]) for user in some.users])

    told = membership._known(measure, members, out, None)
    assert seen == {0: {12}, 1: {12}}
    assert [one.tolist() for one in told] == [[float(user[1:]) for user in some.users] for some in (members, out)]


def test_folds_are_told_as_folds() -> None:
    people, told = town(100), list[str]()
    card = card_of(people, Path(__file__), SETTINGS, "town")
    report = checking.check(people, card, range(9), told.append, use=False, folds=4)
    assert (report.folds, report.members, report.seeds) == (4, 0.75, (0, 1, 2, 3))
    assert "fold 3: a generator of 75 people" in "".join(told)
    assert all(len(one.by_seed) == 4 for one in report.attacks)
    with pytest.raises(DatasetInvalid, match="give 200 people"):
        checking.check(people, card, range(1), print, use=False, folds=10)


def test_too_few_who_were_not_fitted_on_are_refused() -> None:
    people = town(100)
    card = card_of(people, Path(__file__), SETTINGS, "town")
    with pytest.raises(DatasetInvalid, match="give 400 people"):
        checking.check(people, card, range(1), print, use=False, members=0.9)


def test_the_shared_part_stays_as_it_was_trained_and_only_people_learn() -> None:
    people, longer = town(80), replace(SMALL, participations=20)
    question = usefulness.question_of(people)
    shared = usefulness.learned(question.histories, len(people.catalogue), 0, longer)
    before = shared.item_embedding.copy()
    hits = usefulness.hits(shared, question, len(people.catalogue), 0, longer)
    assert (shared.item_embedding == before).all()
    assert hits.shape == (80,)
    assert hits.mean() > 0.3, "chance is a fifth; the next item is the neighbour"


def test_a_check_tells_everything_and_its_verdict_follows_from_the_limits() -> None:
    people = town(160)
    card = card_of(people, Path(__file__), SETTINGS, "town")
    report = checking.check(people, card, range(2), print, everybody=True, plan=SMALL, auc_max=0.9, gap_max=60.0)
    assert report.passed
    assert {one.name for one in report.attacks} == {"nearest", "density", "order", "file"}
    assert [len(use.real) for use in report.use] == [2, 2]
    assert [(use.by, use.people, len(use.real)) for use in report.other_use] == [("EASE", 80, 2)]
    assert report.use[0].people == 80
    assert report.use[1].people == 160
    assert report.hr10_gap == max(use.gap.value for use in report.use)
    strict = checking.check(
        people, card, range(1), print, use=False, auc_max=0.5 if report.membership_auc > 0.5 else 0.4
    )
    assert strict.hr10_gap is None
    assert not strict.passed or strict.membership_auc <= strict.auc_max


def test_a_handful_of_people_cannot_be_parted() -> None:
    people = town(60)
    with pytest.raises(DatasetInvalid, match="80 people or more"):
        checking.check(people, card_of(people, Path(__file__), SETTINGS, "town"), range(1), print, use=False)


def test_one_seed_says_nothing_of_the_scatter() -> None:
    assert (checking.over_seeds([0.5]).low, checking.over_seeds([0.5]).high) == (0.0, 1.0)
    assert checking.over_seeds([0.5, 0.6, 0.7]).low == pytest.approx(0.6 - 4.3027 * 0.1 / 3**0.5, abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.skipif(find("ml-100k/ratings.dat") is None, reason="MovieLens is not at hand (EDGEWARD_DATA)")
def test_movielens_cohort_is_no_nearer_to_its_members_than_to_others() -> None:
    path = find("ml-100k/ratings.dat")
    assert path is not None
    people = people_of(read_ratings(path))
    report = checking.check(people, card_of(people, path, Settings(), "ml"), range(1), print)
    attacks = {one.name: one.auc.value for one in report.attacks}
    # One seed scatters by 0.02; what is told of five is in docs/cohorts.md, and is not within the check's own limits.
    assert attacks["nearest"] <= 0.55
    assert max(attacks["density"], attacks["order"]) <= 0.6
    assert report.hr10_gap is not None
    assert report.hr10_gap <= 15.0
    assert all(near.copies == 0 and near.closer_to_members < 0.7 for near in report.nearest)
    assert {one.name: one.value for one in report.statistics}["items"] < 0.1
    assert report.passed == (report.membership_auc <= 0.55 and (report.hr10_gap or 0.0) <= 5.0)
