"""Whole profiles of other people's devices: the bad ones are caught, each by its code; the good ones raise no alarm."""

from pathlib import Path

import pytest

from firmware_configs.audit import audit
from firmware_configs.bundle_needs import read_needs
from firmware_configs.rules import ALL
from firmware_configs.rules.besides import UNREADABLE

CORPUS = Path(__file__).parent / "corpus"
BAD, GOOD = sorted((CORPUS / "bad").glob("*.toml")), sorted((CORPUS / "good").glob("*.toml"))
NEEDS = [read_needs(path) for path in sorted((Path(__file__).parents[2] / "models/zoo/bundles").glob("*.edgeward"))]
NEEDS_OTHER_INPUT = {"DM502", "DM503", "DM602", "DM603"}
"""Rules about bundles that lack something, and about the version before: their examples are in fragments."""


def test_the_folders_are_as_large_as_they_are_said_to_be() -> None:
    assert len(BAD) >= 60
    assert len(GOOD) >= 20
    assert {path.name[:5] for path in BAD} == {rule.code for rule in ALL} - NEEDS_OTHER_INPUT


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_profile_is_caught_by_its_code(path: Path) -> None:
    codes = [finding.code for finding in audit(path, NEEDS)]
    assert UNREADABLE not in codes
    assert path.name[:5] in codes


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_profile_raises_no_alarm(path: Path) -> None:
    assert [finding for finding in audit(path, NEEDS) if finding.level != "note"] == []
