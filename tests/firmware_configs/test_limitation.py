"""Purpose limitation: what was collected for one thing is not used for another, however far the lineage leads."""

from pathlib import Path

import pytest

from firmware_configs.bundle_needs import read_needs
from firmware_configs.lineage import BundleNeeds, derive
from firmware_configs.loader import parse
from firmware_configs.rules import Case
from firmware_configs.rules.limitation import RULES

ROOT = Path(__file__).parents[2]
HOME = (ROOT / "firmware_configs" / "profiles" / "home-gateway.toml").read_text()
NEEDS = tuple(read_needs(path) for path in sorted((ROOT / "models" / "zoo" / "bundles").glob("*.edgeward")))


def _found(text: str, bundles: tuple[BundleNeeds, ...] = NEEDS) -> list[tuple[str, str]]:
    profile = parse(text).profile
    case = Case(profile=profile, lineage=derive(profile, bundles), bundles=bundles)
    return [(finding.where, finding.what) for rule in RULES for finding in rule.run(case, "p")]


def _replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


CREEP = _replaced(
    HOME,
    ('versions = ">=1.0,<2"\npurposes = ["comfort"]', 'versions = ">=1.0,<2"\npurposes = ["operate"]'),
    ('source = "room" }\npurposes = ["comfort"]', 'source = "room" }\npurposes = ["operate"]'),
)


def test_the_shipped_profile_keeps_to_its_purposes() -> None:
    assert _found(HOME) == []


def test_readings_taken_with_a_yes_must_not_serve_a_purpose_that_nobody_is_asked_about() -> None:
    found = dict(_found(CREEP))
    assert set(found) == {"model[1].purposes", "model[1].learn", "placement[2].purposes"}
    assert "`co2`" in found["model[1].purposes"]
    assert "`occupied`" in found["model[1].learn"]
    assert "for `operate`; collected only for `comfort`" in found["placement[2].purposes"]


def test_a_rule_is_enough_to_use_a_field() -> None:
    only_for_models = _replaced(
        HOME, ('purposes = ["personalise", "improve-models"]\nrequired', 'purposes = ["improve-models"]\nrequired')
    )
    assert "placement[0].purposes" in dict(_found(only_for_models))


def test_one_of_a_models_purposes_that_its_field_lacks_is_enough() -> None:
    lacks = _replaced(
        HOME, ('purposes = ["personalise", "improve-models"]\nrequired', 'purposes = ["personalise"]\nrequired')
    )
    found = dict(_found(lacks))
    assert "learning of `affinity` uses `item` for `improve-models`" in found["model[0].learn"]
    assert "what leaves as update uses `item` for `improve-models`" in found["egress[1].purposes"]


@pytest.mark.parametrize("bundles", [NEEDS, ()], ids=["bundle at hand", "bundle not at hand"])
def test_a_model_whose_every_possible_field_is_for_something_else_is_told(bundles: tuple[BundleNeeds, ...]) -> None:
    assert "model[1].purposes" in dict(_found(CREEP, bundles))


def test_a_model_without_a_bundle_is_not_accused_of_a_field_that_it_may_not_read() -> None:
    one_more = _replaced(
        HOME,
        (
            "# ---- for how long",
            '[[source.field]]\nname = "noise"\ncategory = "user.sensor"\npurposes = ["operate"]\n\n# ---- for how long',
        ),
    )
    assert _found(one_more, ()) == []


LIMIT = """
[[actuator.limit]]
name = "not-in-the-dark"
never = "item == 'lights-off' && fields.steps > 3.0"
reason = "Somebody walks about."

# ---- what may leave"""
STEPS = """
[[source.field]]
name = "steps"
category = "user.sensor"
purposes = ["{purpose}"]

# ---- for how long"""


@pytest.mark.parametrize(("purpose", "told"), [("comfort", False), ("operate", True)])
def test_a_limit_uses_what_it_reads_for_the_placements_that_it_bounds(purpose: str, told: bool) -> None:
    text = _replaced(HOME, ("# ---- for how long", STEPS.format(purpose=purpose)), ("# ---- what may leave", LIMIT))
    assert ("actuator[0].limit" in dict(_found(text))) is told


def test_a_model_that_scores_only_in_an_arm_uses_its_fields_for_the_placement() -> None:
    tried = """
[placement.experiment]
name = "other-model"
[[placement.experiment.arms]]
name = "plain"
[[placement.experiment.arms]]
name = "by-room"
models = ["context"]

[[placement]]
name = "shelf\""""
    text = _replaced(HOME, ('\n[[placement]]\nname = "shelf"', tried))
    steps = derive(parse(text).profile, NEEDS).steps
    assert [s.how for s in steps if (s.source, s.target) == ("model context", "placement next-pick")] == [
        "score for `by-room`"
    ]
    assert "`co2`" in dict(_found(text))["placement[0].purposes"]


def test_what_comes_of_a_decision_is_measured_under_the_measures_own_purpose() -> None:
    """People are asked for a metric by itself, so what a placement has read is not counted against it."""
    metric = (
        '[[metric]]\nname = "picked"\nplacements = ["next-pick"]\nmeasure = { kind = "rate", outcomes = ["click"] }\n'
        'purposes = ["operate"]\n\n[sensitive]'
    )
    assert _found(_replaced(HOME, ("[sensitive]", metric))) == []
