"""What of a page has changed: its live parts, compared by their text.

A part is a `<section id="…" data-live>` or, within one, a `<tr id="…" data-live>`. Neither holds another of its kind,
so one expression finds them all. When only rows have changed, only those are told; when rows came, went or changed
places, the section is.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b

from msgspec import Struct

_SECTION = re.compile(r'<section id="([^"]+)" data-live.*?</section>', re.DOTALL)
_ROW = re.compile(r'<tr id="([^"]+)" data-live.*?</tr>', re.DOTALL)


class Section(Struct, frozen=True):
    """One live section."""

    html: str
    frame: str
    """The section with the names of its rows in the rows' place."""
    rows: dict[str, str]
    """Id of a live row → its HTML, in order."""


class Part(Struct, frozen=True):
    """A piece of the page that is to be put in place of the one with its id."""

    id: str
    html: str


def sections(html: str) -> dict[str, Section]:
    """The live sections of a page by id."""
    found = {}
    for one in _SECTION.finditer(html):
        whole = one[0]
        rows = {row[1]: row[0] for row in _ROW.finditer(whole)}
        found[one[1]] = Section(whole, _ROW.sub(lambda row: f"<tr {row[1]}>", whole), rows)
    return found


def changed(before: dict[str, Section], after: dict[str, Section]) -> Iterator[Part]:
    """What has to be put in place to come from one look of a page to the next.

    A section that is there in one of them only is left out: the page has another shape then, and is loaded anew.
    """
    for name, now in after.items():
        old = before.get(name)
        if old is None or old.html == now.html:
            continue
        if old.frame != now.frame:
            yield Part(name, now.html)
            continue
        yield from (Part(row, html) for row, html in now.rows.items() if old.rows[row] != html)


def reshaped(before: dict[str, Section], after: dict[str, Section]) -> bool:
    """Whether sections came or went."""
    return before.keys() != after.keys()


def digest(found: dict[str, Section]) -> str:
    """A short name of exactly this content, 16 hex digits."""
    whole = blake2b(digest_size=8)
    for name, section in sorted(found.items()):
        whole.update(f"{name}\0{section.html}\0".encode())
    return whole.hexdigest()
