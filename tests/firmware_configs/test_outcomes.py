"""Outcomes and metrics in the profile: what contradicts is said, and what they read is used."""

import re

import pytest

from firmware_configs.errors import EdgeError
from firmware_configs.lineage import derive, why
from firmware_configs.loader import parse
from tests.edge_agent.house import HOME

TILL = """
[[source]]
name = "till"
topic = "shop/{device}/till"
subject = "user"
[[source.field]]
name = "bought"
type = "text"
category = "user.behavior"
purposes = ["personalise"]
[[source.field]]
name = "amount"
category = "user.behavior"
purposes = ["personalise"]
"""
OUTCOME = """
[[outcome]]
name = "purchase"
source = "till"
when = "fields.amount > 0.0"
value_field = "amount"
value_max = 50.0
purposes = ["personalise"]
credit = [{ placement = "next-pick", item = "bought" }]
"""
METRIC = """
[[metric]]
name = "spent"
placements = ["next-pick"]
purposes = ["personalise"]
measure = { kind = "value", outcomes = ["purchase"] }
upper = 50.0
"""
NOISY = """
[[egress]]
kind = "metric"
purposes = ["operate"]
bytes_day_max = 9
privacy = { clip_norm = 1.0, unit = "person" }
"""


def test_a_field_that_an_outcome_reads_is_used() -> None:
    found = derive(parse(HOME + TILL + OUTCOME + METRIC).profile)
    assert not {"bought", "amount"} & set(found.unused)
    targets = {step.target for step in why(found, "amount")}
    assert {"outcome purchase", "placement next-pick", "metric spent"} <= targets


def test_a_field_that_nothing_reads_stays_a_finding() -> None:
    assert {"bought", "amount"} <= set(derive(parse(HOME + TILL).profile).unused)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('source = "till"\nwhen', 'source = "tell"\nwhen', "there is no source `tell`"),
        ('"next-pick", item', '"next-pock", item', "there is no placement `next-pock`"),
        ('item = "bought"', 'item = "light"', "there is no field of source `till` `light`"),
        ("fields.amount > 0.0", "fields.amount >", "is not a CEL expression"),
        ("fields.amount > 0.0", "session.events > 0.0", "there is no name `session`"),
        ('value_field = "amount"', 'value_field = "bought"', "`bought` is text, a value is a number"),
        ('item = "bought" }', "seen = true }", "nothing says when `next-pick` was seen"),
        ("value_max = 50.0", "value_max = 50.0\nvalue = 51.0", "51 is above value_max"),
        (
            "value_max = 50.0",
            'value_max = 50.0\nattribution = { kind = "position-based", first = 0.6, last = 0.6 }',
            "more than one together",
        ),
        (
            'item = "bought" }',
            "window_s = 7776001.0 }",
            "open for 90 days, and decisions of `next-pick` are kept for 90",
        ),
        ('name = "spent"', 'name = "reward"', "every placement's own metric"),
        ("upper = 50.0", "upper = 0.0", "upper must be above lower"),
        ('["purchase"]', '["parchase"]', "there is no outcome `parchase`"),
        (
            '{ kind = "value", outcomes = ["purchase"] }',
            '{ kind = "dwell" }',
            "there is no [[view]] of placement `next-pick`",
        ),
        ("upper = 50.0", 'upper = 50.0\n[[segment]]\nname = "other"\nwhen = "hour < 6"', "`other` is who is in no"),
        ("upper = 50.0", 'upper = 50.0\n[[segment]]\nname = "early"', "exactly one of `when` and `model`"),
        (
            "upper = 50.0",
            f"upper = 50.0\n{NOISY}",
            "bounded a device",
        ),
    ],
)
def test_what_contradicts_is_said_with_its_place(before: str, after: str, said: str) -> None:
    text = HOME + TILL + OUTCOME + METRIC
    parse(text)
    assert before in text
    with pytest.raises(EdgeError, match=re.escape(said)):
        parse(text.replace(before, after, 1))
