"""The real data that bundles are built and measured on: where it lies, and rows with names.

Looked for in the folder named by EDGEWARD_DATA, then `../shared/data`, then `data/` of the repository; a
file may be plain or have `.gz` behind its name. Licences: data/README.md.
"""

import csv
import gzip
import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Literal, TextIO, cast

from msgspec import Struct

from models.errors import DatasetInvalid
from models.limits import ITEM_BYTES_MAX, RATINGS_MAX

Split = Literal["training", "test"]

_ROOT = Path(__file__).resolve().parent.parent


class Rating(Struct, frozen=True, kw_only=True):
    """One person touched one item. `time` is unix seconds; `rating` is as in the file."""

    user: str
    item: str
    rating: float
    time: float


class Impression(Struct, frozen=True, kw_only=True):
    """One item was shown: a row of the Open Bandit log."""

    user: tuple[str, ...]
    """user_feature_0 … user_feature_3, the dataset's own hashes; no id of a person."""
    item: str
    position: int
    click: int
    propensity: float
    """Probability with which the logging policy showed this item; in (0, 1]."""
    time: float


class Reading(Struct, frozen=True, kw_only=True):
    """One minute in an office. °C, % relative humidity, lux, ppm."""

    temperature: float
    humidity: float
    light: float
    co2: float
    occupied: int


_first: ContextVar[Path | None] = ContextVar("_first", default=None)


@contextmanager
def looked_for_in(folder: Path) -> Iterator[None]:
    """Within, data is looked for in `folder` before anywhere else."""
    token = _first.set(folder)
    try:
        yield
    finally:
        _first.reset(token)


def read_text(path: Path) -> str:
    """A text file, perhaps gzipped, as it is.

    Raises:
        DatasetInvalid: it cannot be read, or is not UTF-8.
    """
    try:
        with _open(path) as lines:
            return lines.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DatasetInvalid(
            f"{path} cannot be read: {error}", hint="check the path and that it is UTF-8 text"
        ) from error


def find(relative: str) -> Path | None:
    """The first place that has the file, or None."""
    named, first = os.environ.get("EDGEWARD_DATA", ""), _first.get()
    folders = [first] if first else []
    folders += [Path(named)] if named else []
    for folder in (*folders, _ROOT.parent / "shared" / "data", _ROOT / "data"):
        for path in (folder / relative, folder / f"{relative}.gz"):
            if path.is_file():
                return path
    return None


def read_ratings(path: Path) -> list[Rating]:
    """Rows `user,item,rating,time`, separated by comma, tab or `::`; a header line is skipped.

    Args:
        path: text file, UTF-8, perhaps gzipped. Ids are any text; time is unix seconds.
    Raises:
        DatasetInvalid: naming the line that is wrong, or an empty or oversized file.
    """
    return _ratings(_split(path), path)


def ratings_of(text: str, path: Path) -> list[Rating]:
    """`read_ratings` for a text at hand; `path` is what errors call it."""
    return _ratings(_fields(io.StringIO(text, newline="")), path)


def _ratings(lines: Iterable[tuple[int, list[str]]], path: Path) -> list[Rating]:
    rows: list[Rating] = []
    for number, fields in lines:
        if number == 1 and len(fields) >= 4 and not _is_number(fields[2]):
            continue
        rows.append(_rating(path, number, fields))
        if len(rows) > RATINGS_MAX:
            raise DatasetInvalid(f"{path.name} has more than {RATINGS_MAX} rows", hint="sample the people first")
    if not rows:
        raise DatasetInvalid(f"{path.name} has no rows", hint="write one `user,item,rating,time` a line")
    return rows


def read_open_bandit(
    policy: Literal["random", "bts"], campaign: str = "men", folder: Path | None = None
) -> list[Impression]:
    """The log of one policy of a campaign, oldest first.

    Args:
        policy: whose log.
        campaign: `men`, or another that is at hand: `women`, `all`.
        folder: a copy of the Open Bandit Dataset, with `random/` and `bts/`; None: where data is looked for.
    Raises:
        DatasetInvalid: the file is not there or is not the log.
    """
    name = f"open-bandit/{policy}/{campaign}.csv"
    path = _existing(name) if folder is None else folder / policy / f"{campaign}.csv"
    if not path.is_file():
        raise DatasetInvalid(f"{path} was not found", hint="name a folder that holds random/ and bts/")
    with _open(path) as lines:
        try:
            rows = [_impression(row) for row in csv.DictReader(lines)]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise DatasetInvalid(f"{name} is not the Open Bandit log: {error}", hint="see data/README.md") from error
    return sorted(rows, key=lambda row: row.time)


def read_occupancy(split: Split) -> list[Reading]:
    """The readings of one split of UCI Occupancy Detection, in the order of time.

    Raises:
        DatasetInvalid: the file is not there or has other columns.
    """
    name = f"occupancy/data{split}.txt"
    rows: list[Reading] = []
    for number, fields in _split(_existing(name)):
        try:
            temperature, humidity, light, co2, _, occupied = map(float, fields)
        except ValueError as error:
            raise DatasetInvalid(f"{name}, line {number}: {error}", hint="see data/README.md") from error
        rows.append(Reading(temperature=temperature, humidity=humidity, light=light, co2=co2, occupied=int(occupied)))
    return rows


def _existing(name: str) -> Path:
    path = find(name)
    if path is None:
        raise DatasetInvalid(f"{name} was not found", hint="set EDGEWARD_DATA to the folder that holds it")
    return path


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8", newline="")


def _split(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number (from 1) and fields of each line that is not empty."""
    try:
        with _open(path) as lines:
            yield from _fields(lines)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DatasetInvalid(
            f"{path} cannot be read: {error}", hint="check the path and that it is UTF-8 text"
        ) from error


def _fields(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip().lstrip("\ufeff")
        if text:
            separator = "::" if "::" in text else "\t" if "\t" in text else ","
            yield number, [field.strip().strip('"') for field in text.split(separator)]


def _rating(path: Path, number: int, fields: list[str]) -> Rating:
    def wrong(what: str) -> DatasetInvalid:
        return DatasetInvalid(
            f"{path.name}, line {number}: {what}", hint="write `user,item,rating,time`, time in unix seconds"
        )

    if len(fields) != 4:
        raise wrong(f"{len(fields)} fields instead of 4")
    user, item, rating, time = fields
    if not user or not (item.isprintable() and 0 < len(item.encode()) <= ITEM_BYTES_MAX):
        raise wrong(f"user or item id is empty, unprintable or above {ITEM_BYTES_MAX} bytes")
    if not _is_number(rating) or not _is_number(time):
        raise wrong(f"rating {rating!r} or time {time!r} is not a finite number")
    return Rating(user=user, item=item, rating=float(rating), time=float(time))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _impression(row: dict[str, str]) -> Impression:
    return Impression(
        user=tuple(row[f"user_feature_{index}"] for index in range(4)),
        item=row["item_id"],
        position=int(row["position"]),
        click=int(row["click"]),
        propensity=float(row["propensity_score"]),
        time=datetime.fromisoformat(row["timestamp"]).timestamp(),
    )
