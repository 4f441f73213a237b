"""What the server asks for under each strategy, and what a device's learner makes of it: the two sides' real code.

The network between them is left out; `test_personalised_rounds` has it.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from coordinator import aggregate
from coordinator.rounds import Round
from coordinator.shell.checkpoint import Checkpoint, load, save
from coordinator.shell.job import Job
from coordinator.shell.plans import plan_of, vectors_of
from coordinator.strategies.combine import Occasion, combine
from coordinator.strategies.layers import read_layer
from coordinator.strategies.settings import chosen
from edge_agent.errors import RoundRefused
from edge_agent.shell.answer import answer
from edge_agent.shell.learner import _keep, _report
from edge_agent.shell.lessons import Lessons, load_lessons
from edge_agent.shell.pipe import LearnTask
from firmware_configs.messages import RoundOffer
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT, Device

BUNDLE = open_bundle(CONTEXT)
SHARED = BUNDLE.spec.of_share("shared")
OFFER = RoundOffer(run="1", bundle="context", version="1.0.0", superlink="", app_hash="", closes_ms=0)
NAMES = ["fedavg", "fedprox", "fedadam", "fedrep", "ditto", "scaffold", "ifca"]


def _job(strategy: str, **other: object) -> Job:
    given: dict[str, object] = {
        "home": "",
        "key": "k",
        "bundle": str(CONTEXT),
        "rounds": 3,
        "minimum_reports": 1,
        "epochs": 1,
        "lr": 0.1,
        "batch": 16,
        "negatives": 0,
        "clip_norm": 50.0,
        "strategy": chosen(strategy),
        "devices": 2,
    }
    return Job(**{**given, **other})  # type: ignore[arg-type]


@pytest.fixture
def tasks(tmp_path: Path) -> list[LearnTask]:
    made = []
    for n in range(2):
        device = Device(f"home-{n}", tmp_path / f"home-{n}", subjects=("ann", "ben"))
        device.folder.mkdir()
        device.live_through(40, seed=n)
        made.append(device.task(OFFER, ""))
    return made


def _start() -> Checkpoint:
    weights = BUNDLE.weights()
    return Checkpoint(shared={p.name: weights[p.name] for p in SHARED})


def _round(job: Job, now: Checkpoint, number: int, tasks: list[LearnTask], lessons: list[Lessons]) -> Checkpoint:
    plan = plan_of(job, Round(run="k", number=number), BUNDLE)
    reports = []
    for task, own in zip(tasks, lessons, strict=True):
        _, delta, facts, trained = answer(task, own, dict(vectors_of(job, BUNDLE, now)), plan)
        _keep(own, trained)
        reports.append(aggregate.checked({"delta": delta}, facts, SHARED))
    occasion = Occasion(number=number, rounds=3, lr=job.lr, devices=2)
    shared, state = combine(job.strategy, now.shared, reports, now.state, occasion)
    return Checkpoint(shared=shared, state=state)


@pytest.mark.parametrize("name", NAMES)
def test_three_rounds_run_and_what_is_remembered_survives_the_disk(
    name: str, tasks: list[LearnTask], tmp_path: Path
) -> None:
    job, now = _job(name), _start()
    lessons = [load_lessons(task) for task in tasks]
    for number in (1, 2, 3):
        now = _round(job, now, number, tasks, lessons)
        again = load(tmp_path / "now", save(tmp_path / "now", now))
        assert all(np.array_equal(now.state[key], again.state[key]) for key in now.state)
        assert all(np.array_equal(now.shared[key], again.shared[key]) for key in now.shared)
        now = again
    # Ditto's shared part is judged without what serves; the better of two models may have nothing left to learn.
    if name not in {"ditto", "ifca"}:
        assert lessons[0].loss_after < lessons[0].loss_before


def test_the_fleets_control_variate_is_the_mean_of_what_the_devices_hold(tasks: list[LearnTask]) -> None:
    job, now = _job("scaffold"), _start()
    lessons = [load_lessons(task) for task in tasks]
    for number in (1, 2, 3):
        now = _round(job, now, number, tasks, lessons)
    for part in SHARED:
        mean = np.mean([own.control[part.name] for own in lessons], axis=0)
        np.testing.assert_allclose(now.state[f"control/{part.name}"], mean, atol=1e-5)
    assert any(value.any() for own in lessons for value in own.control.values())


def test_dittos_copies_stay_with_the_personal_parts_and_go_with_the_next_plain_run(tasks: list[LearnTask]) -> None:
    job, task, own = _job("ditto"), tasks[0], load_lessons(tasks[0])
    _, _, _, trained = answer(task, own, dict(vectors_of(job, BUNDLE, _start())), _plan(job))
    _keep(own, trained)
    held = {subject: _unpack(packed) for subject, packed in _report(task, own).personal.items()}
    names = {part.name for part in SHARED}
    assert {frozenset(parts) for parts in held.values()} == {frozenset({"offset", *names})}
    start = _start().shared
    assert any(not np.array_equal(held["ann"][name], start[name]) for name in names)
    plain = _job("fedavg")
    _, _, _, trained = answer(task, own, dict(vectors_of(plain, BUNDLE, _start())), _plan(plain))
    _keep(own, trained)
    assert {frozenset(_unpack(p)) for p in _report(task, own).personal.values()} == {frozenset({"offset"})}


def test_personal_parts_come_first_and_the_shared_part_is_trained_with_them_held(tasks: list[LearnTask]) -> None:
    own = load_lessons(tasks[0])
    frozen = _job("fedrep", layers=(read_layer("*=0"),))
    _, delta, _, trained = answer(tasks[0], own, dict(vectors_of(frozen, BUNDLE, _start())), _plan(frozen))
    assert not delta.any()  # all layers are frozen, the personal ones too
    assert not trained.personal["ann"]["offset"].any()
    shared_only = _job("fedrep", layers=(*(read_layer(f"{part.name}=0") for part in SHARED),))
    _, delta, _, trained = answer(tasks[0], own, dict(vectors_of(shared_only, BUNDLE, _start())), _plan(shared_only))
    assert not delta.any()
    assert trained.personal["ann"]["offset"].any()


def test_which_model_fits_is_not_told_by_a_device_that_adds_noise(tasks: list[LearnTask]) -> None:
    job = _job("ifca")
    shy = msgspec.structs.replace(tasks[0], noise_multiplier=1.0)
    with pytest.raises(RoundRefused, match="which of several models"):
        answer(shy, load_lessons(shy), dict(vectors_of(job, BUNDLE, _start())), _plan(job))


@pytest.mark.parametrize(
    "other",
    [
        {"models": 17},
        {"models": 2},
        {"steps": 10_001},
        {"control": True},
        {"control": True, "steps": 5},
        {"personal_epochs": 101},
        {"personal_epochs": 60, "epochs": 60},
        {"pull": -1.0},
        {"layers": ["a"], "factors": []},
        {"layers": ["a"], "factors": [11.0]},
        {"layers": ["a" * 65], "factors": [1.0]},
        {"ditto": True, "personal_epochs": 1},
        {"control": True, "steps": 5, "ditto": True},
    ],
)
def test_plans_beyond_the_devices_bounds_or_against_themselves_are_refused(
    other: dict[str, object], tasks: list[LearnTask]
) -> None:
    own = load_lessons(tasks[0])
    with pytest.raises(RoundRefused):
        answer(tasks[0], own, dict(vectors_of(_job("fedavg"), BUNDLE, _start())), {**_plan(_job("fedavg")), **other})


def _plan(job: Job) -> dict[str, object]:
    return plan_of(job, Round(run="k", number=1), BUNDLE)


def _unpack(packed: bytes) -> dict[str, np.ndarray]:
    from edge_agent.learn import parameters

    return dict(parameters.unpack(packed))
