"""Noise of the device's own is accounted on the device, entered with what leaves, and refused beyond the budget."""

import dp_accounting
import msgspec
from dp_accounting.pld import PLDAccountant

from edge_agent.effects import Answer
from edge_agent.egress import ledger
from edge_agent.happenings import EgressAsked
from firmware_configs.gaussian import local_mu_squared
from tests.edge_agent.house import HOME, House

NOISE = 8.0
PRIVATE = HOME.replace(
    "privacy = { clip_norm = 20.0, secret_sum = true }",
    "privacy = { clip_norm = 1.0, noise_multiplier = 8.0, epsilon_max = 3.0, delta = 1e-5 }",
)
ASK = EgressAsked(
    token="t",
    kind="update",
    destination="superlink",
    bytes=10,
    sha256="00",
    privacy="clip 1",
    bundle="affinity",
    mu_squared=local_mu_squared(NOISE),
)


def _granted(house: House) -> list[bool]:
    return [effect.granted for effect in house.effects if isinstance(effect, Answer)]


def _rounds_within(epsilon: float) -> int:
    """As dp-accounting counts them: any two updates are 2 apart, so the noise is worth half."""
    rounds = 0
    while True:
        event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(NOISE / 2), rounds + 1)
        if PLDAccountant().compose(event).get_epsilon(1e-5) > epsilon:
            return rounds
        rounds += 1


def test_as_many_rounds_leave_as_dp_accounting_allows_and_then_none_also_after_a_restart() -> None:
    house, allowed = House(PRIVATE), _rounds_within(3.0)
    assert 1 < allowed < 20
    for _ in range(allowed):
        house.tell(ASK)
        house.restart()
    house.tell(ASK)
    assert _granted(house) == [True] * allowed + [False]
    refused = [effect for effect in house.effects if isinstance(effect, Answer)][-1]
    assert "of 3 is spent on `affinity`" in refused.reason
    # Another bundle has a budget of its own.
    house.tell(msgspec.structs.replace(ASK, bundle="context"))
    assert _granted(house)[-1]


def test_the_row_says_epsilon_delta_unit_sampling_and_accountant() -> None:
    house = House(PRIVATE)
    house.tell(ASK)
    (row,) = [
        one
        for (room, _), (value, _) in house.rows.items()
        if room == "ledger" and (one := ledger.unpack(value)).kind == "update"
    ]
    for word in ("local ε = ", " of 3 in all for affinity", "δ = 1e-05", "unit: one device", "sampling: none", "exact"):
        assert word in row.privacy


def test_what_the_ledger_refuses_costs_nothing_and_what_costs_too_much_is_not_entered() -> None:
    house, allowed = House(PRIVATE), _rounds_within(3.0)
    house.tell(msgspec.structs.replace(ASK, bytes=10**10))
    for _ in range(allowed + 3):
        house.tell(ASK)
    assert _granted(house) == [False] + [True] * allowed + [False] * 3
    rows = [key for (room, key) in house.rows if room == "ledger"]
    entered = [ledger.unpack(house.rows["ledger", key][0]) for key in rows]
    assert sum(row.kind == "update" for row in entered) == allowed


def test_power_that_fails_before_the_commit_spends_nothing() -> None:
    house = House(PRIVATE)
    house.tell(ASK, commit=False)
    house.restart()
    allowed = _rounds_within(3.0)
    for _ in range(allowed + 1):
        house.tell(ASK)
    assert _granted(house) == [True] * allowed + [False]


def test_an_update_without_noise_of_its_own_spends_nothing_here() -> None:
    house = House(PRIVATE)
    house.tell(msgspec.structs.replace(ASK, mu_squared=0.0))
    assert _granted(house) == [True]
    assert not [key for room, key in house.rows if room == "meta" and key.startswith("privacy:")]
