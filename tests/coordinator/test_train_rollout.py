"""Who is asked to run a run's result: nobody, or cohort by cohort by a plan; a run that was cut off keeps to it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from coordinator.commands.training import told
from coordinator.errors import PlanUnfit, RolloutTaken
from coordinator.shell import fault
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.told import state_of
from coordinator.shell.train import deploy, resume, train
from tests.coordinator.answering import Cut
from tests.coordinator.fleet import Coordinator, Device, coordinator, together
from tests.coordinator.rollout.plans import TEXT

PILOT = TEXT.replace("share = 0.25", 'devices = ["home-0"]')
ONCE = Request(bundle="context", minimum_reports=2, wait_s=0.0, deadline_s=30.0, spread_s=0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """A coordinator of this module's own: others leave versions and devices behind."""
    with coordinator(tmp_path_factory.mktemp("train")) as running:
        yield running


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    """Two that are asked to run 1.0.0."""
    made = [Device(f"home-{n}", tmp_path_factory.mktemp(f"home-{n}")) for n in range(2)]
    for n, device in enumerate(made):
        device.live_through(40, seed=n)
    place.enrol(made)
    deploy(place.home, "context", "1.0.0")
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "rollout.toml"
    path.write_text(PILOT)
    return path


def wanted(place: Coordinator) -> list[str]:
    return [place.store.desired(f"home-{n}").bundles["context"] for n in range(2)]


def rollouts(home: Path) -> list[tuple[str, str, str]]:
    store = RolloutStore(home)
    found: list[tuple[str, str, str]] = [(one.key, one.plan.version, one.state) for one in store.all()]
    store.close()
    return found


def test_a_plan_that_nobody_could_take_part_in_is_refused_before_anybody_learns(
    place: Coordinator, devices: list[Device], plan: Path
) -> None:
    plan.write_text(PILOT.replace('"home-0"', '"nowhere"'))
    with pytest.raises(PlanUnfit, match="the plan names nowhere, not enrolled here"):
        train(place.home, msgspec.structs.replace(ONCE, rollout=str(plan)), print)
    assert place.store.runs() == []
    assert all(place.store.desired(device.name).offer is None for device in devices)


@pytest.mark.timeout(600)
def test_a_result_is_published_alone_or_rolled_out_and_a_cut_run_keeps_to_what_was_asked(
    place: Coordinator, devices: list[Device], plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = msgspec.structs.replace(ONCE, deploy=False)
    done, failed, _ = together(place, devices, lambda: train(place.home, alone, print))
    assert failed is None
    assert done is not None
    assert (done.version, done.devices, done.rollout) == ("1.0.1", 0, "")
    assert "nobody is asked to run it: edge-coordinator deploy context 1.0.1" in told(done)
    assert Registry.existing(place.home).newest("context") == "1.0.1"
    assert wanted(place) == ["1.0.0", "1.0.0"]

    # The plan's file is gone when the run, cut off once its result was published, is gone on with.
    staged, point = msgspec.structs.replace(ONCE, rollout=str(plan)), fault.point

    def cut(name: str, number: int = 0) -> None:
        if name == "published":
            raise Cut
        point(name, number)

    def until_cut() -> None:
        monkeypatch.setattr("coordinator.shell.fault.point", cut)
        with pytest.raises(Cut):
            train(place.home, staged, print)
        monkeypatch.setattr("coordinator.shell.fault.point", point)

    together(place, devices, until_cut)
    (run, _) = place.store.runs()
    assert state_of(place.home, run) == "cut off"
    assert rollouts(place.home) == []
    plan.unlink()
    lines: list[str] = []
    done = resume(place.home, run.key, lines.append)
    ((key, version, state),) = rollouts(place.home)
    assert (done.version, done.rollout, version, state) == ("1.0.2", key, "1.0.2", "planned")
    assert f"rollout {key}: 2 devices in 2 cohorts" in lines
    assert f"rollout {key} has begun" in told(done)
    assert wanted(place) == ["1.0.0", "1.0.0"], "`up` asks them in their cohort's turn"
    with pytest.raises(RolloutTaken):
        train(place.home, ONCE, print)
