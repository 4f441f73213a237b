"""For which rules does an event matter? All conditions on one value are answered by one look into a table.

Each value that rules read (a field, the hour) has a table from the cell that its value lies in to a bit vector: the
rules that this value does not make false. The vectors of all values are and-ed; what is left are the rules whose
conditions hold. The work grows with the number of values, not of rules.

Source: Lakshman and Stiliadis 1998, "High-speed policy-based packet forwarding using efficient multi-dimensional range
matching" (bit vectors per dimension); the counting algorithms of content-based publish/subscribe answer the same
question (Fabret et al. 2001, "Filtering algorithms and implementation for very fast publish/subscribe systems").
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_configs.cel.fragment import MISSING, Path, cells, constants, says
from firmware_configs.cel.tree import Node

MANY = 12
"""From so many bits on, numpy finds them faster."""
CELLS_MAX = 4_096
"""Most cells of one table: half a MiB for 1,000 rules."""


class _Table:
    """All conditions on one value."""

    __slots__ = ("everywhere", "flags", "missing", "numbers", "other", "texts", "thresholds")

    def __init__(self, conditions: Sequence[tuple[int, Node]], rules: int) -> None:
        known = {value for _, node in conditions for value in constants(node)}
        self.thresholds = sorted({float(v) for v in known if isinstance(v, int | float) and not isinstance(v, bool)})
        self.everywhere = (1 << rules) - 1
        self.numbers = self._by_cell(conditions, rules)
        texts = [value for value in known if isinstance(value, str)]
        self.texts = {text: self._of(conditions, text) for text in texts}
        # Any text that no condition names stands for all of them: texts are only ever asked whether they are the same.
        self.other = self._of(conditions, "\x00" * (1 + max(map(len, texts), default=0)))
        self.flags = {flag: self._of(conditions, flag) for flag in (False, True)}
        self.missing = self._of(conditions, MISSING)

    def _of(self, conditions: Iterable[tuple[int, Node]], value: Any) -> tuple[int, int]:
        """(rules that the value does not make false, rules that fail on it)."""
        alive, failing = self.everywhere, 0
        for rule, node in conditions:
            told = says(node, value)
            if told is False:
                alive &= ~(1 << rule)
            elif told is None:
                failing |= 1 << rule
        return alive, failing

    def _by_cell(self, conditions: Sequence[tuple[int, Node]], rules: int) -> list[tuple[int, int]]:
        count = 2 * len(self.thresholds) + 1
        alive: NDArray[np.bool_] = np.ones((count, rules), np.bool_)
        failing: NDArray[np.bool_] = np.zeros((count, rules), np.bool_)
        for rule, node in conditions:
            numbers = {float(v) for v in constants(node) if isinstance(v, int | float) and not isinstance(v, bool)}
            own = sorted(numbers)
            at = 0
            for n, value in enumerate(cells(own)):
                # Cell n of this condition reaches over all cells of the table up to its next constant.
                last = 2 * bisect_left(self.thresholds, own[n // 2]) + (n % 2) if n // 2 < len(own) else count - 1
                told = says(node, value)
                if told is False:
                    alive[at : last + 1, rule] = False
                elif told is None:
                    failing[at : last + 1, rule] = True
                at = last + 1
        return list(zip(_packed(alive), _packed(failing), strict=True))

    def look(self, value: Any) -> tuple[int, int]:
        """(rules that the value does not make false, rules that fail on it)."""
        if isinstance(value, str):
            return self.texts.get(value, self.other)
        if isinstance(value, bool):
            return self.flags[value]
        if not isinstance(value, int | float) or isnan(value):
            return self.missing
        thresholds = self.thresholds
        at = bisect_left(thresholds, value)
        return self.numbers[2 * at + (at < len(thresholds) and thresholds[at] == value)]


class RuleIndex:
    """The conditions of all rules on one value each."""

    def __init__(self, conditions: Iterable[tuple[int, Path, Node]], rules: int) -> None:
        """Build the tables.

        Args:
            conditions: (number of the rule, what it reads, the condition); a rule may have several.
            rules: how many there are.
        """
        by_path: dict[Path, list[tuple[int, Node]]] = {}
        for rule, at, node in conditions:
            by_path.setdefault(at, []).append((rule, node))
        self.everything = (1 << rules) - 1
        self._tables = [(root, name, _Table(given, rules)) for (root, name), given in by_path.items()]

    def ask(self, values: Mapping[str, Any]) -> tuple[int, int]:
        """(rules none of whose conditions is false, those of them with one that fails), as bit vectors."""
        alive, failed = self.everything, 0
        for root, name, table in self._tables:
            within = values.get(root, {}) if root else values
            holds, fails = table.look(within.get(name, MISSING))
            alive &= holds
            failed |= fails
        return alive, failed & alive


def numbers_of(vector: int) -> list[int]:
    """The numbers of the bits that are set, ascending."""
    if vector.bit_count() > MANY:
        size = (vector.bit_length() + 7) // 8
        packed = np.frombuffer(vector.to_bytes(size, "little"), np.uint8)
        numbers: list[int] = np.flatnonzero(np.unpackbits(packed, bitorder="little")).tolist()
        return numbers
    found = []
    while vector:
        low = vector & -vector
        found.append(low.bit_length() - 1)
        vector ^= low
    return found


def _packed(matrix: NDArray[np.bool_]) -> list[int]:
    """A bit vector for each row."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(matrix, axis=1, bitorder="little")]
