"""What a device keeps of its own: each period in the documents is the one by which the agent's code lets go."""

from typing import get_args

import msgspec
import pytest

from edge_agent import limits
from edge_agent.effects import Shelf
from edge_agent.shell import access, sweep
from firmware_configs import profile as p
from firmware_configs.loader import load
from firmware_configs.reference_profile import REFERENCE
from firmware_configs.report import own_records
from firmware_configs.report.documents import KINDS
from firmware_configs.report.pages import Table
from tests.edge_agent.house import PROFILES

HOME = load(PROFILES / "home-gateway.toml").profile


def _row(profile: p.Profile, record: str) -> str:
    return next(kept for name, _, kept in own_records.rows(profile) if name == record)


def test_periods_that_the_agent_fixes_are_the_agents() -> None:
    day = limits.DAY_MS
    assert own_records.CAPS_DAYS * day == limits.CAPS_MS
    assert own_records.DEDUPE_DAYS * day == limits.DEDUPE_MS
    assert own_records.LOOKS_DAYS == access.KEPT_DAYS
    assert own_records.LOOKS_MIB * limits.MIB == access.FOLD_BYTES
    assert own_records.LEDGER_SHARE == sweep.LEDGER_SHARE


def test_every_shelf_of_the_database_is_in_the_schedule() -> None:
    names = {name.lower() for name, _, _ in own_records.rows(HOME)}
    assert {f"{shelf}s" if shelf != "journal" else shelf for shelf in get_args(Shelf)} <= names


def test_a_decision_on_an_event_is_kept_as_its_source_and_one_on_request_as_the_shortest() -> None:
    assert _row(HOME, "Decisions") == "next-pick: 90 days; shelf: 7 days; presence: 7 days"


def test_a_source_with_two_categories_keeps_what_it_causes_for_the_shorter() -> None:
    source = msgspec.structs.replace(
        HOME.source[0],
        field=(*HOME.source[0].field, p.SourceField(name="x", category="user.sensor", purposes=("personalise",))),
    )
    assert own_records.source_days(HOME, HOME.source[0]) == 90
    assert own_records.source_days(HOME, source) == 7


def test_examples_are_kept_as_what_they_come_from_and_not_more_than_the_model_may_have() -> None:
    told = _row(HOME, "Examples").split("; ")
    assert told == [
        "affinity: 90 days from interaction, 7 days from feedback, 5,000 at most",
        "context: 7 days from room, 7 days from feedback, 5,000 at most",
    ]


def test_an_experiments_sums_are_kept_as_long_as_the_longest_retention() -> None:
    assert own_records.longest(REFERENCE) == 90
    assert "sums 90 days" in _row(REFERENCE, "Experiments")


@pytest.mark.parametrize("kind", ["retention", "record"])
def test_schedule_and_record_list_them(kind: str) -> None:
    tables = [part for part in KINDS[kind](HOME, []).parts if isinstance(part, Table)]
    own = next(table for table in tables if table.columns == own_records.HEADER)
    assert {"Decisions", "Ledger", "Seals", "looks.log", "Erasure receipts", "Words of consent"} <= {
        row[0] for row in own.rows
    }


def test_the_record_says_of_a_purpose_when_decisions_and_examples_go() -> None:
    purpose = next(one for one in HOME.purpose if one.name == "comfort")
    assert own_records.of_purpose(HOME, purpose) == [
        "decisions of presence: 7 days",
        "examples of context: 7 days from room, 7 days from feedback, 5,000 at most",
    ]


def test_what_a_profile_does_not_do_is_not_listed() -> None:
    names = {name for name, _, _ in own_records.rows(msgspec.structs.replace(HOME, placement=(), model=()))}
    assert not names & {"Decisions", "Outcomes", "Examples", "Experiments", "Personal parameters", "Learned choices"}
