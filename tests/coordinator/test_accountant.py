"""ε is what the library says, is never claimed without noise, and is spent once and before anything is released."""

import json
import math
from pathlib import Path

import dp_accounting
import pytest
from click.testing import CliRunner
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.accountant import Budget, Spend, claim, clipped_only, epsilon, noise_for, refuse_beyond
from coordinator.cli import main
from coordinator.errors import BudgetInvalid, PrivacyRefused
from coordinator.shell.privacy_store import PrivacyStore

BUDGET = Budget(epsilon=2.0, delta=1e-5, accountant="rdp")
ROUND = Spend(noise_multiplier=1.0, rate=0.05)


def test_the_reference_example_is_what_dp_accounting_says_when_called_directly() -> None:
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(1.0)), 100
    )
    spend = [Spend(noise_multiplier=1.0, rate=0.05, rounds=100)]
    assert epsilon(spend, 1e-5, "pld") == PLDAccountant().compose(event).get_epsilon(1e-5)
    assert epsilon(spend, 1e-5, "rdp") == RdpAccountant().compose(event).get_epsilon(1e-5)
    assert (round(epsilon(spend, 1e-5, "pld"), 2), round(epsilon(spend, 1e-5, "rdp"), 2)) == (3.50, 4.04)


def test_one_round_without_sampling_is_the_gaussian_mechanism_worked_out_by_hand() -> None:
    # RDP of a Gaussian of multiplier σ is α / (2σ²); with σ = 10 over the library's orders this gives a bit more than
    # the exact ε = 0.35 at δ = 1e-5 (Balle & Wang 2018, theorem 8, solved for σ = 10).
    exact = epsilon([Spend(noise_multiplier=10.0, rate=1.0)], 1e-5, "pld")

    def cdf(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2.0))

    delta = cdf(0.05 - 10.0 * exact) - math.exp(exact) * cdf(-0.05 - 10.0 * exact)
    assert delta == pytest.approx(1e-5, rel=1e-2)


def test_what_is_sampled_from_fewer_costs_less_and_more_rounds_cost_more() -> None:
    def cost(rate: float, rounds: int) -> float:
        return epsilon([Spend(noise_multiplier=1.0, rate=rate, rounds=rounds)], 1e-5, "rdp")

    assert cost(0.01, 10) < cost(0.1, 10) < cost(1.0, 10)
    assert cost(0.1, 10) < cost(0.1, 20)


def test_the_noise_for_a_budget_keeps_to_it_and_a_little_less_does_not() -> None:
    budget = Budget(epsilon=3.0, delta=1e-5, accountant="rdp")
    noise = noise_for(budget, 0.1, 50)
    assert epsilon([Spend(noise_multiplier=noise, rate=0.1, rounds=50)], 1e-5, "rdp") <= 3.0
    assert epsilon([Spend(noise_multiplier=noise - 0.002, rate=0.1, rounds=50)], 1e-5, "rdp") > 3.0


@pytest.mark.parametrize(
    ("spend", "delta"),
    [
        (Spend(noise_multiplier=0.0, rate=0.1), 1e-5),
        (Spend(noise_multiplier=math.nan, rate=0.1), 1e-5),
        (Spend(noise_multiplier=1.0, rate=0.0), 1e-5),
        (Spend(noise_multiplier=1.0, rate=1.5), 1e-5),
        (Spend(noise_multiplier=1.0, rate=0.1, rounds=0), 1e-5),
        (ROUND, 0.0),
        (ROUND, 1.0),
    ],
)
def test_numbers_that_protect_nothing_are_refused_by_name(spend: Spend, delta: float) -> None:
    with pytest.raises(BudgetInvalid):
        epsilon([spend], delta, "rdp")


@pytest.mark.parametrize(("rate", "rounds", "budget"), [(0.1, 50, 3.0), (1.0, 1, 20.0)])
def test_the_noise_by_pld_keeps_to_the_budget_and_a_little_less_does_not(
    rate: float, rounds: int, budget: float
) -> None:
    noise = noise_for(Budget(epsilon=budget, delta=1e-5), rate, rounds)
    assert epsilon([Spend(noise_multiplier=noise, rate=rate, rounds=rounds)], 1e-5) <= budget
    assert epsilon([Spend(noise_multiplier=noise - 0.002, rate=rate, rounds=rounds)], 1e-5) > budget


@pytest.mark.parametrize("noise", [1e-9, 1e-3, 0.05])
def test_noise_that_protects_nobody_is_refused_and_not_reckoned_for_hours(noise: float) -> None:
    with pytest.raises(BudgetInvalid, match="more than 200"):
        epsilon([Spend(noise_multiplier=noise, rate=1.0, rounds=10)], 1e-5)
    with pytest.raises(PrivacyRefused, match="make it more than 200"):
        refuse_beyond(Budget(epsilon=2.0, delta=1e-5), [], Spend(noise_multiplier=noise, rate=1.0, rounds=10))


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf, 1_000.0])
def test_a_budget_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(BudgetInvalid, match="is no budget"):
        noise_for(Budget(epsilon=wrong, delta=1e-5), 0.1, 10)


def test_a_claim_says_epsilon_delta_unit_sampling_and_accountant_or_that_there_is_none() -> None:
    told = claim([Spend(noise_multiplier=1.0, rate=0.05, rounds=100)], 1e-5, "rdp").text
    assert "(4.039, 1e-05)-differential privacy" in told
    assert "unit: one device" in told
    assert "Poisson, q = 0.05" in told
    assert "accountant: RDP" in told
    assert not clipped_only(1.0, 3, 4).private
    assert "no ε can be stated" in clipped_only(1.0, 3, 4).text


def test_what_would_exceed_the_budget_is_refused_and_says_how_much_is_left() -> None:
    with pytest.raises(PrivacyRefused, match="ε = 2 at δ = 1e-05; ε = 0 is spent"):
        refuse_beyond(BUDGET, [], Spend(noise_multiplier=1.0, rate=1.0, rounds=10))


def test_a_budget_is_spent_round_by_round_until_it_refuses_and_a_refusal_writes_nothing(tmp_path: Path) -> None:
    store = PrivacyStore(tmp_path)
    number = 0
    for number in range(1, 1_000):
        try:
            store.spend("affinity", "homes", BUDGET, "run", number, Spend(noise_multiplier=2.0, rate=0.5))
        except PrivacyRefused:
            break
    (account,) = store.accounts("affinity")
    assert len(account.spent) == number - 1 >= 1
    assert number < 999
    assert epsilon(account.spent, BUDGET.delta, "rdp") <= BUDGET.epsilon


def test_a_round_that_is_entered_again_after_a_crash_is_spent_once(tmp_path: Path) -> None:
    first = PrivacyStore(tmp_path).spend("affinity", "homes", BUDGET, "run", 1, ROUND)
    again = PrivacyStore(tmp_path).spend("affinity", "homes", BUDGET, "run", 1, ROUND)
    assert first == again
    assert len(PrivacyStore(tmp_path).accounts("affinity")[0].spent) == 1


def test_a_round_cannot_be_entered_again_with_other_noise(tmp_path: Path) -> None:
    store = PrivacyStore(tmp_path)
    store.spend("affinity", "homes", BUDGET, "run", 1, ROUND)
    with pytest.raises(PrivacyRefused, match="other numbers"):
        store.spend("affinity", "homes", BUDGET, "run", 1, Spend(noise_multiplier=9.0, rate=0.05))


def test_asking_again_lowers_a_budget_and_never_raises_it(tmp_path: Path) -> None:
    store = PrivacyStore(tmp_path)
    store.spend("affinity", "homes", BUDGET, "run", 1, ROUND)
    store.spend("affinity", "homes", Budget(epsilon=50.0, delta=1e-5, accountant="rdp"), "run", 2, ROUND)
    assert store.accounts("affinity")[0].budget.epsilon == 2.0
    store.spend("affinity", "homes", Budget(epsilon=1.9, delta=1e-5, accountant="rdp"), "run", 3, ROUND)
    assert store.accounts("affinity")[0].budget.epsilon == 1.9
    with pytest.raises(PrivacyRefused, match="stated at"):
        store.spend("affinity", "homes", Budget(epsilon=2.0, delta=1e-6, accountant="rdp"), "run", 4, ROUND)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 4)), max_size=8))
def test_accounts_of_bundles_and_populations_do_not_mix(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, int]]
) -> None:
    store = PrivacyStore(tmp_path_factory.mktemp("home"))
    large = Budget(epsilon=100.0, delta=1e-5, accountant="rdp")
    for population, number in told:
        store.spend("affinity", population, large, f"run-{population}", number, ROUND)
    assert [account.population for account in store.accounts("affinity")] == sorted({one for one, _ in told})
    for account in store.accounts("affinity"):
        assert len(account.spent) == len({number for population, number in told if population == account.population})
    assert store.accounts("other") == []


def test_the_command_prints_the_example_and_what_was_spent(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["accountant", "--example", "--json"])
    found = json.loads(done.output)
    assert (round(found["epsilon"]["pld"], 2), round(found["epsilon"]["rdp"], 2)) == (3.50, 4.04)
    assert (found["clients"], found["sampling"], found["unit"]) == (1_000, "Poisson, q = 0.05", "one device")
    PrivacyStore(tmp_path).spend("affinity", "homes", BUDGET, "run", 1, ROUND)
    done = CliRunner().invoke(main, ["accountant", "affinity", "--home", str(tmp_path)])
    assert "homes: ε = " in done.output
    assert "of 2 (" in done.output
    assert "nothing was spent" in CliRunner().invoke(main, ["accountant", "context", "--home", str(tmp_path)]).output


def test_the_command_says_what_it_needs() -> None:
    done = CliRunner().invoke(main, ["accountant"])
    assert done.exit_code == 2
    assert "--noise and --epsilon" in done.output
    done = CliRunner().invoke(main, ["accountant", "affinity", "--noise", "1"])
    assert done.exit_code == 2
    assert "leave out --noise" in done.output
    done = CliRunner().invoke(main, ["accountant", "--noise", "-1"])
    assert done.exit_code == 2
    assert "fix:" in done.output


def test_noise_of_the_devices_costs_what_dp_accounting_says_when_called_directly() -> None:
    from dp_accounting import SelfComposedDpEvent, ZCDpEvent
    from dp_accounting.rdp import RdpAccountant

    account = RdpAccountant()
    account.compose(SelfComposedDpEvent(ZCDpEvent(0.5 / 3.0**2), 40))
    spent = [Spend(noise_multiplier=3.0, rate=1.0, rounds=40, noise_by="devices")]
    assert epsilon(spent, 1e-5, "rdp") == pytest.approx(account.get_epsilon(1e-5), rel=1e-9)
    # The same noise by the coordinator, without sampling, costs the same: only PLD would be tighter.
    assert epsilon(spent, 1e-5, "rdp") == pytest.approx(
        epsilon([Spend(noise_multiplier=3.0, rate=1.0, rounds=40)], 1e-5, "rdp"), rel=1e-9
    )
    told = claim(spent, 1e-5, "rdp")
    assert "discrete Gaussian noise of multiplier 3" in told.text
    assert "the coordinator saw no sum without it" in told.text


def test_the_command_tells_what_noise_of_the_devices_and_of_one_device_costs() -> None:
    from firmware_configs.gaussian import epsilon as exactly
    from firmware_configs.gaussian import local_mu_squared

    asked = ["accountant", "--rounds", "40", "--json"]
    shares = json.loads(CliRunner().invoke(main, [*asked, "--noise", "3.0", "--noise-by", "devices"]).output)
    spent = [Spend(noise_multiplier=3.0, rate=1.0, rounds=40, noise_by="devices")]
    assert shares["epsilon"] == {"rdp": epsilon(spent, 1e-5, "rdp")}
    own = json.loads(CliRunner().invoke(main, [*asked, "--noise", "20", "--noise-by", "device"]).output)
    assert own["epsilon"]["pld"] == pytest.approx(exactly(40 * local_mu_squared(20.0), 1e-5), rel=1e-3)
    assert own["unit"] == "one device, any two updates"
    assert CliRunner().invoke(main, [*asked, "--epsilon", "8", "--noise-by", "device"]).exit_code == 2


def test_noise_of_the_devices_has_no_pld_and_no_sampling() -> None:
    with pytest.raises(BudgetInvalid, match="no PLD"):
        epsilon([Spend(noise_multiplier=1.0, rate=1.0, noise_by="devices")], 1e-5, "pld")
    with pytest.raises(BudgetInvalid, match="sampling hides nothing"):
        epsilon([Spend(noise_multiplier=1.0, rate=0.5, noise_by="devices")], 1e-5, "rdp")
