"""Cohorts nest, keep to their shares, and another key draws other devices first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import PlanUnfit
from coordinator.rollout.cohorts import cohorts, order
from coordinator.rollout.plan import parse
from tests.coordinator.rollout.plans import TEXT, fleet, plan


@given(st.integers(1, 400), st.text(max_size=10))
@settings(max_examples=40)
def test_a_cohort_has_its_share_of_the_fleet_and_nobody_twice(count: int, key: str) -> None:
    found = cohorts(plan(key=repr(key).replace("'", '"') if key.isalnum() else '"k"'), dict.fromkeys(fleet(count), ()))
    assert len(found[0]) == -(-count // 4)
    assert sorted(found[0] + found[1]) == sorted(fleet(count))


@given(st.floats(0.01, 0.9), st.floats(0.0, 0.1))
def test_a_wider_share_holds_everybody_of_a_narrower_one(share: float, more: float) -> None:
    devices = dict.fromkeys(fleet(300), ())
    narrow = cohorts(parse(TEXT.replace("share = 0.25", f"share = {share}")), devices)[0]
    wide = cohorts(parse(TEXT.replace("share = 0.25", f"share = {share + more}")), devices)[0]
    assert set(narrow) <= set(wide)


def test_who_comes_first_does_not_depend_on_who_else_is_there() -> None:
    devices = fleet(200)
    assert [one for one in order("k", devices) if one in devices[:50]] == order("k", devices[:50])


def test_another_key_draws_others_first() -> None:
    first = set(order("a", fleet(400))[:40])
    assert len(first & set(order("b", fleet(400))[:40])) < 15


def test_devices_and_tags_can_be_named() -> None:
    text = TEXT.replace("share = 0.25", 'devices = ["device-7"]\ntags = ["lab"]')
    tags = {device: (("lab",) if device == "device-3" else ()) for device in fleet()}
    found = cohorts(parse(text), tags)
    assert sorted(found[0]) == ["device-3", "device-7"]
    assert len(found[1]) == 10


def test_a_device_that_is_not_enrolled_is_named() -> None:
    text = TEXT.replace("share = 0.25", 'devices = ["device-77"]')
    with pytest.raises(PlanUnfit, match="device-77"):
        cohorts(parse(text), dict.fromkeys(fleet(), ()))


def test_the_fleet_can_be_narrowed() -> None:
    text = TEXT.replace("[[cohort]]", '[fleet]\ntags = ["lab"]\n[[cohort]]', 1)
    tags = {device: (("lab",) if device < "device-2" else ()) for device in fleet()}
    assert {device for one in cohorts(parse(text), tags) for device in one} == {d for d, t in tags.items() if t}
