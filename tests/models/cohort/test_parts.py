"""What a generator learns of a town whose structure is known, and what it never tells apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cohort import following, households, rhythm
from models.cohort.generator import Topics
from models.cohort.people import people_of, read_households
from models.cohort.rhythm import COUNT_BINS, count_bin, draw_count, kinds_of, sittings_of
from models.datasets import Rating
from models.errors import DatasetInvalid
from tests.models.cohort.town import EVENING, ITEMS, fitted, town


def test_what_most_people_go_on_to_is_learned() -> None:
    source = fitted(town()).source
    assert isinstance(source, Topics)
    after = source.following
    assert after.ways[1] > 0.3
    for item in range(0, 29, 7):
        own = slice(after.start[item], after.start[item + 1])
        assert after.follower[own][after.weight[own].argmax()] == item + 1


def test_a_pair_that_few_people_have_is_not_kept() -> None:
    rows = [
        Rating(user=f"u{n}", item=item, rating=1.0, time=float(t)) for n in range(30) for t, item in enumerate("abcd")
    ]
    rows += [
        Rating(user=f"v{n}", item=item, rating=1.0, time=float(t)) for n in range(2) for t, item in enumerate("dz")
    ]
    people = people_of(rows)
    found = following.fit(people, np.full(people.interactions, 0.2), 3)
    where = {item: n for n, item in enumerate(people.catalogue)}
    assert found.start[where["d"]] == found.start[where["d"] + 1]
    assert where["z"] not in found.follower


def test_nobodys_own_order_speaks_for_following() -> None:
    dice = np.random.default_rng(0)
    rows = [
        Rating(user=f"u{n}", item=f"i{item}", rating=1.0, time=float(t))
        for n in range(60)
        for t, item in enumerate(dice.permutation(300)[:40])
    ]
    people = people_of(rows)
    found = following.fit(people, np.full(people.interactions, 1 / 300), 1)
    assert found.ways[0] > 0.5, "without deleting a person's own counts, following explains everything"


def test_evenings_stay_evenings() -> None:
    found = fitted(town()).rhythm
    assert found.hour[:, EVENING].min() > 0.95


@given(st.integers(1, 4_000), st.integers(0, 2**32 - 1))
def test_a_drawn_count_lies_in_the_bin_it_was_drawn_from(count: int, seed: int) -> None:
    shares = np.zeros(COUNT_BINS)
    shares[count_bin(count)] = 1.0
    drawn = draw_count(shares, np.random.default_rng(seed))
    assert count_bin(drawn) == count_bin(count) or count == 1


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_drawn_times_rise_and_are_as_many_as_asked(count: int, seed: int) -> None:
    times = rhythm.draw_times(_rhythm(), 0, count, np.random.default_rng(seed))
    assert len(times) == count
    assert (np.diff(times) >= 0.0).all()
    assert (times == np.floor(times)).all()


def _rhythm() -> rhythm.Rhythm:
    people = town(60)
    return rhythm.fit(people, np.zeros(60, np.int64), 1)


def test_every_kind_has_many_people() -> None:
    found = kinds_of(town(90), 8, 0)
    assert np.bincount(found).min() >= rhythm.KIND_PEOPLE_MIN


def test_a_sitting_ends_with_a_long_gap() -> None:
    assert [len(one) for one in sittings_of(np.array([0.0, 10.0, 9_000.0, 9_001.0, 9_002.0]))] == [2, 3]


def test_couples_are_couples_and_alike() -> None:
    found = fitted(town(couples=True)).households
    assert found.size[1] == 1.0
    assert found.alike > 0.5
    assert fitted(town()).households.size[0] == 1.0


def test_strangers_in_one_house_are_not_alike() -> None:
    dice = np.random.default_rng(0)
    members = {f"h{n}": [2 * n, 2 * n + 1] for n in range(200)}
    assert households.likeness(members, dice.dirichlet(np.ones(5), 400)) < 0.15


@pytest.mark.parametrize(
    ("text", "said"),
    [("h1\n", "line 1"), ("household,user\nh1,\n", "line 2"), ("h1,u\nh2,u\n", "two households")],
)
def test_a_wrong_line_of_households_is_named(tmp_path: object, text: str, said: str) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "households.csv"
    path.write_text(text)
    with pytest.raises(DatasetInvalid, match=said):
        read_households(path)


@given(st.text(max_size=60))
def test_any_text_is_households_or_an_error_that_names_the_line(text: str) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "households.csv"
        path.write_text(text, encoding="utf-8", errors="surrogatepass") if text.isascii() else path.write_bytes(
            text.encode("utf-8", "ignore")
        )
        try:
            found = read_households(path)
        except DatasetInvalid as error:
            assert "line" in error.what or "cannot be read" in error.what
        else:
            assert all(found.values())


def test_the_catalogue_is_the_towns() -> None:
    assert len(town().catalogue) == ITEMS
