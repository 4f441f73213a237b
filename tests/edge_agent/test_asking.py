"""What `evaluate` is asked for is understood, or refused with the place and the fix; nothing else can come out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.asking import WINDOW_S, in_words, placement, policies, policy, since
from edge_agent.errors import PlacementUnknown, PolicyMalformed, SettingsMalformed
from firmware_configs.profile import Best, EpsilonGreedy, Threshold
from tests.edge_agent.evaluation_house import written

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("best", Best()),
        ("uniform", EpsilonGreedy(epsilon=1.0)),
        ("epsilon-greedy", EpsilonGreedy()),
        ('{kind = "epsilon-greedy", epsilon = 0.2}', EpsilonGreedy(epsilon=0.2)),
        ('{kind = "threshold", minimum = 0.7}', Threshold(minimum=0.7)),
    ],
)
def test_policies_are_written_as_in_a_profile(text: str, meant: object) -> None:
    assert policy(text) == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("bestt", "bestt"),
        ("{}", "kind"),
        ('{kind = "epsilon-greedy", epsilom = 0.2}', "epsilom"),
        ('{kind = "epsilon-greedy", epsilon = 2}', "epsilon"),
        ('{kind = "best"}\nother = 1', "other"),
        ("{kind = ", "TOML"),
        ("", "TOML"),
    ],
)
def test_what_is_no_policy_is_named(text: str, word: str) -> None:
    with pytest.raises(PolicyMalformed, match=word) as refused:
        policy(text)
    assert refused.value.hint
    assert refused.value.exit_status == 2


@given(
    st.text(max_size=80) | st.sampled_from(["{kind=", "'best'", "[]", "1", "{kind = 'thompson', prior_strength = -1}"])
)
def test_any_text_is_a_policy_or_a_named_refusal(text: str) -> None:
    try:
        assert in_words(policy(text))
    except PolicyMalformed as refused:
        assert refused.hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", 0),
        ("7d", NOW - 7 * 86_400_000),
        ("1.5h", NOW - 5_400_000),
        ("30m", NOW - 1_800_000),
        ("999999d", 0),
        ("2026-11-01", 1_793_491_200_000),
        ("2026-11-01T01:00:00+01:00", 1_793_491_200_000),
    ],
)
def test_times_are_told_from_now_or_by_the_calendar(text: str, meant: int) -> None:
    assert since(text, NOW) == meant


@given(st.text(max_size=30) | st.from_regex(r"\d{1,9}[mhdw]?", fullmatch=True))
def test_any_text_is_a_time_or_a_named_refusal(text: str) -> None:
    try:
        assert since(text, NOW) >= 0
    except SettingsMalformed as refused:
        assert "7d" in refused.hint


def test_the_only_placement_needs_no_name() -> None:
    assert placement("", {"shelf": 3}) == "shelf"
    assert placement("shelf", {"shelf": 3, "hall": 1}) == "shelf"


@pytest.mark.parametrize(("name", "held"), [("", {}), ("", {"a": 1, "b": 2}), ("c", {"a": 1}), ("c", {})])
def test_an_unclear_placement_is_asked_back_with_what_there_is(name: str, held: dict[str, int]) -> None:
    with pytest.raises(PlacementUnknown) as refused:
        placement(name, held)
    assert all(one in refused.value.hint for one in held)


def test_without_a_policy_best_and_uniform_are_looked_at() -> None:
    assert policies("x", (), None) == ({"best": Best(), "uniform": EpsilonGreedy(epsilon=1.0)}, WINDOW_S)


def test_a_profile_brings_its_policy_its_arms_and_its_window(tmp_path: Path) -> None:
    experiment = (
        '{ kind = "threshold", minimum = 0.7 }\nexperiment = { name = "try", arms = ['
        '{ name = "a" }, { name = "b", policy = { kind = "epsilon-greedy", epsilon = 0.3 } }] }'
    )
    path = tmp_path / "next.toml"
    path.write_text(written(experiment).replace("reward_window_s = 86400.0", "reward_window_s = 60.0"))
    found, window = policies("next-pick", ("best",), path)
    assert found == {
        "best": Best(),
        "profile: threshold minimum=0.7": Threshold(minimum=0.7),
        "arm b: epsilon-greedy epsilon=0.3": EpsilonGreedy(epsilon=0.3),
    }
    assert window == 60.0
    with pytest.raises(PlacementUnknown, match="no placement `attic`"):
        policies("attic", (), path)
