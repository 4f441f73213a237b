"""Designs: arms from factors, contrasts that are balanced, aliases told, and what cannot be built refused by name."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs import designs
from firmware_configs import profile as p
from firmware_configs.errors import ProfileInconsistent
from firmware_configs.loader import parse
from tests.edge_agent.experiment_house import profile


def _factor(name: str, levels: int = 2) -> p.Factor:
    return p.Factor(name=name, levels=tuple(p.Level(name=f"{name}{n}") for n in range(levels)))


def _experiment(names: str, *generators: str, levels: int = 2) -> p.Experiment:
    return p.Experiment(name="x", factors=tuple(_factor(name, levels) for name in names), generators=generators)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 4), min_size=1, max_size=4))
def test_a_full_design_has_every_combination_once(levels: list[int]) -> None:
    factors = tuple(_factor("abcd"[n], count) for n, count in enumerate(levels))
    made = designs.arms(p.Experiment(name="x", factors=factors))
    names = ["-".join(run) for run in itertools.product(*([one.name for one in f.levels] for f in factors))]
    assert [arm.name for arm in made] == names


@pytest.mark.parametrize(
    "experiment",
    [
        _experiment("abc"),
        _experiment("abcd", "d = a*b*c"),
        _experiment("abcde", "d = a*b", "e = a*c"),
        _experiment("abcdefg", "d = a*b", "e = a*c", "f = b*c", "g = a*b*c"),
        _experiment("ab", levels=3),
    ],
)
def test_contrasts_sum_to_zero_and_those_of_two_levels_are_orthogonal(experiment: p.Experiment) -> None:
    found = np.array([contrast.coefficients for contrast in designs.contrasts(experiment)])
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-12)
    if len(experiment.factors[0].levels) == 2:
        gram = found @ found.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)


def test_the_textbook_s_half_fraction_of_four_factors() -> None:
    """Box, Hunter and Hunter: 2^(4-1) with D = ABC has resolution IV and pairs of two-factor interactions."""
    experiment = _experiment("abcd", "d = a*b*c")
    assert designs.resolution(experiment) == 4
    assert designs.defining_relation(experiment) == (frozenset("abcd"),)
    aliases = {contrast.name: contrast.aliases for contrast in designs.contrasts(experiment)}
    assert aliases == {
        "a": (),
        "b": (),
        "c": (),
        "d": (),
        "a*b": ("c*d",),
        "a*c": ("b*d",),
        "a*d": ("b*c",),
    }
    told = designs.in_words(experiment)
    assert told[0].endswith("8 of 16 combinations, resolution 4; always equal: a*b*c*d")
    assert "  a*b cannot be told apart from c*d" in told


def test_a_quarter_fraction_of_five_factors_confounds_main_effects() -> None:
    experiment = _experiment("abcde", "d = a*b", "e = a*c")
    assert designs.resolution(experiment) == 3
    assert len(designs.arms(experiment)) == 8
    aliases = {contrast.name: contrast.aliases for contrast in designs.contrasts(experiment)}
    assert aliases["a"] == ("b*d", "c*e")


def test_levels_set_what_they_name_and_arms_carry_it() -> None:
    experiment = p.Experiment(
        name="x",
        factors=(
            p.Factor(name="way", levels=(p.Level(name="app"), p.Level(name="voice", channel="voice"))),
            p.Factor(name="how", levels=(p.Level(name="best"), p.Level(name="try", policy=p.EpsilonGreedy()))),
        ),
    )
    made = {arm.name: arm for arm in designs.arms(experiment)}
    assert made["voice-try"].channel == "voice"
    assert made["voice-try"].policy == p.EpsilonGreedy()
    assert made["app-best"].channel is None


def test_what_does_not_change_the_comparison_does_not_change_the_plan() -> None:
    one = _experiment("ab")
    same = p.Experiment(name="x", factors=one.factors, alpha=0.01, ends="2030-01-01T00:00Z", adaptive=None)
    assert designs.plan_hash(one) == designs.plan_hash(same)
    assert designs.plan_hash(one) != designs.plan_hash(_experiment("abc"))


BOTH = 'arms = [{ name = "a" }, { name = "b" }]'
FACTOR = '{ name = "NAME", levels = [{ name = "one" }, { name = "two" }] }'
FACTORS = ", ".join(FACTOR.replace("NAME", name) for name in ("a", "b", "c"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "either arms or factors"),
        ('arms = [{ name = "a" }]', "one arm only"),
        ('arms = [{ name = "a" }, { name = "a" }]', "arms share a name"),
        (f'{BOTH}\ncontrol = "z"', "there is no arm `z`"),
        ('arms = [{ name = "a" }, { name = "b", items = ["rum"] }]', "there is no fixed candidate `rum`"),
        ('arms = [{ name = "a" }, { name = "b", models = ["gone"] }]', "there is no model `gone`"),
        (f"factors = [{FACTORS}]\ngenerators = ['c = a']", "resolution 2"),
        (f"factors = [{FACTORS}]\ngenerators = ['nonsense']", "no generator"),
        (f"factors = [{FACTORS}]\ngenerators = ['z = a*b']", "there is no two-level factor `z`"),
        (f"factors = [{FACTORS}]\ngenerators = ['c = a*b', 'b = a*c']", "set by what is itself set"),
        (f"{BOTH}\ngenerators = ['c = a*b']", "generators without factors"),
        (
            (
                'factors = [{ name = "a", levels = [{ name = "x", slate = 1 }, { name = "y", slate = 2 }] }, '
                '{ name = "b", levels = [{ name = "x" }, { name = "y", slate = 3 }] }]'
            ),
            "both set `slate`",
        ),
        (f'{BOTH}\nmetric = [{{ name = "reward", role = "guard" }}]', "nothing is to get better"),
        (f'{BOTH}\nmetric = [{{ name = "unheard-of" }}]', "there is no metric of placement"),
        (f'{BOTH}\nmetric = [{{ name = "reward", lower = 1.0, upper = 0.0 }}]', "`upper` is not above"),
        (f'{BOTH}\nstarts = "2026-13-01T00:00Z"', "is no time"),
        (f'{BOTH}\nstarts = "2026-12-02T00:00Z"\nends = "2026-12-01T00:00Z"', "ends before it starts"),
        (f'{BOTH}\nlayer = "gone"', "there is no [[experiments.layer]] `gone`"),
        (f"{BOTH}\nposition = 0.5\nshare = 0.6", "it ends at 1.1 of its layer"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(written: str, said: str) -> None:
    with pytest.raises(ProfileInconsistent) as error:
        parse(profile(written))
    assert said in error.value.what


def test_people_are_not_measured_for_longer_than_anything_is_kept() -> None:
    with pytest.raises(ProfileInconsistent, match="nothing is kept longer than 30"):
        parse(profile().replace("window_s = 86400.0", "window_s = 8640000.0"))


def test_experiments_of_a_layer_may_not_overlap() -> None:
    text = profile().replace("[placement.experiment]", '[placement.experiment]\nlayer = "l"\nshare = 0.6')
    second = text[text.index("[[placement]]") : text.index("[[egress]]")].replace('"pick"', '"other"')
    layers = '\n[[experiments.layer]]\nname = "l"\n'
    clash = text + second.replace('"order"', '"two"').replace("share = 0.6", "share = 0.3\nposition = 0.5") + layers
    with pytest.raises(ProfileInconsistent, match="it overlaps with `order` in layer `l`"):
        parse(clash)
    assert parse(clash.replace("position = 0.5", "position = 0.6"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("abcz=* ", max_size=12), max_size=4))
def test_any_generators_give_arms_or_are_refused_by_name(written: list[str]) -> None:
    listed = ", ".join(f"'{text}'" for text in written)
    try:
        loaded = parse(profile(f"factors = [{FACTORS}]\ngenerators = [{listed}]"))
    except ProfileInconsistent as error:
        assert "generators" in error.what
        return
    experiment = loaded.profile.placement[0].experiment
    assert experiment is not None
    assert len(designs.arms(experiment)) == 8 >> len(written)
