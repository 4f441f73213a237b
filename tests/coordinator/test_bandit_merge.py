"""What policies of several devices have seen, put together on a real SuperLink, and what begins with it."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import RoundFileInvalid, RoundStateInvalid
from coordinator.shell.ancestry import ancestry
from coordinator.shell.job import Job
from coordinator.shell.merging import Asked, Merged, merge, scale_of
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.private_run import enter
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from coordinator.shell.train import resume
from edge_agent.decide.bandit.learner import learner_of
from edge_agent.effects import Put
from edge_agent.exploring import Columns
from edge_agent.infer.bundle import load_model
from edge_agent.shell.pipe import Learns
from edge_agent.shell.store import Store as DeviceStore
from edge_agent.shell.writes import Writes
from firmware_configs.errors import EdgeError
from firmware_configs.messages import Consent
from firmware_configs.profile import LinUcb
from models import bandit_sums
from models.bundle import Bundle, open_bundle
from models.errors import SpecInvalid
from tests.coordinator.fleet import CONTEXT, REFUSAL, Coordinator, Device, Said, together

POLICY = LinUcb()
LAMP = Learns(name="lamp", models=("context",), policy=POLICY)
SCALE = """
[features]
temperature = { mean = 21.0, deviation = 1.0 }
humidity = { mean = 27.0, deviation = 1.0 }
light = { mean = 227.5, deviation = 222.5 }
co2 = { mean = 727.5, deviation = 222.5 }
"""


def explore(device: Device, rewards: int, seed: int, *, guest: bool = False) -> None:
    """A lamp that earns when it is on and the room is lit; a guest has said no."""
    stored: dict[str, bytes] = {}
    dice = np.random.default_rng(seed)
    signature = Columns([open_bundle(CONTEXT).spec]).signature
    for n in range(rewards):
        learner = learner_of(POLICY, 4, stored.get, None, signature)
        light = float(dice.choice([5.0, 450.0]))
        context = np.array([dice.normal(21, 1), 27.0, light, 500.0 + light], np.float32)
        for key in learner.learn("on", float(light > 100), context, 0.5, n):
            stored[key] = learner.pack(key)
    effects = [Put(room="bandit", key=f"lamp{key}", value=value) for key, value in stored.items()]
    if guest:
        word = msgspec.msgpack.encode(Consent(purposes={"tell": False}, time_ms=1))
        effects.append(Put(room="consent", key="guest", value=word))
    writes = Writes()
    writes.add(effects)
    store = DeviceStore(device.database, 64)
    assert store.commit(writes, durable=False)
    store.close()


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"lamp-{n}", tmp_path_factory.mktemp(f"lamp-{n}")) for n in range(4)]
    for n, device in enumerate(made):
        device.live_through(5, seed=n)
        explore(device, 60, seed=n, guest=n == 3)
    for device in made:  # one after the other: each is a process of Flower's that must answer within a minute
        place.enrol([device])
    return made


def run(
    place: Coordinator, devices: list[Device], asked: Asked, **task: object
) -> tuple[Merged | None, EdgeError | None, list[Said]]:
    """One run with these devices' learners."""
    own: dict[str, object] = {"placements": (LAMP,), "k_min": 3, "clip_norm": float("inf"), **task}
    return together(place, devices, lambda: merge(place.home, asked, print), **own)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_new_device_begins_with_what_three_others_saw_and_a_fourth_tells_why_it_says_nothing(
    place: Coordinator, devices: list[Device], tmp_path: Path
) -> None:
    scale = tmp_path / "scale.toml"
    scale.write_text(SCALE)
    asked = Asked(bundle="context", placement="lamp", scale=scale, minimum_reports=3, join_s=60.0)
    told, failed, said = run(place, devices, asked)
    assert failed is None
    assert told is not None
    assert (told.devices, told.rewards, told.items, told.numbers) == (3, 180.0, 1, 28)
    ends = [one.ended.reason if one.ended else "?" for one in said]
    assert ends[:3] == ["", "", ""], said[0].stderr
    assert "have not agreed" in ends[3]
    assert [ask.kind for one in said[:3] for ask in one.asked] == ["statistic"] * 3
    path = Registry.existing(place.home).find("context", told.published)
    assert path is not None
    model = load_model(path)
    begun, cold = (learner_of(POLICY, 4, prior=prior) for prior in (model.warm_start, None))
    lit, own = np.array([21.0, 27.0, 450.0, 950.0], np.float32), np.full(1, 0.5, np.float32)
    assert begun.beliefs(("on",), lit, own, own).mean[0] > 0.9
    assert cold.beliefs(("on",), lit, own, own).mean[0] == pytest.approx(0.5)
    assert "a beginning for bandits" in open_bundle(path).read("card.md").decode()
    with pytest.raises(RoundStateInvalid, match="counts"):
        resume(place.home, told.run, print)
    # In secret and with noise of the devices; the scale is the bundle's own by now.
    secret = Asked(
        bundle="context",
        placement="lamp",
        minimum_reports=3,
        secret_sum=True,
        secret_bits=16,
        clip_norm=200.0,
        epsilon_max=50.0,
        join_s=60.0,
        deadline_s=30.0,
    )
    told, failed, said = run(place, devices, secret, secret=True)
    assert failed is None
    assert told is not None
    assert told.devices == 3
    assert told.rewards == pytest.approx(180.0, abs=60.0 * 3)
    assert "differential privacy; unit: one device" in told.privacy
    assert len(PrivacyStore(place.home).entries("context", "all")) == 1
    masked = [ask for ask in said[0].asked if "masked" in ask.privacy]
    assert [ask.kind for ask in said[0].asked] == ["statistic"] * 4
    assert "discrete Gaussian share" in masked[0].privacy
    assert "the coordinator states ε" in masked[0].privacy


@pytest.mark.slow
def test_nothing_is_published_of_fewer_devices_than_the_profile_wants(
    place: Coordinator, devices: list[Device], tmp_path: Path
) -> None:
    scale = tmp_path / "scale.toml"
    scale.write_text(SCALE)
    before = Registry.existing(place.home).newest("context")
    asked = Asked(bundle="context", placement="lamp", scale=scale, minimum_reports=2, join_s=60.0)
    done, failed, said = run(place, devices, asked)
    assert done is None
    assert "wants 3 added up" in str(failed)
    assert {(ask.kind, ask.privacy) for one in said for ask in one.asked} == {("statistic", REFUSAL)}
    assert Registry.existing(place.home).newest("context") == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "features: required and missing"),
        (SCALE + "noise = { mean = 0.0, deviation = 1.0 }", "noise"),
        (SCALE.replace("humidity", "humid"), "humid"),
        (SCALE.replace("deviation = 1.0", "deviation = -1.0"), "out of range"),
        (SCALE.replace("mean = 21.0", "mean = nan"), "out of range"),
        (SCALE.replace("mean", "meen"), "meen"),
    ],
)
def test_a_scale_that_does_not_fit_the_columns_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "scale.toml"
    path.write_text(text)
    with pytest.raises(RoundFileInvalid, match=said):
        scale_of(open_bundle(CONTEXT), path)


def test_without_a_scale_sums_do_not_add_up_and_the_fix_names_the_columns() -> None:
    with pytest.raises(SpecInvalid, match="declares no scale") as caught:
        scale_of(open_bundle(CONTEXT), None)
    assert "'temperature' = { mean = 0.0, deviation = 1.0 }" in caught.value.hint


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["bandit", "merge", "context", "--home", str(tmp_path)])
    assert done.exit_code == 2
    assert "--placement" in done.output
    told = CliRunner().invoke(
        main, ["bandit", "merge", "nothing", "--placement", "p", "--home", str(tmp_path), "--json"]
    )
    assert told.exit_code == 1
    assert not told.stdout or json.loads(told.stdout)


@pytest.mark.parametrize("private", [True, False])
def test_what_is_attested_of_a_private_merge_says_its_epsilon_as_lineage_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    home = tmp_path / "home"
    Registry.ensure(home).publish(CONTEXT)
    Store(home).enrol("home-1", 1, "key")

    def gathered(_home: Path, job: Job, parent: Bundle, *_more: object) -> dict[str, np.ndarray]:
        (home / "runs" / job.key).mkdir(parents=True)
        if job.private is not None:
            assert job.secret is not None
            assert job.secret.collude == 0.1
            enter(job, job.private, 1, parent.spec.name)
        form = bandit_sums.form_of("regressions", parent.spec, len(parent.catalogue()))
        return {"total": np.ones(form.size), "devices": np.array([3])}

    monkeypatch.setattr("coordinator.shell.merging.gathered", gathered)
    scale = tmp_path / "scale.toml"
    scale.write_text(SCALE)
    budget = {"epsilon_max": 50.0, "clip_norm": 200.0, "secret_sum": True, "collude": 0.1} if private else {}
    told = merge(home, Asked(bundle="context", placement="lamp", scale=scale, **budget), print)  # type: ignore[arg-type]
    attested = ancestry(home, "context", "")[0].made.privacy
    assert attested["claim"] == told.privacy
    shown = CliRunner().invoke(main, ["lineage", "context", "--home", str(home)]).output
    if private:
        assert 0.0 < attested["epsilon"] <= attested["epsilon_max"] == 50.0
        assert f"privacy: ε {attested['epsilon']:.4g} at δ 1e-05, unit one device" in shown
    else:
        assert "epsilon" not in attested
        assert "privacy: No noise, so no ε." in shown
