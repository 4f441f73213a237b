"""Rounds with differential privacy and with robust rules, on a real SuperLink with real learners."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import registry
from coordinator.accountant import epsilon
from coordinator.aggregate import Report, clipped_sum, moved, noised, rows
from coordinator.cohort import sample
from coordinator.errors import BudgetInvalid, PrivacyRefused
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from edge_agent.shell.answer import answer
from edge_agent.shell.lessons import load_lessons
from firmware_configs.errors import EdgeError
from firmware_configs.messages import RoundOffer
from models import flat
from models.bundle import open_bundle, with_weights
from tests.coordinator.fleet import CONTEXT, REFUSAL, Coordinator, Device, Said, coordinator, together


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """A coordinator of this module's own: others count the versions that rounds make."""
    with coordinator(tmp_path_factory.mktemp("private")) as running:
        yield running


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"flat-{n}", tmp_path_factory.mktemp(f"flat-{n}")) for n in range(3)]
    for n, device in enumerate(made):
        device.live_through(40, seed=n)
    place.enrol(made)
    return made


@pytest.fixture
def afresh(place: Coordinator, tmp_path: Path) -> None:
    """The newest version is the untrained one again: rounds with noise leave a model that no device can train."""
    signed, parent = Registry.existing(place.home), open_bundle(CONTEXT)
    weights = parent.weights()
    shared = {one.name: weights[one.name] for one in parent.spec.of_share("shared")}
    version = registry.next_version(signed.paths(), "context", parent.spec.version)
    signed.publish(with_weights(parent, shared, version, tmp_path, "As it began."))


def _together(
    place: Coordinator, devices: list[Device], request: Request, **task: object
) -> tuple[Outcome | None, EdgeError | None, list[Said]]:
    return together(place, devices, lambda: train(place.home, request, print), **task)


def test_a_private_run_claims_what_it_spent_and_a_spent_budget_refuses_the_next(
    place: Coordinator, devices: list[Device]
) -> None:
    request = Request(
        bundle="context",
        rounds=2,
        minimum_reports=3,
        wait_s=0.0,
        clip_norm=1.0,
        epsilon_max=6.0,
        accountant="rdp",
        population="flats",
    )
    done, failed, _ = _together(place, devices, request)
    assert failed is None
    assert done is not None
    (account,) = [one for one in PrivacyStore(place.home).accounts("context") if one.population == "flats"]
    assert sum(row.rounds for row in account.spent) == 2
    reached = epsilon(account.spent, 1e-5, "rdp")
    assert 5.9 < reached <= 6.0
    assert f"({reached:.4g}, 1e-05)-differential privacy; unit: one device; 2 rounds" in done.privacy
    assert "Population: flats" in done.privacy
    # What the devices' losses say is in no account.
    assert [(row.loss_before, row.loss_after) for row in done.rounds] == [(0.0, 0.0)] * 2
    made = Registry.existing(place.home).find("context", done.version)
    assert made is not None
    assert done.privacy in open_bundle(made).read("card.md").decode()

    before = [target.version for target in Registry.existing(place.home).published()]
    with pytest.raises(PrivacyRefused, match="the budget is ε = 6"):
        train(place.home, request, print)
    assert place.store.desired(devices[0].name).offer is None  # nobody was asked
    assert [target.version for target in Registry.existing(place.home).published()] == before
    assert len(PrivacyStore(place.home).accounts("context")[-1].spent) == 2


def test_a_run_adapts_its_clipping_norm_and_states_to_the_devices_what_it_will_have_cost(
    place: Coordinator, devices: list[Device]
) -> None:
    request = Request(
        bundle="context",
        rounds=2,
        minimum_reports=3,
        wait_s=0.0,
        clip_norm=0.001,
        clip_quantile=0.5,
        count_noise=1.0,
        epsilon_max=9.0,
        accountant="rdp",
        population="houses",
    )
    done, failed, said = _together(place, devices, request, epsilon_max=9.0, delta=1e-5, population="houses")
    assert failed is None
    assert done is not None
    assert "followed the 0.5 quantile" in done.privacy
    (account,) = [one for one in PrivacyStore(place.home).accounts("context") if one.population == "houses"]
    rows = [ask.privacy for one in said for ask in one.asked if ask.kind == "update"]
    assert len(rows) == 6
    after = [epsilon(account.spent[:rounds], 1e-5, "rdp") for rounds in (1, 2)]
    for reached in after:
        assert sum(f"ε = {reached:.4g} at δ = 1e-05 after this round; unit: one device" in row for row in rows) == 3
    # The second round's norm is another: the first one's count moved it.
    clips = {row.split(",")[0] for row in rows}
    assert len(clips) == 2
    assert "clip 0.001" in clips


@pytest.mark.usefixtures("afresh")
def test_devices_that_send_their_largest_numbers_alone_send_less_and_move_the_model(
    place: Coordinator, devices: list[Device]
) -> None:
    request = Request(bundle="context", minimum_reports=3, wait_s=0.0, top_k=0.1)
    done, failed, _ = _together(place, devices, request)
    assert failed is None
    assert done is not None
    made = Registry.existing(place.home).find("context", done.version)
    parent = Registry.existing(place.home).find("context", done.parent)
    assert made is not None
    assert parent is not None
    new, old = open_bundle(made).weights(), open_bundle(parent).weights()
    changed = sum(int((new[name] != old[name]).sum()) for name in new)
    numbers = flat.size_of(open_bundle(made).spec.of_share("shared"))
    assert 0 < changed <= 3 * 0.11 * numbers
    assert "Devices sent 0.1 of an update's numbers a round, the largest." in open_bundle(made).read("card.md").decode()


def test_devices_refuse_a_run_that_costs_more_than_their_profiles_allow(
    place: Coordinator, devices: list[Device]
) -> None:
    request = Request(
        bundle="context", minimum_reports=1, wait_s=0.0, epsilon_max=5.0, accountant="rdp", population="barns"
    )
    done, failed, said = _together(place, devices, request, epsilon_max=2.0, delta=1e-5)
    assert done is None
    assert failed is not None
    assert "this profile lets 2 be spent on a bundle" in str(failed)
    assert {ask.privacy for one in said for ask in one.asked} == {REFUSAL}


def test_with_noise_of_its_own_a_device_tells_neither_losses_nor_counts_and_never_repeats_its_noise(
    devices: list[Device],
) -> None:
    offer = RoundOffer(run="r", bundle="context", version="1.0.0", superlink="", app_hash="", closes_ms=0)
    asked = {"bundle": "context", "version": "1.0.0", "round": 1, "rounds": 1, "epochs": 1, "lr": 0.1, "batch": 16}
    asked |= {"negatives": 0, "clip_norm": 1.0, "prox_mu": 0.0, "seed": 3}
    bundle = open_bundle(CONTEXT)
    shared = bundle.spec.of_share("shared")
    asked["names"] = [parameter.name for parameter in shared]
    sent = {"shared": flat.join(shared, {p.name: bundle.weights()[p.name] for p in shared})}

    def reply(noise: float) -> tuple[np.ndarray, dict[str, Any]]:
        task = devices[0].task(offer, "", clip_norm=1.0, noise_multiplier=noise)
        _, delta, facts, _ = answer(task, load_lessons(task), sent, asked)
        return delta, facts

    quiet, told = reply(0.0)
    assert told["loss_before"] > 0.0
    assert told["examples"] > 1
    assert (quiet == reply(0.0)[0]).all()
    noisy, told = reply(0.5)
    assert (told["loss_before"], told["loss_after"], told["examples"]) == (0.0, 0.0, 1)
    assert (noisy != reply(0.5)[0]).any()  # the same plan again, and other noise


@pytest.mark.usefixtures("afresh")
def test_a_run_by_a_robust_rule_says_so_on_the_card(place: Coordinator, devices: list[Device]) -> None:
    done, failed, _ = _together(place, devices, Request(bundle="context", minimum_reports=3, wait_s=0.0, rule="median"))
    assert failed is None
    assert done is not None
    made = Registry.existing(place.home).find("context", done.version)
    assert made is not None
    assert "combined by median (share 0.2)" in open_bundle(made).read("card.md").decode()


def test_noise_or_sampling_without_a_budget_is_refused(place: Coordinator, devices: list[Device]) -> None:
    with pytest.raises(BudgetInvalid, match="without a budget"):
        train(place.home, Request(bundle="context", noise=1.0), print)
    with pytest.raises(BudgetInvalid, match="without a budget"):
        train(place.home, Request(bundle="context", rate=0.5), print)


def test_one_device_moves_a_private_sum_by_no_more_than_the_clipping_norm() -> None:
    updates = np.random.default_rng(1).normal(0.0, 100.0, (5, 7))
    with_it, without = (clipped_sum(own, 2.0) for own in (updates, updates[:-1]))
    assert np.linalg.norm(with_it - without) == pytest.approx(2.0)


def test_the_noise_of_a_private_sum_is_as_wide_as_was_stated() -> None:
    drawn = noised(np.zeros(200_000), 3.0, 1.5, 10.0, np.random.default_rng(2))
    assert float(drawn.std()) == pytest.approx(3.0 * 1.5 / 10.0, rel=0.01)


def test_a_coin_for_each_node_asks_about_as_many_as_the_rate_says() -> None:
    dice = np.random.default_rng(3)
    counts = [len(sample(range(200), 0.25, dice)) for _ in range(300)]
    assert np.mean(counts) == pytest.approx(50.0, abs=1.5)
    assert np.std(counts) == pytest.approx(np.sqrt(200 * 0.25 * 0.75), rel=0.2)
    assert sample([3, 1, 2], 1.0, dice) == [1, 2, 3]


def test_rows_and_what_is_moved_by_them_keep_the_order_of_the_parameters() -> None:
    shared = {"b": np.zeros((2, 2), np.float32), "a": np.ones(1, np.float32)}
    report = Report(
        delta={"a": np.array([4], np.int8), "b": np.array([[1, 2], [3, -4]], np.int8)},
        scales={"a": 0.5, "b": 2.0},
        examples=1,
        loss_before=0.0,
        loss_after=0.0,
    )
    assert rows(shared, [report]).tolist() == [[2.0, 4.0, 6.0, -8.0, 2.0]]
    new = moved(shared, rows(shared, [report])[0])
    assert (new["a"].tolist(), new["b"].tolist()) == ([3.0], [[2.0, 4.0], [6.0, -8.0]])
