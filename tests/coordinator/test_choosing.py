"""A run's strategy goes together with what else is asked for, or is refused with the reason."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.cohort import may_close
from coordinator.errors import RoundFileInvalid, StrategyRefused
from coordinator.shell.choosing import refuse_contradictions, strategy_of
from coordinator.shell.request import Request
from coordinator.strategies.names import NAMES, PRESETS, PRIVATE
from tests.coordinator.rollout.plans import TEXT as PLAN


def _asked(**given: Any) -> Request:
    return Request(bundle="context", **given)


@pytest.mark.parametrize("name", NAMES)
def test_sums_that_nobody_looks_into_go_with_every_strategy_of_means_and_no_other(name: str) -> None:
    for protected in ({"secret_sum": True}, {"epsilon_max": 8.0}):
        if PRESETS[strategy_of(_asked(strategy=name)).name].single:
            with pytest.raises(StrategyRefused, match="single"):
                strategy_of(_asked(strategy=name, **protected))
        else:
            strategy_of(_asked(strategy=name, **protected))


def test_flowers_class_names_are_names() -> None:
    assert strategy_of(_asked(strategy="FedAdam", options={"server_lr": 0.5})).name == "fedadam"
    assert strategy_of(_asked(strategy="fedadam", options={"server_lr": 0.5}))["server_lr"] == 0.5


def test_the_options_that_came_first_are_options_of_their_strategies() -> None:
    assert strategy_of(_asked(strategy="fedprox", prox_mu=0.3))["prox_mu"] == 0.3
    assert strategy_of(_asked(strategy="krum", hostile_share=0.1))["hostile_share"] == 0.1


def test_a_rule_goes_with_an_optimiser_and_not_with_another_rule() -> None:
    strategy_of(_asked(strategy="fedadam", rule="multi-krum"))
    with pytest.raises(StrategyRefused, match="both say"):
        strategy_of(_asked(strategy="krum", rule="median"))
    with pytest.raises(StrategyRefused, match="single reports"):
        strategy_of(_asked(rule="median", epsilon_max=8.0))


def test_a_control_variate_needs_whole_updates() -> None:
    with pytest.raises(StrategyRefused, match="whole update"):
        strategy_of(_asked(strategy="scaffold", random_k=0.5, secret_sum=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--secret-sum --top-k 0.1", "tell what the device learned"),
        ("--random-k 0.1", "random-k is for secret sums"),
        ("--rate 0.5", "noise or sampling without a budget"),
        ("--epsilon-max 8 --noise-by devices", "hides no single update"),
        ("--wanted 2 --minimum-reports 3", "round.wanted = 2 is less than round.minimum_reports = 3"),
        ("--no-deploy --rollout rollout.toml", "round.rollout says who runs the result when, and round.deploy"),
        ("--rollout nowhere/rollout.toml", "nowhere/rollout.toml: no such file"),
        ("--lr inf", "'--lr': inf is not in the range"),
        ("--deadline-s inf", "round.deadline_s: inf is not finite"),
        ("--lr 1001", "1001"),
        ("--strategy krumm", "did you mean `krum`?"),
        ("--strategy FedAdm", "did you mean `fedadam`?"),
        ("--strategy cleverest", "there are fedavg, fedprox,"),
        ("--strategy DifferentialPrivacyServerSideAdaptiveClipping", "--clip-quantile 0.5"),
    ],
)
def test_a_contradiction_is_told_before_a_coordinator_is_looked_for(tmp_path: Path, words: str, said: str) -> None:
    done = CliRunner().invoke(main, ["train", "context", *words.split(), "--home", str(tmp_path / "none")])
    assert done.exit_code in (1, 2)
    assert said in " ".join(done.stderr.split())
    assert "no coordinator" not in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_file_that_wants_fewer_reports_than_it_needs_is_refused_with_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "round.toml"
    path.write_text('[round]\nbundle = "context"\nwanted = 2\nminimum_reports = 3\n')
    done = CliRunner().invoke(main, ["train", "--config", str(path), "--home", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "round.wanted = 2 is less than round.minimum_reports = 3" in " ".join(done.stderr.split())
    words = ["train", "--config", str(path), "--wanted", "3", "--home", str(tmp_path / "none")]
    assert "round.wanted" not in CliRunner().invoke(main, words).stderr, "the command line overrides the file"


@given(st.integers(0, 9), st.integers(1, 9))
def test_what_is_wanted_is_refused_exactly_where_a_round_would_stop_before_it_has_enough(
    wanted: int, minimum: int
) -> None:
    """`may_close` is what stops it; 0 waits for everybody, so it stops at no number."""
    stops_short = wanted > 0 and any(may_close(n, wanted, 0.0, 60.0) for n in range(minimum))
    request = _asked(wanted=wanted, minimum_reports=minimum)
    if stops_short:
        with pytest.raises(RoundFileInvalid, match=f"= {minimum}: a round that stops at {wanted} reports"):
            refuse_contradictions(request)
    else:
        refuse_contradictions(request)


def test_each_of_flowers_wrappers_is_refused_with_options_that_exist() -> None:
    known = {option for parameter in main.commands["train"].params for option in parameter.opts}
    for wrapper, instead in PRIVATE.items():
        with pytest.raises(StrategyRefused, match="privacy is a part of the round") as caught:
            strategy_of(_asked(strategy=wrapper))
        assert caught.value.hint == instead
        options = [word for word in instead.split() if word.startswith("-")]
        assert set(options) <= known
        assert ("--clip-quantile" in options) == ("Adaptive" in wrapper)


def test_a_plan_of_another_bundle_is_refused_and_a_files_plan_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "rollout.toml").write_text(PLAN)
    path = tmp_path / "round.toml"
    path.write_text('[round]\nbundle = "affinity"\nrollout = "rollout.toml"\n')
    done = CliRunner().invoke(main, ["train", "--config", str(path), "--home", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "rollout.toml rolls out context, not affinity" in " ".join(done.stderr.split())
