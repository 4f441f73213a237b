"""Rounds with differential privacy and with robust rules, on a real SuperLink with real learners."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from coordinator.accountant import epsilon
from coordinator.aggregate import Report, clipped_sum, moved, noised, rows
from coordinator.cohort import sample
from coordinator.errors import BudgetInvalid, PrivacyRefused, RoundError
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from models.bundle import open_bundle
from tests.coordinator.fleet import Coordinator, Device, coordinator, learn_together


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


def _together(place: Coordinator, devices: list[Device], request: Request) -> tuple[Outcome | None, RoundError | None]:
    outcome: list[Outcome] = []
    failure: list[RoundError] = []

    def run() -> None:
        try:
            outcome.append(train(place.home, request, print))
        except RoundError as error:
            failure.append(error)

    known = place.store.desired(devices[0].name).offer
    worker = threading.Thread(target=run)
    worker.start()
    offer = place.offer_of(devices[0].name, known.run if known else "")
    parent = Registry.existing(place.home).find("context", offer.version)
    learn_together([d.task(offer, place.ca, version=offer.version, path=str(parent)) for d in devices])
    worker.join(90)
    return (outcome or [None])[0], (failure or [None])[0]


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
    done, failed = _together(place, devices, request)
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


def test_a_run_by_a_robust_rule_says_so_on_the_card(place: Coordinator, devices: list[Device]) -> None:
    done, failed = _together(place, devices, Request(bundle="context", minimum_reports=3, wait_s=0.0, rule="median"))
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
