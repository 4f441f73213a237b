"""Two versions of a profile: what is more is named, what cannot be shown to be less counts as more."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs import profile as p
from firmware_configs import strict
from firmware_configs.coarseness import Comparison, compare_transforms
from firmware_configs.errors import ProfileMalformed
from firmware_configs.reference_profile import REFERENCE
from firmware_configs.rules import ALL
from firmware_configs.rules.examples import laid_over, of
from firmware_configs.widening import changes, widened


def _profile(fragment: str = "") -> p.Profile:
    return strict.convert(laid_over(fragment), p.Profile, "p", ProfileMalformed)


BASE = _profile()
UPDATE = (
    '[[egress]]\nkind = "update"\ndestination = "superlink"\npurposes = ["improve-models"]\nbytes_day_max = 1000\n'
    "k_min = 10\nprivacy = { clip_norm = 1.0, noise_multiplier = 1.0, epsilon_max = 8.0, secret_sum = true }\n"
)
WIDER = {
    "a field": (
        (
            '[[source]]\nname = "room"\n[[source.field]]\nname = "light"\ncategory = "user.sensor"\n'
            'purposes = ["comfort"]\n'
        ),
        "collects `light`",
    ),
    "a finer transform": (
        '[[source]]\nname = "room"\n[[source.field]]\nname = "co2"\ntransform = { kind = "round", step = 5.0 }\n',
        "rounded to 5",
    ),
    "another grid": (
        '[[source]]\nname = "room"\n[[source.field]]\nname = "co2"\ntransform = { kind = "round", step = 26.0 }\n',
        "rounded to 26",
    ),
    "a purpose of a field": (
        (
            '[[source]]\nname = "room"\n[[source.field]]\nname = "co2"\n'
            'purposes = ["comfort", "improve-models", "operate"]\n'
        ),
        "`operate`",
    ),
    "whom events are about": ('[[source]]\nname = "room"\nsubject = "user"\n', "`user`"),
    "another topic": ('[[source]]\nname = "room"\ntopic = "home/#"\n', "home/#"),
    "longer": ('[retention]\n"user.sensor" = { days = 8 }\n', "8 days instead of 7"),
    "not asked": (
        '[[purpose]]\nname = "comfort"\nconsent = "not-needed"\nlegal_basis = "contract"\n',
        "no longer asked",
    ),
    "shared with others": ('[[purpose]]\nname = "comfort"\nshares = true\n', "for sharing with others"),
    "more bytes": ('[[egress]]\nkind = "status"\nbytes_day_max = 2_000_000\n', "2,000,000 bytes"),
    "a new egress": (UPDATE, "an update may leave to superlink"),
    "a limit gone": ('[[actuator]]\nname = "fan"\nlimit = []\n', "not-at-night"),
    "faster": ('[[actuator]]\nname = "fan"\nper_minute_max = 3\n', "3 instead of 2"),
    "a promise gone": ("[sensitive]\nforbidden_purposes = []\n", "`advertising`"),
    "an experiment": (of("DM205").failing, "tries things out"),
}
PRIVACY = "privacy = { clip_norm = 1.0, noise_multiplier = 1.0, epsilon_max = 8.0, secret_sum = true"
LESS_PRIVATE = {
    "clip": "privacy = { clip_norm = 2.0, noise_multiplier = 1.0, epsilon_max = 8.0, secret_sum = true }",
    "noise": "privacy = { clip_norm = 1.0, noise_multiplier = 0.5, epsilon_max = 8.0, secret_sum = true }",
    "budget": "privacy = { clip_norm = 1.0, noise_multiplier = 1.0, epsilon_max = 9.0, secret_sum = true }",
    "no budget": "privacy = { clip_norm = 1.0, noise_multiplier = 1.0, secret_sum = true }",
    "delta": f"{PRIVACY}, delta = 1e-4 }}",
    "single": "privacy = { clip_norm = 1.0, noise_multiplier = 1.0, epsilon_max = 8.0 }",
    "fewer": "k_min = 9",
}


@pytest.mark.parametrize(("fragment", "said"), WIDER.values(), ids=WIDER)
def test_what_is_more_is_named(fragment: str, said: str) -> None:
    found = widened(BASE, _profile(fragment))
    assert any(said in change.what for change in found), found


@pytest.mark.parametrize(("fragment", "said"), WIDER.values(), ids=WIDER)
def test_taking_it_back_is_told_too_and_a_limit_that_comes_back_is_none(fragment: str, said: str) -> None:
    assert changes(_profile(fragment), BASE)


@pytest.mark.parametrize("line", LESS_PRIVATE.values(), ids=LESS_PRIVATE)
def test_less_privacy_of_updates_widens_and_more_narrows(line: str) -> None:
    document = laid_over(UPDATE)
    own = next(e for e in document["egress"] if e["kind"] == "update")
    own.update(strict.read_toml(line, "line", ProfileMalformed))
    weaker = strict.convert(document, p.Profile, "p", ProfileMalformed)
    assert [change.direction for change in changes(_profile(UPDATE), weaker)] == ["widens"]
    assert [change.direction for change in changes(weaker, _profile(UPDATE))] == ["narrows"]


OLD_AND_NEW = {
    "who answers": (
        '[controller]\nname = "Example Data Ltd"\n',
        "widens",
        "who answers for it: `Example Data Ltd`, before `Example homes`",
    ),
    "nobody answers": ('[controller]\nname = ""\n', "widens", "who answers for it: nothing, before `Example homes`"),
    "how to reach them": (
        '[controller]\ncontact = "new@example.org"\n',
        "changes",
        "how people reach who answers for it: `new@example.org`, before `privacy@example.org`",
    ),
    "another fleet": (
        '[device]\nfleet = "flats"\n',
        "widens",
        "the fleet that trains together: `flats`, before `homes`",
    ),
    "less memory": ("[device]\nmemory_mib_max = 64\n", "changes", "memory mib max of device: 64, before 128"),
    "children": ('[people]\nchildren = "likely"\n', "widens", "`likely`, before `none`"),
    "other people": ('[people]\ngroups = ["guests"]\n', "widens", "`guests`, before `people of the household`"),
    "an objective": (
        '[[objective]]\nname = "quick"\nindicator = "latency"\nplacement = "fan"\n',
        "changes",
        "objective `quick` is new (indicator `latency`",
    ),
    "an outcome": (
        '[[outcome]]\nname = "aired"\nsource = "room"\npurposes = ["comfort"]\ncredit = [{ placement = "fan" }]\n',
        "widens",
        "outcome `aired` is new (source `room`",
    ),
    "trying out": (
        '[[placement]]\nname = "fan"\npolicy = { kind = "epsilon-greedy", epsilon = 0.1 }\n',
        "widens",
        "policy of `fan`: epsilon-greedy, epsilon 0.1, before best",
    ),
    "a longer wait": (
        '[[placement]]\nname = "fan"\nexpiry_s = 60.0\n',
        "changes",
        "expiry in seconds of `fan`: 60, before 300",
    ),
    "another command": (
        '[[actuator]]\nname = "fan"\npayloads = { on = "FULL", off = "OFF" }\n',
        "widens",
        "on of `fan`: `FULL`, before `ON`",
    ),
    "a time to rest": (
        'maintenance = ["daily 02:00-05:00"]\n',
        "changes",
        "when updates and rounds may begin: `daily 02:00-05:00`, before nothing",
    ),
}


@pytest.mark.parametrize(("fragment", "direction", "said"), OLD_AND_NEW.values(), ids=OLD_AND_NEW)
def test_what_changes_is_told_old_and_new_and_whether_it_is_more(fragment: str, direction: str, said: str) -> None:
    (change,) = changes(BASE, _profile(fragment))
    assert change.direction == direction
    assert said in change.what


def test_a_change_beside_another_one_in_the_same_part_is_told_too() -> None:
    """A part of which something was said is not thereby settled."""
    both = '[[placement]]\nname = "fan"\nslate = 2\n[[placement]]\nname = "more"\ntrigger = { kind = "request" }\n'
    found = changes(BASE, _profile(f'{both}purposes = ["comfort"]\n'))
    assert [change.what for change in found if change.where == "placement[0].slate"] == ["slate of `fan`: 2, before 1"]


def test_an_entry_that_is_gone_hides_no_change_of_the_one_that_took_its_place() -> None:
    more = '[[placement]]\nname = "more"\ntrigger = { kind = "request" }\npurposes = ["comfort"]\n'
    old = _profile(more)
    (fan, other) = old.placement
    new = msgspec.structs.replace(old, placement=(msgspec.structs.replace(other, slate=3),))
    told = {change.what for change in changes(old, new)}
    assert told == {f"`{fan.name}` decides nothing any more", "slate of `more`: 3, before 1"}


def _leaf_paths(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [path for key, one in value.items() for path in _leaf_paths(one, (*place, key))]
    if isinstance(value, list | tuple):
        return [path for n, one in enumerate(value) for path in _leaf_paths(one, (*place, n))]
    return [place] if isinstance(value, bool | int | float) and place != ("schema",) else []


NUMBERS = _leaf_paths(msgspec.to_builtins(REFERENCE))


@given(st.sampled_from(NUMBERS), st.floats(0.001, 0.999))
def test_no_number_anywhere_in_a_profile_can_change_unsaid(path: tuple[str | int, ...], factor: float) -> None:
    document = msgspec.json.decode(msgspec.json.encode(REFERENCE))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    held = inner[path[-1]]
    inner[path[-1]] = not held if isinstance(held, bool) else type(held)(held * factor)
    try:
        other = msgspec.convert(document, p.Profile)
    except msgspec.ValidationError:
        return
    assert bool(changes(REFERENCE, other)) == (other != REFERENCE)


def test_a_profile_is_no_wider_than_itself() -> None:
    assert changes(REFERENCE, REFERENCE) == ()


@pytest.mark.parametrize("code", [rule.code for rule in ALL])
def test_two_profiles_that_differ_are_said_to_differ(code: str) -> None:
    for fragment in (of(code).failing, of(code).passing):
        other = _profile(fragment)
        if other != BASE:
            assert changes(BASE, other)
            assert changes(other, BASE)


@pytest.mark.parametrize("part", p.Profile.__struct_encode_fields__)
def test_no_part_of_a_profile_can_change_unsaid(part: str) -> None:
    plain = msgspec.to_builtins(REFERENCE)
    emptied = msgspec.to_builtins(BASE)
    if plain[part] != emptied[part]:
        plain[part] = emptied[part]
        assert changes(REFERENCE, msgspec.convert(plain, p.Profile))


transforms = st.one_of(
    st.just(p.Keep()),
    st.sampled_from([0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 5.0]).map(lambda step: p.Round(step=step)),
    st.sampled_from(["minute", "hour", "day"]).map(lambda to: p.TruncateTime(to=to)),  # type: ignore[arg-type]
    st.lists(st.integers(0, 5), min_size=1, max_size=5, unique=True).map(
        lambda edges: p.Bucket(edges=tuple(float(edge) for edge in sorted(edges)))
    ),
    st.integers(0, 3).map(lambda days: p.KeyedHash(rotate_days=days)),
    st.sampled_from([0.01, 0.02, 0.05, 0.1]).map(lambda cell: p.CoarseLocation(cell_degrees=cell)),
)


@given(transforms, transforms)
def test_of_two_transforms_at_most_one_keeps_less(one: p.Transform, other: p.Transform) -> None:
    there, back = compare_transforms(one, other), compare_transforms(other, one)
    assert (there == Comparison.SAME) == (one == other)
    assert not (there == back == Comparison.COARSER)


@given(transforms, transforms, transforms)
def test_keeping_less_is_transitive(one: p.Transform, two: p.Transform, three: p.Transform) -> None:
    if compare_transforms(one, two) == compare_transforms(two, three) == Comparison.COARSER:
        assert compare_transforms(one, three) == Comparison.COARSER


@given(st.floats(-1e4, 1e4), st.sampled_from([0.1, 0.2, 0.5, 1.0]), st.integers(2, 9))
def test_a_multiple_of_a_grid_keeps_nothing_that_the_grid_did_not(value: float, step: float, times: int) -> None:
    """Coarser means computable from what was kept before, up to the rounding of ties."""
    fine = round(value / step) * step
    coarse = step * times
    assert abs(round(fine / coarse) * coarse - round(value / coarse) * coarse) <= coarse + 1e-6
    assert compare_transforms(p.Round(step=step), p.Round(step=coarse)) == Comparison.COARSER
