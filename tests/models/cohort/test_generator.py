"""The file of a generator: the same each time, read as written, and refused when it is anything else."""

from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import archive, arrays
from models.cohort.generator import Generator, pack, unpack
from models.cohort.sampling import sample
from models.errors import DatasetInvalid, GeneratorInvalid
from tests.models.cohort.town import fitted, town


@cache
def generator() -> Generator:
    return fitted(town())


@cache
def raw() -> bytes:
    return pack(generator())


def test_the_same_people_and_seed_give_the_same_bytes() -> None:
    assert pack(fitted(town())) == raw()


def test_a_file_gives_back_what_was_written() -> None:
    again = unpack(raw(), "a file")
    assert again.card == generator().card
    assert pack(again) == raw()
    drawn, known = sample(again, 30, 1), sample(unpack(raw(), "a file"), 30, 1)
    assert all((one == other).all() for one, other in zip(drawn.items, known.items, strict=True))


def test_its_card_says_what_it_was_made_of_and_promises_nothing_that_was_not_done() -> None:
    card = generator().card
    assert (card.people, card.first, card.households) == (200, "2020-09-14", False)
    assert card.privacy.startswith("No differential privacy")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_with_one_kind_of_error(data: st.DataObject) -> None:
    damaged = bytearray(raw())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))]) if data.draw(st.booleans()) else bytes(damaged)
    if cut != raw():
        with pytest.raises(GeneratorInvalid):
            unpack(cut, "a file")


WRONG = {
    "topics": lambda a: -a,
    "week": lambda a: a * 2.0,
    "hour": lambda a: a[:, :23],
    "start": lambda a: a[::-1].copy(),
    "follower": lambda a: a + 1_000,
    "mixture": lambda a: a * 0.0,
    "rating": lambda a: a * np.float32(np.nan),
    "ways": lambda a: a.astype(np.float16),
}


@pytest.mark.parametrize("name", WRONG)
def test_parts_that_do_not_fit_together_are_refused(name: str) -> None:
    files = archive.unpack(raw(), "a file", 2)
    found = dict(arrays.unpack(files["arrays.npz"], "a file"))
    found[name] = np.ascontiguousarray(WRONG[name](found[name]))
    with pytest.raises(GeneratorInvalid, match=r"people\.cohort"):
        unpack(archive.pack({**files, "arrays.npz": arrays.pack(found)}), "people.cohort")


@pytest.mark.parametrize(
    ("key", "value"), [("alike", 2.0), ("catalogue", []), ("leaning", -1.0), ("extra", 1), ("begins", 1e300)]
)
def test_a_document_with_what_cannot_be_is_refused(key: str, value: object) -> None:
    files = archive.unpack(raw(), "a file", 2)
    document = msgspec.json.decode(files["card.json"])
    document[key] = value
    with pytest.raises(GeneratorInvalid):
        unpack(archive.pack({**files, "card.json": msgspec.json.encode(document)}), "a file")


def test_a_format_of_another_time_is_named() -> None:
    files = archive.unpack(raw(), "a file", 2)
    document = msgspec.json.decode(files["card.json"])
    document["card"]["format"] = 1
    with pytest.raises(GeneratorInvalid, match="format 1"):
        unpack(archive.pack({**files, "card.json": msgspec.json.encode(document)}), "a file")


def test_a_few_people_are_not_hidden_among_each_other() -> None:
    with pytest.raises(DatasetInvalid, match="too few"):
        fitted(town(12))
