"""Every rule speaks on its failing example and is silent on its passing one; the profile beneath is in order."""

import msgspec
import pytest

from firmware_configs import strict
from firmware_configs.consistency import faults
from firmware_configs.errors import ProfileMalformed
from firmware_configs.lineage import BundleNeeds, derive
from firmware_configs.profile import Profile
from firmware_configs.rules import ALL, AuditRule, Case
from firmware_configs.rules.examples import FRAGMENTS, laid_over, of

BASE = strict.convert(laid_over(""), Profile, "base", ProfileMalformed)
CARD = "# a card\n| accuracy | 0.9 | subgroup |"
BUNDLES = (
    BundleNeeds(name="context", version="1.0.0", needed_fields=("co2",), card=CARD),
    BundleNeeds(name="needs-co2", version="1.0.0", needed_fields=("co2",), card=CARD),
    BundleNeeds(name="needs-light", version="1.0.0", needed_fields=("light",), card=CARD),
    BundleNeeds(name="no-card", version="1.0.0", needed_fields=("co2",)),
    BundleNeeds(name="no-subgroups", version="1.0.0", needed_fields=("co2",), card="# a card"),
)


def _case(fragment: str, code: str) -> Case:
    profile = strict.convert(laid_over(fragment), Profile, code, ProfileMalformed)
    previous = BASE if code.startswith("DM60") else None
    return Case(profile=profile, lineage=derive(profile, BUNDLES), bundles=BUNDLES, previous=previous)


def test_every_rule_has_an_example_and_a_code_of_its_own() -> None:
    codes = [rule.code for rule in ALL]
    assert len(set(codes)) == len(codes) >= 40
    assert {path.stem for path in FRAGMENTS.glob("*.toml")} == set(codes)


def test_the_profile_beneath_the_examples_is_in_order() -> None:
    assert faults(BASE) == []
    case = Case(profile=BASE, lineage=derive(BASE, BUNDLES), bundles=BUNDLES)
    assert [finding for rule in ALL for finding in rule.run(case, "base")] == []


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_a_rule_speaks_on_its_failing_example(rule: AuditRule) -> None:
    found = rule.run(_case(of(rule.code).failing, rule.code), "p")
    assert found
    assert all(finding.what and finding.fix and finding.code == rule.code for finding in found)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_a_rule_is_silent_on_its_passing_example(rule: AuditRule) -> None:
    assert rule.run(_case(of(rule.code).passing, rule.code), "p") == []


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_passing_examples_are_profiles_that_load(rule: AuditRule) -> None:
    profile = _case(of(rule.code).passing, rule.code).profile
    assert faults(profile) == []
    assert msgspec.convert(msgspec.to_builtins(profile), Profile) == profile
