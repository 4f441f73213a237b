"""Policies in the profile: what cannot work is said when the profile is checked."""

import pytest

from firmware_configs.errors import ProfileInconsistent, ProfileMalformed
from firmware_configs.loader import parse
from firmware_configs.profile import LinUcb, SquareCb
from tests.edge_agent.house import HOME

PICK = '[[placement]]\nname = "next-pick"'


def _with(lines: str, text: str = HOME) -> str:
    """The shipped home profile, its first placement with other lines."""
    assert PICK in text
    kept = "\n".join(line for line in text.split("\n") if not line.startswith(("policy = ", "reward_window_s = ")))
    return kept.replace(PICK, f"{PICK}\n{lines}", 1)


def test_each_policy_can_be_written() -> None:
    loaded = parse(_with('policy = { kind = "square-cb", gamma = 50.0, half_life_s = 86400.0 }\nno_outcome = 0.0'))
    place = loaded.profile.placement[0]
    assert place.policy == SquareCb(gamma=50.0, half_life_s=86_400.0)
    assert place.no_outcome == 0.0
    assert parse(_with('policy = { kind = "lin-ucb" }')).profile.placement[0].policy == LinUcb()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('policy = { kind = "best" }\nexploration = { floor = 0.5 }', "nothing here explores"),
        ('policy = { kind = "thompson" }\nreward_window_s = 1e9\nno_outcome = 0.0', "forgotten before the window"),
    ],
)
def test_contradictions_are_named(lines: str, said: str) -> None:
    with pytest.raises(ProfileInconsistent, match=said):
        parse(_with(lines))


def test_a_bandit_without_rewards_or_a_regression_without_a_model_is_refused() -> None:
    lamp = """
[[placement]]
name = "second"
trigger = { kind = "request" }
purposes = ["comfort"]
candidate = [{ item = "a", score = "0.5" }, { item = "b", score = "0.5" }]
policy = { kind = "POLICY" }
NO
"""
    for kind in ("thompson", "thompson-gaussian", "lin-ucb", "lin-thompson", "square-cb"):
        with pytest.raises(ProfileInconsistent, match=f"`{kind}` learns from rewards"):
            parse(HOME + lamp.replace("POLICY", kind).replace("NO", ""))
    with pytest.raises(ProfileInconsistent, match="has no model"):
        parse(HOME + lamp.replace("POLICY", "lin-ucb").replace("NO", ""))
    with pytest.raises(ProfileInconsistent, match="without rewards every decision"):
        parse(HOME + lamp.replace("POLICY", "best").replace("NO", "no_outcome = 0.0"))


@pytest.mark.parametrize(
    "policy",
    [
        '{ kind = "square-cb", half_life_s = -1.0 }',
        '{ kind = "thompson", half_life_rewards = -5.0 }',
        '{ kind = "lin-ucb", ridge = 0.0 }',
        '{ kind = "lin-thompson", spread = 0.0 }',
        '{ kind = "square-cb", exponent = 1.5 }',
        '{ kind = "lin-ucb", epsilon = 1.1 }',
    ],
)
def test_what_is_out_of_range_is_refused(policy: str) -> None:
    with pytest.raises(ProfileMalformed):
        parse(_with(f"policy = {policy}"))
