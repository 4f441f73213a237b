"""Rounds whose updates are summed in secret, on a real SuperLink with real learners."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coordinator.accountant import epsilon
from coordinator.errors import BudgetInvalid, RoundError
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.run_store import RunStore
from coordinator.shell.train import Outcome, train
from edge_agent.shell.pipe import AskEgress
from firmware_configs.errors import EdgeError
from models.bundle import open_bundle
from tests.coordinator.fleet import (
    CONTEXT,
    REFUSAL,
    RUN_S,
    Coordinator,
    Device,
    Said,
    Verdict,
    coordinator,
    granted,
    together,
)

PATIENT_S = 120.0
"""Nobody is given up at a stage because the machine is busy; where all have come or said no, nothing waits so long."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """A coordinator of this module's own: others count the versions that rounds make."""
    with coordinator(tmp_path_factory.mktemp("secret")) as running:
        yield running


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"flat-{n}", tmp_path_factory.mktemp(f"flat-{n}")) for n in range(4)]
    for n, device in enumerate(made):
        device.live_through(40, seed=n)
    place.enrol(made)
    return made


def _together(
    place: Coordinator, devices: list[Device], request: Request, verdict: Verdict = granted, **task: object
) -> tuple[Outcome | None, EdgeError | None, list[Said]]:
    given: dict[str, object] = {"secret": True, "k_min": 3, **task}
    return together(place, devices, lambda: train(place.home, request, print), verdict, **given)


def test_a_round_in_secret_moves_the_model_by_the_mean_and_shows_no_single_update(
    place: Coordinator, devices: list[Device]
) -> None:
    request = Request(
        bundle="context",
        retries=0,
        rounds=2,
        minimum_reports=4,
        wait_s=0.0,
        clip_norm=4.0,
        secret_sum=True,
        deadline_s=PATIENT_S,
        join_s=PATIENT_S,
    )
    done, failed, said = _together(place, devices, request)
    assert failed is None, [(one.ended, one.stderr) for one in said]
    assert done is not None
    assert [(row.state, row.asked, row.reports) for row in done.rounds] == [("published", 4, 4)] * 2
    # Nobody said a loss, and the card tells how the sum was made.
    assert [row.loss_after for row in done.rounds] == [0.0, 0.0]
    made = Registry.existing(place.home).find("context", done.version)
    assert made is not None
    assert "summed in secret, 20 bits" in open_bundle(made).read("card.md").decode()
    old, new = open_bundle(CONTEXT).weights(), open_bundle(made).weights()
    moved = float(np.sqrt(sum(((new[name] - old[name]) ** 2).sum() for name in new)))
    assert 0.0 < moved <= 2 * 4.0 * 1.01
    for one in said:
        assert one.ended is not None
        assert one.ended.code == ""
        assert one.report is not None
        stages = [ask.privacy.split("stage ")[1].split(";")[0] for ask in one.asked]
        assert stages == ["keys", "shares", "masked", "reveal"] * 2
        assert all(ask.kind == "update" for ask in one.asked)
    assert sum(ask.bytes for one in said for ask in one.asked) == sum(row.bytes_up for row in done.rounds)


def test_devices_add_the_noise_of_a_private_round_themselves_and_it_is_entered_before_a_mask_comes_off(
    place: Coordinator, devices: list[Device]
) -> None:
    def verdict(ask: AskEgress) -> bool:
        if "stage reveal" in ask.privacy:
            spent_at_reveal.append(sum(len(one.spent) for one in PrivacyStore(place.home).accounts("context")))
        return True

    spent_at_reveal: list[int] = []
    request = Request(
        bundle="context",
        retries=0,
        rounds=1,
        minimum_reports=4,
        wait_s=0.0,
        clip_norm=4.0,
        secret_sum=True,
        secret_bits=12,
        epsilon_max=8.0,
        population="flats",
        collude=0.3,
        deadline_s=PATIENT_S,
        join_s=PATIENT_S,
    )
    done, failed, said = _together(place, devices, request, verdict)
    assert failed is None, [(one.ended, one.stderr) for one in said]
    assert done is not None
    secret = RunStore(place.home).plan(done.run).job.secret
    assert secret is not None
    assert secret.collude == 0.3
    assert len(spent_at_reveal) >= 4
    assert set(spent_at_reveal) == {1}
    (account,) = PrivacyStore(place.home).accounts("context")
    (spent,) = account.spent
    assert (account.budget.accountant, spent.noise_by, spent.rate) == ("rdp", "devices", 1.0)
    reached = epsilon([spent], 1e-5, "rdp")
    assert 7.9 < reached <= 8.0
    assert f"({reached:.4g}, 1e-05)-differential privacy; unit: one device; 1 rounds" in done.privacy
    assert "discrete Gaussian noise" in done.privacy
    assert "the coordinator saw no sum without it" in done.privacy
    rows = [ask.privacy for one in said for ask in one.asked if "stage masked" in ask.privacy]
    assert len(rows) == 4
    assert all("discrete Gaussian share" in row and "of 3 or more" in row for row in rows)


def test_drawn_numbers_with_a_count_and_the_devices_noise_move_the_model_and_the_norm(
    place: Coordinator, devices: list[Device]
) -> None:
    request = Request(
        bundle="context",
        rounds=2,
        minimum_reports=4,
        wait_s=0.0,
        clip_norm=0.001,
        secret_sum=True,
        secret_bits=12,
        random_k=0.5,
        clip_quantile=0.5,
        count_noise=2.0,
        epsilon_max=20.0,
        population="sheds",
        deadline_s=PATIENT_S,
        join_s=PATIENT_S,
    )
    done, failed, said = _together(place, devices, request)
    assert failed is None, [(one.ended, one.stderr) for one in said]
    assert done is not None
    assert [row.state for row in done.rounds] == ["published"] * 2
    made = Registry.existing(place.home).find("context", done.version)
    assert made is not None
    card = open_bundle(made).read("card.md").decode()
    assert "Devices sent 0.5 of an update's numbers a round, drawn alike by all." in card
    assert "followed the 0.5 quantile" in card
    clips = {ask.privacy.split("; ")[1].split(",")[0] for one in said for ask in one.asked if "masked" in ask.privacy}
    assert "clip 0.001" in clips
    assert len(clips) == 2


def test_top_k_is_refused_under_a_secret_sum_and_random_k_without_one(
    place: Coordinator, devices: list[Device]
) -> None:
    with pytest.raises(RoundError, match="tell what the device learned"):
        train(place.home, Request(bundle="context", secret_sum=True, top_k=0.1), print)
    with pytest.raises(RoundError, match="random-k is for secret sums"):
        train(place.home, Request(bundle="context", random_k=0.1), print)


def test_noise_by_the_devices_needs_a_secret_sum_and_a_budget(place: Coordinator, devices: list[Device]) -> None:
    with pytest.raises(BudgetInvalid, match="hides no single update"):
        train(place.home, Request(bundle="context", retries=0, epsilon_max=8.0, noise_by="devices"), print)
    with pytest.raises(BudgetInvalid, match="without a budget"):
        train(place.home, Request(bundle="context", retries=0, secret_sum=True, noise_by="devices"), print)
    with pytest.raises(BudgetInvalid, match="sampling hides nothing"):
        train(place.home, Request(bundle="context", retries=0, secret_sum=True, epsilon_max=8.0, rate=0.5), print)


def test_a_device_that_says_no_before_its_vector_is_left_out_and_the_sum_is_made(
    place: Coordinator, devices: list[Device]
) -> None:
    def verdict(ask: AskEgress) -> bool:
        """The first ledger that is asked lets no vector out: for the server its device has vanished."""
        if "stage masked" not in ask.privacy:
            return True
        with lock:
            asked.append(ask)
            return asked[0] is not ask

    asked: list[AskEgress] = []
    lock = threading.Lock()

    request = Request(
        bundle="context",
        retries=0,
        rounds=1,
        minimum_reports=3,
        wait_s=0.0,
        clip_norm=4.0,
        secret_sum=True,
        deadline_s=PATIENT_S,
        join_s=PATIENT_S,
    )
    done, failed, said = _together(place, devices, request, verdict)
    assert failed is None, [(one.ended, one.stderr) for one in said]
    assert done is not None
    (row,) = done.rounds
    assert (row.state, row.asked, row.reports, row.refused) == ("published", 4, 3, 1)


def test_a_device_that_falls_silent_is_given_up_and_its_late_vector_is_in_no_round(
    place: Coordinator, devices: list[Device]
) -> None:
    """Its ledger answers only in the second round: by then the first is over, long before a stage's deadline."""

    def verdict(ask: AskEgress) -> bool:
        with lock:
            asked.append(ask.privacy.split(";")[0])
            is_first_vector = asked[-1].endswith("masked") and asked.count(asked[-1]) == 1
            if asked.count("secret sum of 4, stage keys") > 4:
                second.set()
        if is_first_vector:
            late.append(second.wait(RUN_S))
        return True

    asked: list[str] = []
    late: list[bool] = []
    second, lock = threading.Event(), threading.Lock()
    request = Request(
        bundle="context",
        retries=0,
        rounds=2,
        minimum_reports=3,
        wait_s=0.0,
        clip_norm=4.0,
        secret_sum=True,
        grace_s=10.0,
        deadline_s=PATIENT_S,
        join_s=PATIENT_S,
    )
    done, failed, said = _together(place, devices, request, verdict)
    assert failed is None, [(one.ended, one.stderr) for one in said]
    assert done is not None
    first, last = done.rounds
    assert (first.state, first.asked, first.reports, first.refused) == ("published", 4, 3, 1)
    assert first.seconds < request.deadline_s
    assert late == [True]
    # A vector of another sum, or one that is counted without its masks' coming off, would be as long as the ring.
    assert (last.state, last.asked) == ("published", 4)
    assert last.reports >= 3
    before, made = (Registry.existing(place.home).find("context", one) for one in (done.parent, done.version))
    assert before is not None
    assert made is not None
    old, new = open_bundle(before).weights(), open_bundle(made).weights()
    moved = float(np.sqrt(sum(((new[name] - old[name]) ** 2).sum() for name in new)))
    assert 0.0 < moved <= 2 * 4.0 * 1.01


def test_a_profile_that_demands_a_secret_sum_sends_no_plain_update(place: Coordinator, devices: list[Device]) -> None:
    request = Request(
        bundle="context", retries=0, rounds=1, minimum_reports=1, wait_s=0.0, deadline_s=PATIENT_S, join_s=PATIENT_S
    )
    done, failed, said = _together(place, devices, request)
    assert done is None
    assert failed is not None
    assert "only as part of a secret sum" in str(failed)
    assert {ask.privacy for one in said for ask in one.asked} == {REFUSAL}  # the refusals alone


def test_a_profile_that_wants_more_devices_added_up_takes_no_part(place: Coordinator, devices: list[Device]) -> None:
    request = Request(
        bundle="context",
        retries=0,
        rounds=1,
        minimum_reports=3,
        wait_s=0.0,
        secret_sum=True,
        deadline_s=PATIENT_S,
        join_s=PATIENT_S,
    )
    done, failed, said = _together(place, devices, request, k_min=5)
    assert done is None
    assert failed is not None
    assert "this profile wants 5 added up" in str(failed)
    assert {ask.privacy for one in said for ask in one.asked} == {REFUSAL}


def test_a_secret_sum_and_a_rule_that_looks_at_single_updates_exclude_each_other(place: Coordinator) -> None:
    with pytest.raises(RoundError, match="no single updates"):
        train(place.home, Request(bundle="context", retries=0, secret_sum=True, rule="median"), print)


def test_the_command_has_the_options(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from coordinator.cli import main

    told = CliRunner().invoke(main, ["train", "--help"]).output
    assert "--secret-sum" in told
    assert "--epsilon-max" in told
