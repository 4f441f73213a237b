"""The fleet's drift from a secret sum on a real SuperLink with real learners: told by cohort, accounted for."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import NotDeclared, NothingReleased, PrivacyRefused, UnknownDevice
from coordinator.shell.declared_sum import Asked
from coordinator.shell.fleet_drift import FILE, FleetDrift, declared, in_words, last, look, newest
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.store import Store
from firmware_configs.errors import ProfileError
from firmware_configs.fleet_drift import drift_shape_of
from firmware_configs.loader import load, parse
from firmware_configs.rules.examples import BASE
from firmware_configs.widening import changes
from models.fleet_drift import Moved
from tests.coordinator.fleet import Coordinator, Device, together
from tests.edge_agent.shell.test_drifted import _watch

AIR = """
[[drift]]
name = "air"
watch = "input"
source = "room"
field = "co2"
reference = 200
window = 100
fleet = true

[[model]]
name = "context"
versions = ">=1.0,<2"
purposes = ["comfort"]
"""
COUNTED = """
[[egress]]
kind = "statistic"
destination = "superlink"
purposes = ["improve-models"]
bytes_day_max = 1_000_000
k_min = 3
privacy = { clip_norm = 20.0, noise_multiplier = 0.5, epsilon_max = 15.0, population = "air", secret_sum = true }
"""
WATCHED = BASE.replace('fallback = "off"', 'fallback = "off"\nmodels = ["context"]') + AIR + COUNTED


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "watched.toml"
    path.write_text(WATCHED)
    return path


@pytest.mark.slow
def test_a_cohorts_drift_is_added_up_and_no_device_is_seen_by_itself(
    place: Coordinator, profile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (air,) = load(profile).profile.drift
    devices = [Device(f"drift-{n}", tmp_path_factory.mktemp(f"drift-{n}")) for n in range(3)]
    for n, device in enumerate(devices):
        device.live_through(0, seed=n)  # what a detector counts makes no examples
        _watch(device, air, 3.0, seed=n)
    place.enrol(devices)
    FleetStore(place.home).join("moved", [device.name for device in devices])
    told, failed, said = together(
        place,
        devices,
        lambda: look(place.home, "context", profile, ["group:moved"], Asked(), print),
        secret=True,
        drift=drift_shape_of(load(profile).profile, "context"),
        k_min=3,
        clip_norm=20.0,
        noise_multiplier=0.5,
    )
    assert failed is None
    assert told is not None
    assert (told.devices, told.cohort, told.profile) == (3, "group:moved", "example 1.0.0")
    assert told.epsilon == pytest.approx(10.73, abs=0.01)
    assert told.deviation == pytest.approx(0.5 * 20.0)
    (found,) = told.detectors
    assert (found.name, found.what) == ("air", "co2 of room")
    assert found.low <= found.psi
    assert {ask.kind for one in said for ask in one.asked} == {"statistic"}
    masked = [ask for one in said for ask in one.asked if ask.mu_squared]
    assert [round(ask.mu_squared, 6) for ask in masked] == [4.0] * 3
    assert all("tenths of 1 drift detectors" in ask.privacy for ask in masked)
    assert last(place.home, "context", ["group:moved"]) == told
    # The budget of 15 lets no second sum out, of groups neither: a device keeps one account of its statistics.
    with pytest.raises(PrivacyRefused):
        look(place.home, "context", profile, ["group:moved"], Asked(), print)


def test_what_a_profile_does_not_declare_is_asked_of_nobody(profile: Path, tmp_path: Path) -> None:
    _, shape, egress, privacy = declared(profile, "context")
    assert ([one.name for one in shape.detectors], egress.k_min, privacy.noise_multiplier) == (["air"], 3, 0.5)
    with pytest.raises(NotDeclared, match="lets no detector"):
        declared(profile, "affinity")
    (tmp_path / "plain.toml").write_text(WATCHED.replace("fleet = true", ""))
    with pytest.raises(NotDeclared, match="lets no detector"):
        declared(tmp_path / "plain.toml", "context")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + AIR, "no \\[\\[egress\\]\\] lets a secret sum of counts out"),
        (WATCHED.replace("secret_sum = true", "secret_sum = false").replace("noise_multiplier = 0.5, ", ""), "secret"),
        (WATCHED.replace("window = 100", 'window = 100\ntest = "adwin"'), "adwin.* has no windows"),
    ],
)
def test_a_detector_that_could_not_be_added_up_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        parse(text)


def test_to_let_a_detector_be_added_up_widens_what_leaves() -> None:
    before, after = parse(WATCHED.replace("fleet = true", "")).profile, parse(WATCHED).profile
    (change,) = changes(before, after)
    assert (change.direction, change.where) == ("widens", "drift[0].fleet")
    (back,) = changes(after, before)
    assert back.direction == "narrows"


def _told(cohort: str, verdict: str, made_ms: int) -> FleetDrift:
    moved = Moved(
        name="air",
        what="co2 of room",
        devices=40.0,
        shares=(0.1,) * 10,
        psi=0.3,
        low=0.2,
        high=0.4,
        verdict=verdict,  # type: ignore[arg-type]
    )
    return FleetDrift(
        run=f"r{made_ms}", bundle="context", version="1.0.0", profile="example 1.0.0", cohort=cohort, devices=40,
        privacy="ε = 10.7", epsilon=10.7, deviation=10.0, detectors=[moved], made_ms=made_ms,
    )  # fmt: skip


def test_the_newest_of_each_cohort_is_told_again_without_asking_anybody(tmp_path: Path) -> None:
    for told in (_told("", "moved", 1), _told("", "as usual", 2), _told("group:beta", "moved", 3)):
        folder = tmp_path / "runs" / told.run
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(msgspec.json.encode(told))
    assert [(one.cohort, one.made_ms) for one in newest(tmp_path)] == [("group:beta", 3), ("", 2)]
    whole = CliRunner().invoke(main, ["drift", "context", "--last", "--home", str(tmp_path)])
    assert (whole.exit_code, "as usual: co2 of room" in whole.output) == (0, True)
    beta = ["drift", "context", "--last", "--where", "group:beta", "--home", str(tmp_path), "--json"]
    asked = CliRunner().invoke(main, beta)
    assert asked.exit_code == 1
    assert msgspec.json.decode(asked.output, type=FleetDrift) == last(tmp_path, "context", ["group:beta"])
    with pytest.raises(NothingReleased):
        last(tmp_path, "context", ["group:alpha"])
    assert "0.200 and 0.400" in "\n".join(in_words(_told("", "moved", 1)))


def test_a_cohort_of_nobody_and_a_command_without_a_profile_are_refused(profile: Path, tmp_path: Path) -> None:
    Store(tmp_path)
    with pytest.raises(UnknownDevice, match="group:nobody"):
        look(tmp_path, "context", profile, ["group:nobody"], Asked(), print)
    refused = CliRunner().invoke(main, ["drift", "context"])
    assert refused.exit_code == 2
    assert "--profile FILE" in refused.output
