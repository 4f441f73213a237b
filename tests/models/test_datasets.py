"""Reading real data, and saying which line is wrong."""

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import datasets
from models.errors import DatasetInvalid

IDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
NUMBERS = st.floats(-1e9, 1e9, width=32)


def _written(folder: Path, text: str) -> Path:
    path = folder / "some.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", "\t", "::"])
def test_the_usual_separators_and_a_header_are_understood(separator: str, tmp_path: Path) -> None:
    lines = [("user", "item", "rating", "time"), ("anna", "film 7", "4.5", "12"), ("9", "x", "1", "13.5")]
    rows = datasets.read_ratings(_written(tmp_path, "\n".join(separator.join(line) for line in lines)))
    assert [(r.user, r.item, r.rating, r.time) for r in rows] == [
        ("anna", "film 7", 4.5, 12.0),
        ("9", "x", 1.0, 13.5),
    ]


@given(
    rows=st.lists(st.tuples(IDS, IDS, NUMBERS, NUMBERS), min_size=1, max_size=20),
    separator=st.sampled_from([",", "	", "::"]),
)
def test_rows_come_back_in_order(
    rows: list[tuple[str, str, float, float]], separator: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join(separator.join(map(str, row)) for row in rows)
    read = datasets.read_ratings(_written(tmp_path_factory.mktemp("ratings"), text))
    assert [(r.user, r.item, r.rating, r.time) for r in read] == rows


@given(raw=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("some.csv", "some.csv.gz"):
        path = tmp_path_factory.mktemp("ratings") / name
        path.write_bytes(raw)
        with contextlib.suppress(DatasetInvalid):
            assert datasets.read_ratings(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no rows"),
        ("1,2,3,4\n1,2,3\n", "line 2: 3 fields"),
        ("1,2,3,4\n1,2,good,4\n", "line 2: rating 'good'"),
        ("1,2,3,4\n\n1,2,3,nan\n", "line 3: rating '3' or time 'nan'"),
        ("1,2,3,4\n,2,3,4\n", "line 2: user or item id"),
        ("1,2,3,4\n1," + "x" * 200 + ",3,4\n", "above 128 bytes"),
    ],
)
def test_a_wrong_line_is_named(text: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match=word):
        datasets.read_ratings(_written(tmp_path, text))


def test_the_environment_comes_first_and_gz_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "occupancy").mkdir()
    with gzip.open(tmp_path / "occupancy" / "datatest.txt.gz", "wt") as file:
        file.write("20.5,30,400,800,0.004,1\n")
    monkeypatch.setenv("EDGEWARD_DATA", str(tmp_path))
    (row,) = datasets.read_occupancy("test")
    assert (row.temperature, row.humidity, row.light, row.co2, row.occupied) == (20.5, 30.0, 400.0, 800.0, 1)
    assert datasets.find("ml-100k/nothing.dat") is None


def test_the_shipped_data_has_the_stated_sizes() -> None:
    assert len(datasets.read_occupancy("training")) == 8_143
    assert len(datasets.read_occupancy("test")) == 2_665
    for policy, clicks in (("random", 46), ("bts", 69)):
        log = datasets.read_open_bandit(policy)
        assert (len(log), sum(row.click for row in log)) == (10_000, clicks)
        assert all(0.0 < row.propensity <= 1.0 and len(row.user) == 4 for row in log)
        assert [row.time for row in log] == sorted(row.time for row in log)


def test_a_log_with_other_columns_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open-bandit" / "random").mkdir(parents=True)
    (tmp_path / "open-bandit" / "random" / "men.csv").write_text("a,b\n1,2\n")
    monkeypatch.setenv("EDGEWARD_DATA", str(tmp_path))
    with pytest.raises(DatasetInvalid, match=r"timestamp|user_feature_0"):
        datasets.read_open_bandit("random")


def test_another_campaign_is_read_from_a_folder_of_its_own(tmp_path: Path) -> None:
    shipped = datasets.find("open-bandit/random/men.csv")
    assert shipped is not None
    (tmp_path / "random").mkdir()
    (tmp_path / "random" / "women.csv").write_text("\n".join(datasets.read_text(shipped).splitlines()[:6]) + "\n")
    assert len(datasets.read_open_bandit("random", "women", tmp_path)) == 5
    with pytest.raises(DatasetInvalid, match=r"bts.*women\.csv was not found"):
        datasets.read_open_bandit("bts", "women", tmp_path)
