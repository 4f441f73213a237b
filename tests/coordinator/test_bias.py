"""Gaps between groups, from a secret sum on a real SuperLink with real learners: told, accounted for, refused."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import NotDeclared, PrivacyRefused
from coordinator.shell.bias import Bias, declared, last, look
from coordinator.shell.declared_sum import Asked
from coordinator.shell.privacy_store import PrivacyStore
from firmware_configs.errors import EdgeError
from firmware_configs.loader import load
from firmware_configs.profile import Segment
from firmware_configs.rules.examples import BASE
from firmware_configs.subgroups import shape_of
from tests.coordinator.fleet import Coordinator, Device, Said, together

BRIGHT = """
[[segment]]
name = "bright"
when = "features.features[2] > 100.0"

[[model]]
name = "context"
versions = ">=1.0,<2"
purposes = ["comfort"]
subgroups = { segments = ["bright"] }

[[egress]]
kind = "statistic"
destination = "superlink"
purposes = ["improve-models"]
bytes_day_max = 1_000_000
k_min = 3
privacy = { clip_norm = 20.0, noise_multiplier = 0.5, epsilon_max = 15.0, secret_sum = true }
"""
EPSILON = 10.73
"""Of one sum with noise 0.5, by RDP."""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "groups.toml"
    path.write_text(BASE.replace('fallback = "off"', 'fallback = "off"\nmodels = ["context"]') + BRIGHT)
    return path


def _asked(
    place: Coordinator, devices: list[Device], profile: Path, **task: object
) -> tuple[Bias | None, EdgeError | None, list[Said]]:
    given: dict[str, object] = {
        "secret": True,
        "segments": (Segment(name="bright", when="features.features[2] > 100.0"),),
        "shape": shape_of(load(profile).profile, "context"),
        "k_min": 3,
        "clip_norm": 20.0,
        "noise_multiplier": 0.5,
        **task,
    }
    return together(place, devices, lambda: look(place.home, "context", profile, Asked(), print), **given)


@pytest.mark.slow
def test_devices_are_compared_by_group_and_none_is_seen_by_itself(
    place: Coordinator, profile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    devices = [Device(f"group-{n}", tmp_path_factory.mktemp(f"group-{n}")) for n in range(3)]
    for n, device in enumerate(devices):
        device.live_through(60, seed=n)
    place.enrol(devices)
    told, failed, said = _asked(place, devices, profile)
    assert failed is None
    assert told is not None
    assert told.devices == 3
    assert set(told.groups) == {"bright", "other"}
    assert told.epsilon == pytest.approx(EPSILON, abs=0.01)
    assert told.deviation == pytest.approx(0.5 * 20.0)
    assert {ask.kind for one in said for ask in one.asked} == {"statistic"}
    masked = [ask for one in said for ask in one.asked if ask.mu_squared]
    assert [round(ask.mu_squared, 6) for ask in masked] == [4.0] * 3
    assert all("discrete Gaussian share" in ask.privacy for ask in masked)
    assert last(place.home, "context") == told
    again = CliRunner().invoke(main, ["bias", "context", "--last", "--home", str(place.home), "--json"])
    assert again.exit_code in {0, 1}
    assert msgspec.json.decode(again.output, type=Bias) == told
    # The budget of 15 lets no second sum out; and who wants more noise takes no part.
    with pytest.raises(PrivacyRefused):
        look(place.home, "context", profile, Asked(), print)
    assert len(PrivacyStore(place.home).entries("groups of context", "all devices")) == 1


def test_what_a_profile_does_not_declare_is_asked_of_nobody(profile: Path, tmp_path: Path) -> None:
    loaded, shape, own, egress, privacy = declared(profile, "context")
    assert (shape.groups, shape.places[0].cells) == (("bright", "other"), ("on", "off", "(no model)"))
    assert (own.auc_gap_max, egress.k_min, privacy.noise_multiplier, loaded.name) == (0.05, 3, 0.5, "example")
    (tmp_path / "plain.toml").write_text(BASE)
    with pytest.raises(NotDeclared, match="compares no groups"):
        declared(tmp_path / "plain.toml", "context")


def test_the_command_wants_a_profile_or_the_last_result() -> None:
    refused = CliRunner().invoke(main, ["bias", "context"])
    assert refused.exit_code == 2
    assert "--profile FILE" in refused.output
