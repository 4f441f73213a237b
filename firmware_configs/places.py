"""Which line of a TOML document a place such as `source[1].field[0].transform` stands on."""

import re
from collections import Counter

_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\" ]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*(\"[^\"]+\"|[A-Za-z0-9_\-]+)\s*(?:\.\s*[A-Za-z0-9_\-]+\s*)*=")


def line_of(text: str, where: str) -> int:
    """The line of a place, from 1; of the nearest table around it where the place itself is not written; else 0."""
    lines = _lines(text)
    place = where
    while place:
        if place in lines:
            return lines[place]
        place = _around(place)
    return 0


def _around(place: str) -> str:
    """One step out: `a[0].b.c` → `a[0].b` → `a[0]` → `a` → nothing."""
    if place.endswith("]"):
        return place[: place.rindex("[")]
    head, dot, _ = place.rpartition(".")
    return head if dot else ""


def _lines(text: str) -> dict[str, int]:
    """Place → line of all headers and keys. Inline tables and arrays count as their key."""
    found: dict[str, int] = {}
    times: Counter[str] = Counter()
    table, quoted = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if quoted:
            quoted = "" if line.count(quoted) % 2 else quoted
            continue
        if header := _HEADER.match(line):
            table = _placed(header.group(2), header.group(1) == "[[", times)
            found.setdefault(table, number)
            continue
        if key := _KEY.match(line):
            name = key.group(1).strip('"')
            found.setdefault(f"{table}.{name}" if table else name, number)
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                quoted = mark
    return found


def _placed(header: str, is_list: bool, times: Counter[str]) -> str:
    """`source.field` of the second source as `source[1].field[0]`."""
    place = ""
    parts = [part.strip().strip('"') for part in re.findall(r'"[^"]*"|[^.]+', header)]
    for n, part in enumerate(parts):
        place = f"{place}.{part}" if place else part
        last = n == len(parts) - 1
        if last and is_list:
            times[place] += 1
        if times[place]:
            place = f"{place}[{times[place] - 1}]"
    return place
