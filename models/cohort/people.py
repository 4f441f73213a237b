"""What a generator learns from: people with their items in order, ratings, times, and who lives with whom."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.datasets import Rating, read_text
from models.errors import DatasetInvalid
from models.ranking import item_order

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
HOUSEHOLDS_MAX = 5_000_000


class People(Struct, frozen=True, kw_only=True):
    """People of one catalogue; a person's item counts once, at the newest touch, as in `models.splits`."""

    users: tuple[str, ...]
    catalogue: tuple[str, ...]
    items: tuple[I64, ...]
    """For each person rows of the catalogue, oldest first; ties in time stay in the order of the file."""
    ratings: tuple[F64, ...]
    times: tuple[F64, ...]
    """Unix seconds."""
    household: tuple[str, ...]
    """Of each person; empty: not known."""

    def only(self, chosen: Sequence[int] | I64) -> "People":
        """Some of the people, with the whole catalogue."""
        return People(
            users=tuple(self.users[n] for n in chosen),
            catalogue=self.catalogue,
            items=tuple(self.items[n] for n in chosen),
            ratings=tuple(self.ratings[n] for n in chosen),
            times=tuple(self.times[n] for n in chosen),
            household=tuple(self.household[n] for n in chosen),
        )

    def without_newest(self) -> "People":
        """Everybody without the newest item, which is what leave-one-out asks for."""
        return People(
            users=self.users,
            catalogue=self.catalogue,
            items=tuple(own[:-1] for own in self.items),
            ratings=tuple(own[:-1] for own in self.ratings),
            times=tuple(own[:-1] for own in self.times),
            household=self.household,
        )

    @property
    def interactions(self) -> int:
        """Of everybody."""
        return sum(len(own) for own in self.items)


def people_of(
    rows: Sequence[Rating], households: Mapping[str, str] | None = None, catalogue: Sequence[str] = ()
) -> People:
    """The rows by person, people and items sorted by id (numbers by value).

    Args:
        households: person → household; people who are not in it live alone.
        catalogue: items that there are; empty: those of the rows.
    Raises:
        DatasetInvalid: a row's item is in no catalogue.
    """
    named = tuple(catalogue) or tuple(sorted({row.item for row in rows}, key=item_order))
    index = {item: number for number, item in enumerate(named)}
    newest: dict[str, dict[int, tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda one: one.time):
        if row.item not in index:
            raise DatasetInvalid(f"item {row.item!r} is not in the catalogue", hint="use the ratings it was made of")
        own = newest.setdefault(row.user, {})
        own.pop(index[row.item], None)
        own[index[row.item]] = (row.rating, row.time)
    users = tuple(sorted(newest, key=item_order))
    return People(
        users=users,
        catalogue=named,
        items=tuple(np.fromiter(newest[user], np.int64) for user in users),
        ratings=tuple(np.array([one[0] for one in newest[user].values()], np.float64) for user in users),
        times=tuple(np.array([one[1] for one in newest[user].values()], np.float64) for user in users),
        household=tuple((households or {}).get(user, "") for user in users),
    )


def read_households(path: Path) -> dict[str, str]:
    """Person → household, from lines `household,user`; a header line of these words is skipped.

    Raises:
        DatasetInvalid: naming the line that is wrong, or a person in two households.
    """
    found: dict[str, str] = {}
    for number, fields in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        if not fields or (number == 1 and fields == ["household", "user"]):
            continue
        hint = "write one `household,user` a line"
        if len(fields) != 2 or not all(field.strip() for field in fields):
            raise DatasetInvalid(f"{path.name}, line {number}: not a household and a user", hint=hint)
        household, user = (field.strip() for field in fields)
        if found.get(user, household) != household:
            raise DatasetInvalid(f"{path.name}, line {number}: {user!r} lives in two households", hint=hint)
        found[user] = household
        if len(found) > HOUSEHOLDS_MAX:
            raise DatasetInvalid(f"{path.name} has more than {HOUSEHOLDS_MAX} rows", hint="sample the people first")
    return found
