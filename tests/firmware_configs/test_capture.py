"""What pages may capture follows from the profile, and from nothing else."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs import capture
from firmware_configs.cli import main
from firmware_configs.consent_receipt import version_of
from firmware_configs.errors import CaptureUnknown, ProfileInconsistent
from firmware_configs.loader import load, parse

SHOP = Path(__file__).parents[2] / "demo" / "pages" / "profile.toml"
PROFILE = load(SHOP).profile
HOME = Path(__file__).parents[2] / "firmware_configs" / "profiles" / "home-gateway.toml"


def test_a_page_is_told_the_fields_of_its_source_with_their_purposes_and_nothing_else() -> None:
    found = capture.policy(load(SHOP).profile, "shop-7")
    assert found.topic == "capture/page"
    assert found.fields == {
        "kind": ("recommend", "improve-page", "brand-report"),
        "item": ("recommend",),
        "seen": ("improve-page",),
        "value": ("brand-report",),
    }
    assert set(found.purposes) == {"recommend", "improve-page", "brand-report"}, "operate is nobody's field"
    assert found.placements == {"shelf": ("recommend",), "suggestion": ("recommend",)}


def test_a_page_is_told_what_needs_a_yes_and_to_what_a_browser_says_no_by_itself() -> None:
    profile = load(SHOP).profile
    found = capture.policy(profile, "shop-7").purposes
    assert {name: purpose.shares for name, purpose in found.items()} == {
        "recommend": False,
        "improve-page": False,
        "brand-report": True,
    }
    assert all(purpose.asks for purpose in found.values())
    assert found["recommend"].version == version_of(profile.purpose[0].text)


def test_a_profile_without_pages_says_how_it_would_get_them() -> None:
    with pytest.raises(CaptureUnknown, match="capture/page"):
        capture.policy(load(HOME).profile, "home-1")
    with pytest.raises(CaptureUnknown, match="no source `till`"):
        capture.policy(load(SHOP).profile, "shop-7", "till")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('event_time_unit = "ms"', 'event_time_unit = "s"', 'write event_time_unit = "ms"'),
        ('event_id = "id"', "", 'write event_id = "id"'),
        ("capture/page", "capture/+", "pages publish to one topic"),
        ("capture/page", "capture/page/till", "pages publish to one topic"),
        ('name = "seen"\ntype', 'name = "seen"\npath = "cookie"\ntype', "pages send no `cookie`"),
    ],
)
def test_a_source_that_pages_could_not_fill_is_refused_with_the_fix(old: str, new: str, said: str) -> None:
    text = SHOP.read_text()
    assert old in text
    with pytest.raises(ProfileInconsistent, match=r"contradiction") as caught:
        parse(text.replace(old, new, 1))
    assert said in str(caught.value)


@given(device=st.text(min_size=1, max_size=60), source=st.text(max_size=20))
def test_whatever_is_asked_for_there_is_a_policy_or_a_named_error(device: str, source: str) -> None:
    try:
        found = capture.policy(PROFILE, device, source)
    except CaptureUnknown:
        assert source not in {"", "page"}
    else:
        assert found.device == device
        assert set(found.fields) <= set(capture.CAPTURED)


def test_the_command_writes_the_document_that_pages_read(tmp_path: Path) -> None:
    out = tmp_path / "capture-policy.json"
    done = CliRunner().invoke(main, ["capture", str(SHOP), "--device", "shop-7", "--json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["device"] == "shop-7"


def test_the_command_says_in_words_when_something_is_captured() -> None:
    done = CliRunner().invoke(main, ["capture", str(SHOP)])
    assert done.exit_code == 0, done.output
    assert "captures value for brand-report" in done.output
    assert "brand-report: only after a yes; never under Global Privacy Control" in done.output
