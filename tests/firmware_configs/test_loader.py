"""A profile loads, or says exactly what is wrong with it."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.errors import ProfileError, ProfileInconsistent, ProfileMalformed, ProfileUnreadable
from firmware_configs.loader import load, parse

PROFILES = Path(__file__).parents[2] / "firmware_configs" / "profiles"
HOME = (PROFILES / "home-gateway.toml").read_text()
KEYS = sorted(set(re.findall(r"^([a-z_]+) =", HOME, flags=re.MULTILINE)) - {"lights"})


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_profile_loads(path: Path) -> None:
    assert load(path).profile.name == path.stem


def test_the_hash_is_of_the_meaning_not_of_the_layout() -> None:
    assert parse(HOME).hash == parse("# a comment\n" + HOME).hash
    assert parse(HOME).hash != parse(HOME.replace("epsilon = 0.1", "epsilon = 0.2")).hash


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("epsilon = 0.1", "epslion = 0.1", ["placement[0].policy.epslion", "did you mean `epsilon`?"]),
        ("lateness_s = 600.0", "latenes_s = 600.0", ["source[1].latenes_s", "did you mean `lateness_s`?"]),
        ('name = "humidity"', 'nmae = "humidity"', ["source[1].field[1].nmae", "did you mean `name`?"]),
        ("budget_ms = 50.0", 'budget_ms = "long"', ["placement[0].budget_ms", "expected `float`", "'long'"]),
        ("clip_norm = 20.0", "clip_norm = -1.0", ["egress[1].privacy.clip_norm", "> 0.0", "-1.0"]),
        ("schema = 1", "schema = 2", ["schema", "2"]),
        ("days = 90", "day = 90", ["did you mean `days`?"]),
        ('fleet = "homes"\n', "", ["device.fleet", "required and missing", "the fleet"]),
        ('kind = "best"', 'kind = "bets"', ["placement[1].policy", "'bets'"]),
    ],
)
def test_a_malformed_profile_is_told_place_expected_got_and_fix(right: str, wrong: str, said: list[str]) -> None:
    assert right in HOME
    with pytest.raises(ProfileMalformed) as caught:
        parse(HOME.replace(right, wrong, 1), "home.toml")
    assert "home.toml" in str(caught.value)
    for part in [*said, "fix:"]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("fields.light > 800.0", "fields.lihgt > 800.0", ["placement[2].rule[0].when", "lihgt", "light"]),
        ('models = ["affinity"]', 'models = ["afinity"]', ["no model `afinity`", "affinity"]),
        ('purposes = ["comfort"]', 'purposes = ["confort"]', ["no purpose `confort`", "comfort"]),
        ('source = "room"', 'source = "rooms"', ["no source `rooms`"]),
        ('actuator = "lights"', 'actuator = "lamps"', ["no actuator `lamps`"]),
        ('"user.sensor" = { days = 7 }\n', "", ["`user.sensor` has no retention"]),
        ('versions = ">=1.0,<2"', 'versions = "newest"', ["`newest` is not a version specifier"]),
        ('kind = "update"', 'kind = "metric"', ["no [[egress]] lets an update out"]),
        ('fallback = "lights-off"', 'fallback = "dark"', ["`dark` is not a candidate"]),
        ('score = "context"', 'score = "contxt"', ["no name `contxt`"]),
        ('score = "context"', 'score = "context +"', ["is not a CEL expression"]),
        ('name = "co2"', 'name = "light"', ["`light` stands 2 times"]),
        ('category = "user.behavior"', 'category = "user.location.precise"', ["forbidden by [sensitive]"]),
        ("privacy = { clip_norm = 20.0, secret_sum = true }\n", "", ["an update without [egress.privacy]"]),
        (
            "privacy = { clip_norm = 20.0, secret_sum = true }\n",
            "privacy = { clip_norm = 20.0, noise_multiplier = 1.0, epsilon_max = 2.0 }\n",
            ["one update with noise 1 costs a local ε of 10 at", "none would ever leave"],
        ),
        ('type = "text"', 'type = "text"\ntransform = { kind = "round", step = 1.0 }', ["needs a number"]),
    ],
)
def test_contradictions_are_found_and_named(right: str, wrong: str, said: list[str]) -> None:
    assert right in HOME
    with pytest.raises(ProfileInconsistent) as caught:
        parse(HOME.replace(right, wrong, 1), "home.toml")
    for part in [*said, "fix:"]:
        assert part in str(caught.value)


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ProfileInconsistent) as caught:
        parse(
            HOME.replace('actuator = "lights"', 'actuator = "x"').replace('fallback = "lights-off"', 'fallback = "y"')
        )
    assert "no actuator `x`" in str(caught.value)
    assert "`y` is not a candidate" in str(caught.value)


@pytest.mark.parametrize("key", KEYS)
def test_a_typo_in_any_key_is_answered_with_the_nearest_right_one(key: str) -> None:
    if len(key) < 4:
        pytest.skip("too short to guess")
    typo = key[:-2] + key[-1] + key[-2] if key[-1] != key[-2] else key[:-1]
    text = re.sub(rf"^{key} =", f"{typo} =", HOME, count=1, flags=re.MULTILINE)
    with pytest.raises(ProfileMalformed) as caught:
        parse(text)
    assert f"`{typo}`" in str(caught.value) or f".{typo}" in str(caught.value)
    assert f"did you mean `{key}`?" in str(caught.value)


def test_a_syntax_error_carries_line_and_column() -> None:
    with pytest.raises(ProfileUnreadable, match=r"line 2, column \d+"):
        parse("schema = 1\nname = \n")


def test_a_missing_file_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ProfileUnreadable, match=r"home-gateway\.toml\?"):
        load(PROFILES / "home-gatway.toml")


def test_a_file_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileUnreadable, match="not UTF-8"):
        load(path)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(HOME) - 1), st.sampled_from(["", "[", "]", '"', "=", "x", "0", "\n", "{", "\u00e9", "#", "-"])
)
def test_a_profile_with_any_character_changed_loads_or_is_refused_by_name(at: int, new: str) -> None:
    try:
        parse(HOME[:at] + new + HOME[at + 1 :])
    except ProfileError as error:
        assert error.hint


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(tomllib.loads(HOME))), TOML)
def test_any_value_in_any_top_key_loads_or_is_refused_by_name(key: str, value: object) -> None:
    from firmware_configs import strict
    from firmware_configs.profile import Profile

    document = tomllib.loads(HOME)
    document[key] = value
    try:
        strict.convert(document, Profile, "p", ProfileMalformed)
    except ProfileMalformed as error:
        assert error.hint
