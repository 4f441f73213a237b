"""[identity] must agree with what is collected, and an auditor sees what it reads."""

import pytest

from firmware_configs.consistency import faults
from firmware_configs.errors import ProfileInconsistent
from firmware_configs.lineage import derive
from firmware_configs.loader import parse
from firmware_configs.profile import Profile
from tests.edge_agent.identity.kin_house import text


def _profile(old: str = "", new: str = "") -> Profile:
    written = text()
    assert old in written
    return parse(written.replace(old, new, 1)).profile


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('[identity]\npurposes = ["recognise"]', '[identity]\npurposes = ["guess"]', "identity.purposes"),
        ('view = "subject"', 'view = "subject"\nmaybe_at = 0.95', "identity.maybe_at"),
        ('field = "account"', 'field = "acount"', "identity.link[0].field"),
        ('field = "account"', 'field = "amount"', "identity.link[0].field"),
        ('field = "peer"', 'field = "network"', "identity.link[1].field"),
        ('kind = "same-value"\nfield = "network"', 'kind = "same-value"', "identity.evidence[0].field"),
        ('kind = "rhythm"', 'kind = "rhythm"\nfield = "item"', "identity.evidence[3].field"),
        ('kind = "rhythm"', 'kind = "rhythm"\nsources = ["tuch"]', "identity.evidence[3].sources"),
        ('kind = "rhythm"', 'kind = "rhythm"\nedges = [0.5]', "identity.evidence[3]"),
        (
            'kind = "rhythm"',
            'kind = "rhythm"\nedges = [0.5]\nsame = [0.5, 0.6]\ndifferent = [0.5, 0.5]',
            "identity.evidence[3].same",
        ),
        (
            'kind = "rhythm"',
            'kind = "rhythm"\nedges = [0.5]\nsame = [1.0]\ndifferent = [0.5, 0.5]',
            "identity.evidence[3].same",
        ),
        (
            'kind = "rhythm"',
            'kind = "rhythm"\nedges = [0.9, 0.5]\nsame = [0.2, 0.2, 0.6]\ndifferent = [0.5, 0.2, 0.3]',
            "identity.evidence[3].edges",
        ),
        ('name = "hours"', 'name = "taste"', "identity"),
        ('subject = "user"', "", "identity"),
    ],
)
def test_a_contradiction_is_named_with_its_place(old: str, new: str, where: str) -> None:
    with pytest.raises(ProfileInconsistent) as told:
        _profile(old, new)
    assert f"{where}:" in str(told.value) or f"{where} " in str(told.value)


def test_a_field_that_is_not_collected_to_link_people_is_refused() -> None:
    with pytest.raises(ProfileInconsistent, match="not collected to link people"):
        _profile(
            'category = "user.device"\npurposes = ["recognise"]', 'category = "user.device"\npurposes = ["personalise"]'
        )


def test_the_lineage_shows_what_links_people_and_whom_it_reaches() -> None:
    profile = _profile()
    assert faults(profile) == []
    lineage = derive(profile)
    into = {(step.source, step.how) for step in lineage.steps if step.target == "identity"}
    assert into >= {
        ("field account", "login"),
        ("field peer", "pairing"),
        ("field network", "same-value"),
        ("field item", "habit"),
        ("field room", "apart"),
        ("times of touch", "rhythm"),
    }
    assert ("identity", "placement pick") in {(step.source, step.target) for step in lineage.steps}
    assert {"account", "peer", "network", "room"}.isdisjoint(lineage.unused)
