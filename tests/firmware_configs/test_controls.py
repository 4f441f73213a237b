"""What protects each field, as `edge-audit show` lists it."""

import msgspec
from click.testing import CliRunner

from firmware_configs.cli import main
from firmware_configs.controls import controls
from firmware_configs.loader import load
from firmware_configs.profile import Privacy, Profile
from tests.edge_agent.house import PROFILES


def _home() -> Profile:
    return load(PROFILES / "home-gateway.toml").profile


def test_every_field_is_listed_with_its_consent_its_change_its_time_and_what_may_come_out() -> None:
    lines = list(controls(_home()))
    assert [line.split(" ")[0] for line in lines] == [
        "item", "temperature", "humidity", "light", "co2", "occupied"
    ]  # fmt: skip
    item, co2 = lines[0], lines[4]
    assert "only after a yes to personalise or improve-models" in item
    assert "kept as it comes for 90 days" in item
    assert "no message carries it" in item
    assert "update (at most 5,000,000 bytes a day, read over 3 devices, clipped to 20, summed in secret)" in item
    assert "kept rounded to 5 for 7 days" in co2
    assert "update" not in co2


def test_an_update_without_masks_is_told_to_be_seen() -> None:
    profile = _home()
    egress = tuple(
        msgspec.structs.replace(one, privacy=Privacy(clip_norm=20.0)) if one.kind == "update" else one
        for one in profile.egress
    )
    item = next(iter(controls(msgspec.structs.replace(profile, egress=egress))))
    assert "read over 3 devices, clipped to 20, seen one by one by the coordinator" in item


def test_noise_budget_and_masks_are_told_where_they_are_declared() -> None:
    profile = _home()
    privacy = Privacy(clip_norm=1.0, noise_multiplier=8.0, epsilon_max=8.0, secret_sum=True)
    egress = tuple(
        msgspec.structs.replace(one, privacy=privacy) if one.kind == "update" else one for one in profile.egress
    )
    item = next(iter(controls(msgspec.structs.replace(profile, egress=egress))))
    assert "clipped to 1, noise 8, ε at most 8, summed in secret" in item


def test_show_prints_them() -> None:
    said = CliRunner().invoke(main, ["show", str(PROFILES / "home-gateway.toml")])
    assert said.exit_code == 0
    assert "What protects each field:\n  item (interaction, user.behavior): taken only after a yes" in said.output
