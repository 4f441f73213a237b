"""Rounds of last updates: people who withdrew are taken out of the shared model, on a real SuperLink."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import RoundError, StrategyRefused
from coordinator.shell.choosing import strategy_of
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from edge_agent.effects import Erase, Put
from edge_agent.errors import RoundRefused
from edge_agent.learn.trainer import Schedule
from edge_agent.learn.trainer import train as train_here
from edge_agent.learn.unlearning import last_update, norm_of
from edge_agent.shell.lessons import load_lessons
from edge_agent.shell.pipe import LearnTask
from edge_agent.shell.store import Store as DeviceStore
from edge_agent.shell.writes import Writes
from firmware_configs.messages import RoundOffer
from models.bundle import open_bundle
from tests.coordinator.fleet import Coordinator, Device, learn_together

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"gone-{n}", tmp_path_factory.mktemp(f"gone-{n}")) for n in range(2)]
    for n, device in enumerate(made):
        device.live_through(60, seed=n)
    place.enrol(made)
    return made


def _loss(task: LearnTask, path: Path) -> float:
    """Of the task's examples under a version's shared parameters."""
    lessons = load_lessons(task)
    weights = open_bundle(path).weights()
    shared = {p.name: weights[p.name] for p in lessons.bundle.spec.of_share("shared")}
    once = Schedule(epochs=1, lr=1e-9, batch=1_000, negatives=0)
    dice = np.random.default_rng(0)
    return train_here(
        lessons.step, lessons.bundle.spec, shared, lessons.personal, lessons.rows, 0, once, dice
    ).loss_before


def test_a_round_of_last_updates_raises_the_loss_of_those_who_withdrew_within_the_norm(
    place: Coordinator, devices: list[Device]
) -> None:
    outcome: list[Outcome] = []
    request = Request(bundle="context", unlearn=True, epochs=5, minimum_reports=2, clip_norm=2.0, wait_s=0.0)
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(devices[0].name)
    assert offer.kind == "unlearn"
    parent = Registry.existing(place.home).find("context", offer.version)
    assert parent is not None
    tasks = [d.task(offer, place.ca, version=offer.version, path=str(parent), unlearn=True) for d in devices]
    said = learn_together(tasks)
    worker.join(90)
    assert [one.ended.code for one in said if one.ended] == ["", ""], [one.stderr for one in said]
    made = Registry.existing(place.home).find("context", outcome[0].version)
    assert made is not None
    assert all(_loss(task, made) > _loss(task, parent) for task in tasks)
    old, new = open_bundle(parent).weights(), open_bundle(made).weights()
    moved = float(np.sqrt(sum(((new[name] - old[name]) ** 2).sum() for name in new)))
    assert 0.0 < moved <= 2 * 2.0 * 1.02
    assert "last updates of people who withdrew" in open_bundle(made).read("card.md").decode()


def test_nobody_who_agrees_can_be_made_to_unlearn_and_nobody_who_withdrew_to_learn(
    place: Coordinator, devices: list[Device]
) -> None:
    failure: list[RoundError] = []
    request = Request(bundle="context", unlearn=True, minimum_reports=1, wait_s=0.0)

    def ask() -> None:
        with pytest.raises(RoundError) as caught:
            train(place.home, request, print)
        failure.append(caught.value)

    known = place.store.runs()[0].key
    worker = threading.Thread(target=ask)
    worker.start()
    offer = place.offer_of(devices[0].name, known)
    parent = Registry.existing(place.home).find("context", offer.version)
    tasks = [d.task(offer, place.ca, version=offer.version, path=str(parent), unlearn=False) for d in devices]
    said = learn_together(tasks)
    worker.join(120)
    assert all(one.ended is not None and one.ended.code for one in said)
    assert "to unlearn from those who agree" in str(failure[0])


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"rule": "median"}, "--rule"),
        ({"epsilon_max": 3.0}, "--epsilon-max"),
        ({"rounds": 2}, "--rounds"),
        ({"top_k": 0.1}, "--top-k"),
        ({"strategy": "ditto"}, "`ditto`"),
        ({"asynchronous": True}, "--asynchronous"),
    ],
)
def test_nothing_else_is_done_with_last_updates_than_to_add_them_up_once(asked: dict[str, object], named: str) -> None:
    with pytest.raises(StrategyRefused, match=named):
        strategy_of(Request(bundle="context", unlearn=True, **asked))  # type: ignore[arg-type]


def test_a_last_update_that_was_entered_goes_out_after_a_cut_though_the_examples_are_gone(tmp_path: Path) -> None:
    device = Device("cut", tmp_path)
    device.live_through(20, seed=1)
    offer = RoundOffer(run="r", bundle="context", version="1.0.0", superlink="s:1", app_hash="", closes_ms=0)
    task = device.task(offer, "", unlearn=True)
    lessons = load_lessons(task)
    store = DeviceStore(device.database, 64)
    for state, goes_on in (
        (lessons.hold(b"s" * 32, b"note"), False),
        (lessons.hold(b"s" * 32, b"note", b"reply"), True),
    ):
        writes = Writes()
        writes.add(
            [Put(room="round", key="r", value=state), Erase(shelf="example", group="context", subject="household")]
        )
        assert store.commit(writes, durable=False)
        if goes_on:
            found = load_lessons(task)
            assert found.held is not None
            assert (found.held.reply, found.rows) == (b"reply", {})
        else:
            with pytest.raises(RoundRefused):
                load_lessons(task)
    store.close()


@given(
    start=st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=6),
    rate=st.floats(-10.0, 10.0),
    steps=st.integers(1, 30),
    clip=st.floats(1e-3, 10.0),
)
def test_a_last_update_is_finite_and_never_longer_than_the_norm(
    start: list[float], rate: float, steps: int, clip: float
) -> None:
    shared = {"w": np.array(start, np.float32)}
    with np.errstate(all="ignore"):
        made = last_update(shared, lambda now: {"w": now["w"] * np.float32(1.0 - rate)}, steps, clip)
    assert np.isfinite(made["w"]).all()
    assert norm_of(made) <= clip * (1 + 1e-9)
