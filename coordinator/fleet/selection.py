"""Which devices are meant: `tag:site=lab`, `group:beta`, `name:home-*`, several with commas, `!` for all others."""

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from coordinator.errors import SelectionInvalid, TagInvalid
from coordinator.fleet.view import DeviceView

KINDS = ("name", "tag", "group", "class", "presence", "agent", "profile", "bundle", "learning")
HINT = "write tag:KEY=VALUE, tag:KEY, group:NAME, name:home-*, class:NAME, presence:online|offline|unknown|revoked, "
HINT += (
    "agent:VERSION, profile:HASH, bundle:NAME=VERSION or learning:STATE; join with commas; ! before one turns it around"
)
FIELDS = {"class": "device_class"}
"""Kind → field of a device, where it is called otherwise."""
WORD = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
TEXT_MAX = 2_000
YEAR_S = 366 * 86_400
SORTS = ("name", "seen", "agent", "presence", "profile")


class Term(Struct, frozen=True):
    """One condition."""

    kind: str
    key: str
    """Of a tag or bundle; else empty."""
    pattern: str | None
    """With `*` and `?`; None: any value of the key."""
    negated: bool = False

    def __str__(self) -> str:
        body = self.key + (f"={self.pattern}" if self.pattern is not None else "") if self.key else self.pattern
        return f"{'!' if self.negated else ''}{self.kind}:{body}"

    def meets(self, device: DeviceView) -> bool:
        """Whether the device is meant."""
        return self._found(device) is not self.negated

    def _found(self, device: DeviceView) -> bool:
        if self.kind in {"tag", "bundle"}:
            held = (device.tags if self.kind == "tag" else device.bundles).get(self.key)
            return held is not None and (self.pattern is None or fnmatchcase(held, self.pattern))
        field = FIELDS.get(self.kind, self.kind)
        values: Iterable[str] = device.groups if self.kind == "group" else [getattr(device, field)]
        pattern = self.pattern or ""
        if self.kind == "profile":
            return any(value.startswith(pattern) for value in values if value)
        return any(fnmatchcase(value, pattern) for value in values)


def parse(texts: Iterable[str]) -> tuple[Term, ...]:
    """Read what was given to `--where`; all terms must hold.

    Raises:
        SelectionInvalid: with the part that is wrong.
    """
    return tuple(_term(part) for text in texts for part in _parts(text))


def _parts(text: str) -> list[str]:
    if len(text) > TEXT_MAX:
        raise SelectionInvalid(f"a selection of {len(text)} characters; at most {TEXT_MAX}", hint="use a group")
    return [part.strip() for part in text.split(",")]


def _term(part: str) -> Term:
    negated = part.startswith("!")
    kind, colon, rest = part.removeprefix("!").partition(":")
    if not colon or kind not in KINDS or not rest:
        raise SelectionInvalid(f"`{part}` selects nothing", hint=HINT)
    if kind not in {"tag", "bundle"}:
        return Term(kind, "", rest, negated)
    key, equals, value = rest.partition("=")
    if not WORD.fullmatch(key) or (equals and not value):
        raise SelectionInvalid(f"`{part}`: a {kind} is written {kind}:KEY=VALUE", hint=HINT)
    return Term(kind, key, value if equals else None, negated)


def select(devices: Iterable[DeviceView], terms: Iterable[Term]) -> list[DeviceView]:
    """The devices that meet all terms, in their order."""
    held = tuple(terms)
    return [device for device in devices if all(term.meets(device) for term in held)]


def ordered(devices: Iterable[DeviceView], by: str) -> list[DeviceView]:
    """Sorted by one of `SORTS`, then by name; `seen`: the longest silent first."""
    keys: dict[str, Callable[[DeviceView], Any]] = {
        "name": lambda d: d.name,
        "seen": lambda d: d.seen_ms,
        "agent": lambda d: d.agent,
        "presence": lambda d: d.presence,
        "profile": lambda d: d.profile,
    }
    key = keys[by]
    return sorted(devices, key=lambda device: (key(device), device.name))


def tag(text: str) -> tuple[str, str | None]:
    """`key=value`, or `key-` to take it away.

    Returns:
        The key, and its value; None: it is taken away.
    Raises:
        TagInvalid: it is neither.
    """
    key, equals, value = text.partition("=")
    if not equals and key.endswith("-") and WORD.fullmatch(key[:-1]):
        return key[:-1], None
    if not equals or not WORD.fullmatch(key) or not WORD.fullmatch(value):
        raise TagInvalid(f"`{text}` is no tag", hint="write KEY=VALUE of letters, digits, . _ -; KEY- takes it away")
    return key, value


def seconds(text: str) -> float:
    """A duration such as `30m`, `24h` or `7d`, in seconds.

    Raises:
        TagInvalid: it is none, or longer than a year.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    lasts_s = int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]] if found else 0
    if not 0 < lasts_s <= YEAR_S:
        raise TagInvalid(f"`{text[:40]}` is no duration within a year", hint="write 30m, 24h or 7d")
    return float(lasts_s)


def word(text: str, what: str) -> str:
    """A name of a group.

    Raises:
        TagInvalid: it cannot be one.
    """
    if not WORD.fullmatch(text):
        raise TagInvalid(f"`{text}` cannot be {what}", hint="use at most 63 letters, digits, `.`, `_` and `-`")
    return text
