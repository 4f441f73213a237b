"""Names of fields and categories: what they give away is told, and what is harmless is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs import categories, strict
from firmware_configs.errors import ProfileMalformed
from firmware_configs.lineage import derive
from firmware_configs.profile import Profile
from firmware_configs.rules import ALL, Case, words
from firmware_configs.rules.examples import laid_over

FIELD = """
[[source]]
name = "room"
[[source.field]]
name = "{name}"
type = "{kind}"
category = "{category}"
purposes = ["comfort"]

[retention]
"{category}" = {{ days = 7 }}
"""


def _codes(name: str, category: str = "user.behavior", kind: str = "text") -> set[str]:
    fragment = FIELD.format(name=name, category=category, kind=kind)
    profile = strict.convert(laid_over(fragment), Profile, "p", ProfileMalformed)
    case = Case(profile=profile, lineage=derive(profile))
    return {finding.code for rule in ALL for finding in rule.run(case, "p")}


@pytest.mark.parametrize("name", ["device_id", "advertising_id", "gaid", "iban", "surname", "account_number"])
@pytest.mark.parametrize("kind", ["text", "number"])
def test_numbers_and_names_that_stay_with_a_person_are_told(name: str, kind: str) -> None:
    if kind == "number" and name == "surname":
        return  # a number is nobody's name
    assert "DM003" in _codes(name, kind=kind)


@pytest.mark.parametrize("name", ["heart_rate", "blood_pressure", "religion", "political_view", "income", "glucose"])
def test_what_sounds_like_more_than_its_category_is_told(name: str) -> None:
    assert "DM020" in _codes(name)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("heart_rate", "user.health_and_medical"),
        ("income", "user.financial"),
        ("income", "user.payment"),
        ("religion", "user.demographic.religious_belief"),
        ("battery_health", "user.device"),
        ("heart_of_the_house", "user.sensor"),
        ("votes", "user.behavior"),
    ],
)
def test_what_is_called_what_it_is_or_is_harmless_raises_nothing(name: str, category: str) -> None:
    assert not _codes(name, category) & {"DM003", "DM019", "DM020"}


@pytest.mark.parametrize(
    ("category", "near"),
    [
        ("user.helth_and_medical", "user.health_and_medical"),
        ("user.behaviour", "user.behavior"),
        ("behaviour", ""),
        ("user.nonsense", "user.sensor"),
        ("user", ""),
    ],
)
def test_a_category_that_nobody_knows_is_told_with_the_one_that_is_near(category: str, near: str) -> None:
    assert "DM019" in _codes("mood", category)
    assert categories.nearest(category) == near


@pytest.mark.parametrize("category", ["user.sensor.temperature", "system.operations", "pd:Age", "user.location"])
def test_names_below_a_category_and_those_of_the_privacy_vocabulary_are_known(category: str) -> None:
    assert categories.is_known(category)


@pytest.mark.parametrize(
    "category",
    [
        "user.health_and_medical.genetic",
        "user.demographic.political_opinion",
        "user.demographic.race_ethnicity",
        "user.demographic.religious_belief",
        "user.demographic.sexual_orientation",
        "user.authorization.biometric",
        "user.childrens",
        "user.religious_belief",
        "pd:Health",
        "dpv-pd:PoliticalOpinion",
    ],
)
def test_what_the_law_protects_most_needs_a_yes_under_every_name(category: str) -> None:
    assert categories.is_sensitive(category)
    assert categories.is_known(category)


def test_not_everything_below_demographic_is_sensitive() -> None:
    assert not categories.is_sensitive("user.demographic.age_range")
    assert not categories.is_sensitive("pd:Hobby")


@given(st.text(max_size=40))
def test_no_name_is_too_strange_to_be_looked_up(name: str) -> None:
    assert isinstance(categories.is_known(name), bool)
    assert isinstance(categories.is_sensitive(name), bool)
    assert categories.nearest(name) in categories.FIDES | categories.EARLIER | {""}
    assert set(words.in_order(name)) == words.of(name)
