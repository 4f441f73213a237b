"""What other policies would have earned: from a real agent's own log, whose truth is known."""

from functools import cache

import msgspec
import numpy as np
import pytest

from edge_agent.choosers import Everything, chooser
from edge_agent.decide import decision
from edge_agent.decide.decision import Scored
from edge_agent.errors import LogSaysNothing
from edge_agent.evaluating import Evaluation, Judged, evaluate
from edge_agent.evaluating import lived as evaluated
from edge_agent.evidence import Evidence, Lesson, joined
from edge_agent.learn.earned import Earned
from firmware_configs.messages import Topics
from firmware_configs.profile import (
    Best,
    EpsilonGreedy,
    LinThompson,
    LinUcb,
    Policy,
    SquareCb,
    Thompson,
    ThompsonGaussian,
    Threshold,
)
from models.offpolicy.confidence import Confidence
from tests.edge_agent.evaluation_house import PLACE, RATES, lived, outcomes, trails
from tests.edge_agent.house import DEVICE, HOME, House

EXPLORING = '{ kind = "epsilon-greedy", epsilon = 0.6 }'
DAY = 86_400_000
QUICK = Confidence(samples=400)
NOTHING_SERVED = Everything({})
"""These offers are scored without a model, so no features are served."""


@cache
def _house() -> House:
    return lived(EXPLORING, 1_500, seed=4)


def _evidence(house: House, metric: str = "reward", later_ms: int = 2 * DAY) -> Evidence:
    return joined(trails(house), outcomes(house), metric, DAY, house.now + later_ms)


def _evaluated(house: House, **policies: Policy) -> Evaluation:
    choosers = {name: chooser(one, NOTHING_SERVED) for name, one in policies.items()}
    return evaluate(PLACE, "reward", 0, _evidence(house), choosers, None, QUICK)


def _of(found: Evaluation, name: str) -> Judged:
    return next(one for one in found.policies if one.policy == name)


def test_other_policies_are_worth_what_they_truly_earn() -> None:
    found = _evaluated(_house(), best=Best(), uniform=EpsilonGreedy(epsilon=1.0))
    truth = {"best": RATES["milk"], "uniform": float(np.mean(list(RATES.values())))}
    assert found.decisions == 1_500
    for name, value in truth.items():
        for kind in ("ips", "snips", "dr"):
            interval = _of(found, name).estimates[kind].normal
            assert interval.low <= value <= interval.high, (name, kind)
        assert _of(found, name).cautions == ()


def test_the_policy_that_ran_is_worth_what_it_earned() -> None:
    found = _evaluated(_house(), same=EpsilonGreedy(epsilon=0.6))
    same = _of(found, "same")
    assert same.estimates["ips"].value == pytest.approx(found.logged.value)
    assert (same.gain, same.gain_interval.low, same.gain_interval.high) == pytest.approx((0.0, 0.0, 0.0))
    assert same.support.effective_rounds == pytest.approx(1_500)


def test_a_policy_that_would_often_decide_nothing_earns_nothing_then() -> None:
    found = _evaluated(_house(), never=Threshold(minimum=0.9), always=Threshold(minimum=0.6), best=Best())
    assert _of(found, "never").estimates["ips"].value == 0.0
    assert [caution.code for caution in _of(found, "never").cautions] == ["no-overlap"]
    assert _of(found, "always").estimates == _of(found, "best").estimates


def test_a_log_without_chance_says_so_and_how_to_begin() -> None:
    house = lived('{ kind = "best" }', 30, seed=2)
    with pytest.raises(LogSaysNothing, match="probability 1") as refused:
        _evaluated(house, uniform=EpsilonGreedy(epsilon=1.0))
    assert "explore" in refused.value.hint


def test_a_log_without_chance_still_tells_of_the_policy_that_ran() -> None:
    house = lived('{ kind = "best" }', 30, seed=2)
    evidence = _evidence(house)
    # A policy that explores nothing keeps the best five scores, which are all here.
    found = evaluate(PLACE, "reward", 0, evidence, {"best": chooser(Best(), NOTHING_SERVED)}, None, QUICK)
    assert _of(found, "best").estimates["ips"].value == found.logged.value


def test_what_was_never_tried_is_told() -> None:
    evidence = _evidence(_house())
    without_tea = [one for one in evidence.rounds if one.trail.items[0] != "tea"]
    found = evaluate(
        PLACE,
        "reward",
        0,
        Evidence(rounds=tuple(without_tea), left_out={}),
        {"uniform": chooser(EpsilonGreedy(epsilon=1.0), NOTHING_SERVED)},
        None,
        QUICK,
    )
    uniform = _of(found, "uniform")
    assert uniform.support.uncovered == pytest.approx(1 / 3)
    assert "uncovered" in {caution.code for caution in uniform.cautions}


def test_a_decision_whose_window_is_open_is_left_out_until_it_earns() -> None:
    house = lived(EXPLORING, 60, seed=4, silent=True)
    evidence = _evidence(house, later_ms=0)
    answered = {one for one, came in outcomes(house).items() if came}
    young = [one for one in trails(house) if one.decided_ms + DAY > house.now]
    assert evidence.left_out == {"open": len([one for one in young if one.id not in answered])}
    assert {one.trail.id for one in evidence.rounds} >= {one.id for one in young if one.id in answered}


def test_another_metric_counts_only_its_own_outcomes() -> None:
    assert {one.earned for one in _evidence(_house(), metric="dwell").rounds} == {0.0}


def test_only_the_first_place_of_a_slate_is_evaluated() -> None:
    trail = msgspec.structs.replace(trails(_house())[0], items=("tea", "milk"))
    came = {trail.id: [Earned(trail.id, "milk", "reward", 1.0, "click", trail.decided_ms + 5)]}
    (one,) = joined([trail], came, "reward", DAY, trail.decided_ms + DAY).rounds
    assert (one.earned, one.lessons) == (0.0, ())


def test_several_outcomes_of_a_decision_add_up_and_each_is_a_lesson() -> None:
    trail = trails(_house())[0]
    came = [
        Earned(trail.id, trail.items[0], "reward", 0.5, "buy", trail.decided_ms + 9_000),
        Earned(trail.id, trail.items[0], "dwell", 12.0, "", trail.decided_ms + 2_000),
        Earned(trail.id, trail.items[0], "reward", 0.25, "buy", trail.decided_ms + 5_000),
        Earned(trail.id, trail.items[0], "reward", 1.0, "buy", trail.decided_ms + DAY + 1),
    ]
    (one,) = joined([trail], {trail.id: came}, "reward", DAY, trail.decided_ms + 2 * DAY).rounds
    assert one.earned == 0.75
    assert [lesson.value for lesson in one.lessons] == [0.5, 0.25]
    (one,) = joined([trail], {trail.id: came}, "dwell", DAY, trail.decided_ms + 2 * DAY).rounds
    assert one.earned == 12.0
    assert len(one.lessons) == 2


def test_what_cannot_be_chosen_again_is_counted_and_not_guessed() -> None:
    trail = trails(_house())[0]
    few = msgspec.structs.replace(trail, candidates=100)
    fell = msgspec.structs.replace(trail, fallback="cached", top=())
    evidence = joined([few, fell], {}, "reward", DAY, trail.decided_ms + DAY)
    assert (evidence.rounds, len(evidence.brief), evidence.left_out) == ((), 1, {"fallback": 1})
    only_fallen = joined([fell], {}, "reward", DAY, trail.decided_ms + DAY)
    with pytest.raises(LogSaysNothing, match=r"1 decided by the fallback ladder"):
        evaluate(PLACE, "reward", 0, only_fallen, {}, None, QUICK)
    thompson = {"thompson": chooser(Thompson(), NOTHING_SERVED)}
    with pytest.raises(LogSaysNothing, match="what thompson would do") as refused:
        evaluate(PLACE, "reward", 0, evidence, thompson, None, QUICK)
    assert "at most 64 candidates" in refused.value.hint


def test_the_best_few_suffice_for_policies_that_go_by_scores() -> None:
    whole = _evidence(_house())
    few = [msgspec.structs.replace(one.trail, top=one.trail.top[:1]) for one in whole.rounds]
    brief = joined(few, outcomes(_house()), "reward", DAY, _house().now + 2 * DAY)
    assert (brief.rounds, len(brief.brief)) == ((), len(whole.rounds))
    policies = {"best": Best(), "uniform": EpsilonGreedy(epsilon=1.0), "some": Threshold(minimum=0.5)}
    found, same = (
        evaluate(
            PLACE,
            "reward",
            0,
            evidence,
            {name: chooser(one, NOTHING_SERVED) for name, one in policies.items()},
            None,
            QUICK,
        )
        for evidence in (brief, whole)
    )
    assert (found.whole, same.whole) == (False, True)
    for name in policies:
        for kind in ("ips", "snips"):
            assert _of(found, name).estimates[kind] == _of(same, name).estimates[kind]
        assert "dr" not in _of(found, name).estimates


def test_the_denied_and_the_unknown_get_no_probability() -> None:
    trail = trails(_house())[0]
    top = (Scored("tea", 0.9, False), Scored("milk", float("nan"), True), Scored("juice", 0.1, True))
    odd = msgspec.structs.replace(trail, top=top)
    assert chooser(Best(), NOTHING_SERVED).probabilities(odd).tolist() == [0.0, 0.0, 1.0]
    assert chooser(EpsilonGreedy(epsilon=0.5), NOTHING_SERVED).probabilities(odd).tolist() == [0.0, 0.0, 1.0]
    none = msgspec.structs.replace(trail, top=(Scored("tea", 0.9, False),))
    assert chooser(Best(), NOTHING_SERVED).probabilities(none).tolist() == [0.0]


def test_every_exploring_trail_gives_back_the_probability_that_was_logged() -> None:
    own = chooser(EpsilonGreedy(epsilon=0.6), NOTHING_SERVED)
    for trail in trails(_house())[:200]:
        place = [scored.item for scored in trail.top].index(trail.items[0])
        assert own.probabilities(trail)[place] == pytest.approx(trail.propensity, abs=1e-12)
        assert own.probabilities(trail).sum() == pytest.approx(1.0)


def test_many_people_are_resampled_whole() -> None:
    evidence = _evidence(_house())
    crowd = [
        msgspec.structs.replace(one, trail=msgspec.structs.replace(one.trail, subject=f"p{n % 30}"))
        for n, one in enumerate(evidence.rounds)
    ]
    rounds = Evidence(rounds=tuple(crowd), left_out={})
    found = evaluate(PLACE, "reward", 0, rounds, {"best": chooser(Best(), NOTHING_SERVED)}, None, QUICK)
    assert (found.over, found.subjects) == ("subjects", 30)
    assert found.policies[0].estimates["ips"].bernstein is None


LEARNING = [
    ('{ kind = "thompson" }', Thompson()),
    ('{ kind = "thompson-gaussian", noise = 0.4 }', ThompsonGaussian(noise=0.4)),
    ('{ kind = "square-cb" }', SquareCb()),
    ('{ kind = "lin-thompson", spread = 0.5 }', LinThompson(spread=0.5)),
    ('{ kind = "lin-ucb", epsilon = 0.2 }', LinUcb(epsilon=0.2)),
]


@pytest.mark.parametrize(("written", "policy"), LEARNING, ids=[type(policy).__name__ for _, policy in LEARNING])
def test_a_learning_policy_relives_its_own_log_with_the_probabilities_that_it_logged(
    written: str, policy: Policy
) -> None:
    linear = isinstance(policy, SquareCb | LinThompson | LinUcb)
    house = lived(written, 150, seed=5, model="context" if linear else "")
    rounds = _evidence(house).rounds
    context = Everything(rounds[0].trail.features)
    assert (len(rounds), context.width > 0) == (150, linear)
    again = evaluated(chooser(policy, context), rounds)
    for one, vector in zip(rounds, again, strict=True):
        place = [scored.item for scored in one.trail.top].index(one.trail.items[0])
        assert vector[place] == pytest.approx(one.trail.propensity, abs=1e-9)
        assert vector.sum() == pytest.approx(1.0)


def test_a_window_that_closed_in_silence_teaches_as_it_did_on_the_device() -> None:
    policy = '{ kind = "thompson" }\nno_outcome = 0.25'
    house = lived(policy, 120, seed=6, silent=True, window_s=300)
    rounds = joined(trails(house), outcomes(house), "reward", 300_000, house.now + DAY).rounds
    assert {one.earned for one in rounds} == {0.25, 1.0}
    assert all(len(one.lessons) == 1 for one in rounds)
    for one, vector in zip(rounds, evaluated(chooser(Thompson(), NOTHING_SERVED), rounds), strict=True):
        place = [scored.item for scored in one.trail.top].index(one.trail.items[0])
        assert vector[place] == pytest.approx(one.trail.propensity, abs=1e-9)


def test_a_policy_that_learns_would_have_found_the_offer_that_the_model_does_not() -> None:
    found = _evaluated(_house(), thompson=Thompson(prior_strength=2.0), best=Best())
    assert _of(found, "thompson").estimates["dr"].value > 0.35 > _of(found, "best").estimates["dr"].normal.high


def test_what_came_later_is_not_known_before() -> None:
    rounds = _evidence(_house()).rounds
    late = [
        msgspec.structs.replace(one, lessons=tuple(Lesson(at_ms + 365 * DAY, value) for at_ms, value in one.lessons))
        for one in rounds
    ]
    untaught = evaluated(chooser(Thompson(), NOTHING_SERVED), late)
    assert all((vector == untaught[0]).all() for vector in untaught)


def test_a_trail_keeps_all_scores_where_the_policy_explores_and_five_where_it_does_not() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    ask = house.message(Topics(DEVICE).of("request", "shelf"), {"subject": "u1"}, response_topic="reply")
    house.tell(ask)
    found = {a.group: decision.unpack(a.value) for a in house.shelves.values() if a.shelf == "decision"}
    exploring, best = found["next-pick"], found["shelf"]
    assert (exploring.policy, len(exploring.top)) == ("epsilon-greedy", exploring.candidates)
    assert (best.policy, len(best.top)) == ("best", 5)
    assert best.candidates > 5
    scores = [scored.score for scored in exploring.top]
    assert scores == sorted(scores, reverse=True)
    assert exploring.scale == "rank"


def test_logits_are_read_as_probabilities_by_policies_that_need_them() -> None:
    house = House(HOME.replace('{ kind = "epsilon-greedy", epsilon = 0.1 }', '{ kind = "thompson" }')).everyone_agrees()
    for number in range(5):
        house.now += 60_000
        house.tell(house.pick(number))
    for one in _evidence(house).rounds:
        place = [scored.item for scored in one.trail.top].index(one.trail.items[0])
        vector = chooser(Thompson(), NOTHING_SERVED).probabilities(one.trail)
        assert vector[place] == pytest.approx(one.trail.propensity, abs=1e-9)
