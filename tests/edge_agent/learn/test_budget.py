"""A round that states more privacy spent than the profile lets be spent on a bundle, or states none, is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import RoundRefused
from edge_agent.learn.budget import check
from edge_agent.learn.plan import Plan
from firmware_configs.stated import Stated, pack, unpack

STATED = Stated(
    epsilon=4.0,
    delta=1e-5,
    unit="one device",
    sampling="Poisson, q = 0.2",
    accountant="PLD (dp-accounting)",
    population="homes",
    noise_by="coordinator",
)


def test_a_round_within_the_budget_is_taken() -> None:
    check(STATED, 4.0, 1e-5, "homes")
    check(STATED, None, 1e-9, "")
    check(None, None, 1e-5, "")


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (None, "states no privacy"),
        ({"epsilon": 4.001}, "would bring ε to 4.001"),
        ({"delta": 2e-5}, "δ = 2e-05"),
        ({"unit": "one example"}, "for one example"),
        ({"population": "flats"}, "counts this device to `flats`"),
    ],
)
def test_a_round_beyond_it_is_refused_and_the_reason_says_what(stated: dict[str, object] | None, words: str) -> None:
    said = None if stated is None else msgspec.structs.replace(STATED, **stated)
    with pytest.raises(RoundRefused, match=words) as refused:
        check(said, 4.0, 1e-5, "homes")
    assert refused.value.hint


def test_the_ledger_hears_epsilon_delta_unit_sampling_accountant_and_population() -> None:
    told = STATED.told()
    for word in ("ε = 4", "δ = 1e-05", "unit: one device", "Poisson, q = 0.2", "PLD", "population: homes"):
        assert word in told


@given(st.text(max_size=80))
def test_any_text_is_a_statement_or_refused(text: str) -> None:
    plan = Plan(
        bundle="b",
        version="1.0.0",
        names=("w",),
        round=1,
        rounds=1,
        epochs=1,
        lr=0.1,
        batch=1,
        negatives=0,
        clip_norm=1.0,
        prox_mu=0.0,
        seed=0,
        privacy=text,
    )
    try:
        assert plan.stated() is None
        assert text == ""
    except RoundRefused as error:
        assert error.hint


def test_a_statement_crosses_the_wire_as_it_was() -> None:
    assert unpack(pack(STATED)) == STATED
    assert unpack(pack(None)) is None
