"""bundle.toml: what it may say."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SpecInvalid
from models.spec import (
    Constant,
    Count,
    DeviceClass,
    Ewma,
    FeatureSpec,
    HourSin,
    Input,
    ItemSequence,
    Last,
    Mean,
    OneHot,
    OthersPresent,
    Parameter,
    Spec,
    TimeSince,
    feature_fields,
    feature_names,
    parse,
    render,
    verified,
)
from models.zoo import SHIPPED
from tests.models.sample import parts


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_rendered_is_what_is_parsed(name: str) -> None:
    document, _ = parts(name)
    assert parse(render(document)) == document


EVERY_KIND = Input(
    name="features",
    dtype="float32",
    shape=(-1, 12),
    from_="features",
    features=(
        Last(field="co2"),
        Count(source="room", window_s=600),
        Mean(field="co2", window_s=600),
        Ewma(field="light", half_life_s=60),
        TimeSince(source="room", cap_s=3600),
        HourSin(),
        OneHot(field="door", values=("open", "shut")),
        OthersPresent(window_s=600, most=3),
        DeviceClass(values=("kiosk", "home-gateway")),
        Constant(value=1.0),
    ),
)


def test_every_feature_names_its_columns() -> None:
    assert feature_names(EVERY_KIND) == [
        "co2",
        "count(room,600s)",
        "mean(co2,600s)",
        "ewma(light,60s)",
        "time-since(room)",
        "hour-sin",
        "one-hot(door)=open",
        "one-hot(door)=shut",
        "others-present(600s,3)",
        "device-class=kiosk",
        "device-class=home-gateway",
        "constant(1)",
    ]
    assert feature_fields(EVERY_KIND) == ("co2", "light", "door")


@pytest.mark.parametrize(
    ("feature", "word"),
    [
        ({"kind": "others-present"}, "window_s"),
        ({"kind": "others-present", "window_s": 0}, "window_s"),
        ({"kind": "others-present", "window_s": 60, "most": 0}, "most"),
        ({"kind": "others-present", "window_s": 60, "most": 101}, "most"),
        ({"kind": "others-present", "window_s": 60, "field": "co2"}, "field"),
        ({"kind": "device-class", "values": []}, "values"),
        ({"kind": "device-class", "values": ["Not A Class"]}, "values"),
    ],
)
def test_context_that_makes_no_sense_is_refused_with_the_place(feature: dict[str, object], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(feature, FeatureSpec)


def test_others_are_told_up_to_five_unless_the_bundle_says_otherwise() -> None:
    assert msgspec.convert({"kind": "others-present", "window_s": 60}, FeatureSpec) == OthersPresent(
        window_s=60, most=5
    )


SEQUENCE = Input(
    name="recent",
    dtype="float32",
    shape=(-1, 3),
    from_="features",
    features=(ItemSequence(field="watched", length=3),),
)


def test_a_sequence_names_its_places_from_the_oldest_to_the_newest() -> None:
    assert feature_names(SEQUENCE) == ["sequence(watched)[-3]", "sequence(watched)[-2]", "sequence(watched)[-1]"]
    assert feature_fields(SEQUENCE) == ("watched",)


def _changed(**changes: object) -> Spec:
    return msgspec.structs.replace(parts("affinity")[0], files={}, **changes)


ITEM = Input(name="item", dtype="int64", shape=(-1,), from_="candidate")
WEIGHT = Parameter(name="w", shape=(2,), share="shared")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (_changed(version="1.0"), None),
        (_changed(version="1.0-beta"), "PEP 440"),
        (_changed(version="latest"), "PEP 440"),
        (_changed(parents=("v1",)), "PEP 440"),
        (_changed(parameters=(WEIGHT, WEIGHT)), "must differ"),
        (_changed(parameters=(msgspec.structs.replace(WEIGHT, name="item"),)), "must differ"),
        (_changed(parameters=(msgspec.structs.replace(WEIGHT, name="lr"),)), "may not name"),
        (_changed(inputs=(msgspec.structs.replace(ITEM, dtype="float32"),)), "int64"),
        (_changed(inputs=(EVERY_KIND,), needed_fields=("co2", "light", "door")), "catalogue"),
        (_changed(inputs=(ITEM, EVERY_KIND), needed_fields=("co2",)), r"\['door', 'light'\]"),
        (_changed(inputs=(ITEM, msgspec.structs.replace(EVERY_KIND, shape=(-1, 8)))), "the width of its features"),
        (_changed(inputs=(ITEM, msgspec.structs.replace(ITEM, name="other"))), "at most one candidate"),
        (_changed(catalogue=False), "catalogue"),
        (_changed(inputs=(ITEM, SEQUENCE), needed_fields=("watched",)), None),
        (_changed(inputs=(SEQUENCE,), needed_fields=("watched",), catalogue=False), "needs a catalogue"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(wrong: Spec, word: str | None) -> None:
    if word is None:
        assert verified(wrong) is wrong
        return
    with pytest.raises(SpecInvalid, match=word):
        verified(wrong)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("format = 1", "format = 2", "format"),
        ('task = "rank"', 'task = "sort"', r"\$\.task"),
        ("summary =", "sumary =", "sumary"),
        ('share = "personal"', 'share = "private"', r"\$\.parameters\[\d\]\.share"),
        ("batch = 64", "batch = 0", r"\$\.train\.batch"),
        ("[train]", "[train", "not TOML"),
    ],
)
def test_a_wrong_document_is_refused_with_the_place(old: str, new: str, word: str) -> None:
    text = render(parts("affinity")[0]).decode()
    assert old in text
    with pytest.raises(SpecInvalid, match=word):
        parse(text.replace(old, new).encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_by_name(raw: bytes) -> None:
    with pytest.raises(SpecInvalid):
        parse(raw)


def test_a_document_without_end_is_refused_unread() -> None:
    with pytest.raises(SpecInvalid, match="bytes"):
        parse(b"#" * 300_000)
