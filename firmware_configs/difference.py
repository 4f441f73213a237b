"""Where two versions of a profile differ, place by place, in plain words; and whether what differs is more for people.

`widening` says first what it knows to say well; whatever it has not spoken of is told here, so nothing changes unsaid.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from firmware_configs.profile import Profile

Direction = Literal["widens", "narrows", "changes"]
SHOWN_MAX: Final = 160
CHILDREN: Final = ("none", "possible", "likely")
"""From the fewest to the most that must be reckoned with; beside it, that nobody has thought about it."""
CALM: Final = frozenset({"best", "threshold"})
"""Policies that try nothing out."""
WORDS: Final = {
    "controller.name": "who answers for it",
    "controller.contact": "how people reach who answers for it",
    "controller.officer": "how people reach the data protection officer",
    "controller.authority": "where people may complain",
    "controller.country": "where the device stands",
    "device.fleet": "the fleet that trains together",
    "device.class": "the class of device",
    "people.groups": "whose data it is",
    "people.children": "whether children are among the people",
    "people.guardian": "whether who answers for a child says yes for it",
    "experiments.holdout": "share of people in no experiment",
    "maintenance": "when updates and rounds may begin",
}
TRIES_MORE: Final = re.compile(r"placement\.(policy\.epsilon|exploration\.(share|decisions|loss)_per_day)")
"""Numbers of which more means that more is tried out on people."""
WIDENING: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"device\.fleet",
        r"source\[\d+\]\.gpc",
        r"(outcome|metric|segment|view)\[\d+\](\.(when|source|purposes|value_field|paths|measure|placements|start|end|item|model)\b.*)?",
        r"placement\[\d+\]\.(trigger|delivery|experiment)\b.*",
        r"actuator\[\d+\]\.(topic|payloads|lasts_s)\b.*",
        r"experiments\.layer\b.*",
        r"theme\b.*",
    )
)
"""Places of which a change may be more for people, and cannot be shown to be less."""


class Leaf(Struct, frozen=True, kw_only=True):
    """One value that differs."""

    where: str
    name: str
    """What people call it: the named things around it, and its key in words."""
    before: Any
    after: Any
    """None: there is none."""

    def told(self) -> str:
        """Old and new, in a sentence."""
        if self.where.endswith("]") and self.before is None:
            return f"{self.name} is new ({shown(self.after)})"
        if self.where.endswith("]") and self.after is None:
            return f"{self.name} is gone"
        return f"{self.name}: {shown(self.after)}, before {shown(self.before)}"

    def direction(self) -> Direction:
        """Whether it is more for people; where nothing says so, it is a change."""
        return _judged(self.where, self.before, self.after)


def leaves(old: Profile, new: Profile) -> Iterator[Leaf]:
    """Every value that differs; entries of a list are compared by name, and whole where one of the two has none."""
    before: Mapping[str, Any] = msgspec.to_builtins(old)
    after: Mapping[str, Any] = msgspec.to_builtins(new)
    for part in Profile.__struct_encode_fields__:
        yield from _differ(part, (), before.get(part), after.get(part))


def _differ(where: str, around: tuple[str, ...], before: Any, after: Any) -> Iterator[Leaf]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict) and before.get("kind") == after.get("kind"):
        for key in dict.fromkeys((*after, *before)):
            yield from _differ(f"{where}.{key}", around, before.get(key), after.get(key))
    elif _are_named(before) and _are_named(after) and (before or after):
        yield from _entries(where, around, before, after)
    else:
        yield Leaf(where=where, name=_called(where, around), before=before, after=after)


def _entries(
    where: str, around: tuple[str, ...], before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> Iterator[Leaf]:
    was = {_name(one): one for one in before}
    for n, one in enumerate(after):
        name = _name(one)
        place, inner = f"{where}[{n}]", (*around, f"`{name}`")
        if name in was:
            yield from _differ(place, inner, was[name], one)
        else:
            yield Leaf(where=place, name=_called(where, inner), before=None, after=one)
    kept = {_name(one) for one in after}
    for n, one in enumerate(before):
        if _name(one) not in kept:
            yield Leaf(where=f"{where}[{n}]", name=_called(where, (*around, f"`{_name(one)}`")), before=one, after=None)


def _are_named(value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    names = [_name(one) for one in value if isinstance(one, dict)]
    return len(names) == len(value) and None not in names and len(set(names)) == len(names)


def _name(entry: Mapping[str, Any]) -> str | None:
    return next((str(entry[key]) for key in ("name", "item", "kind", "outcome") if key in entry), None)


def _called(where: str, around: tuple[str, ...]) -> str:
    plain = re.sub(r"\[\d+\]", "", where)
    if plain in WORDS:
        return WORDS[plain]
    part, _, key = plain.partition(".")
    if part == "retention":
        return f"how long {key.removesuffix('.days')} is kept"
    if not key:
        return f"{part} {around[-1]}" if around else f"the profile's {part}"
    last = _plain_key(key.rsplit(".", 1)[-1])
    if _is_list_entry(where, around):
        return f"{last} {around[-1]} of {' of '.join(reversed(around[:-1])) or part}"
    return f"{last} of {' of '.join(reversed(around)) or part}"


def _is_list_entry(where: str, around: tuple[str, ...]) -> bool:
    """Whether the innermost name is the entry's own; `where` is then the list's place."""
    return len(around) > where.count("[")


def _plain_key(key: str) -> str:
    """A key in words, with its unit: `expiry_s` → expiry in seconds."""
    for ending, unit in (("_s", "seconds"), ("_ms", "ms"), ("_days", "days")):
        if key.endswith(ending):
            return f"{key.removesuffix(ending).replace('_', ' ')} in {unit}"
    return key.replace("_", " ")


def shown(value: Any) -> str:
    """A value as people read it, cut where it is long."""
    if _is_nothing(value):
        return "nothing"
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:,.10g}"
        case str():
            text = f"`{value}`"
        case dict():
            head = [str(value["kind"])] if "kind" in value else []
            text = ", ".join(head + [f"{key} {shown(one)}" for key, one in value.items() if _is_said(key, one)])
        case _:
            text = ", ".join(shown(one) for one in value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"


def _is_said(key: str, value: Any) -> bool:
    return key not in {"kind", "name"} and not _is_nothing(value)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict) and not value)


def _judged(where: str, before: Any, after: Any) -> Direction:
    key = re.sub(r"\[\d+\]", "", where)
    if key in {"controller.name", "controller.country"}:
        # Another one, or nobody: to whom people's data go is not what they agreed to.
        return "widens" if before else "changes"
    if key in {"controller.contact", "controller.officer", "controller.authority"}:
        return "widens" if before and not after else "changes"
    if key == "people.children":
        if before in CHILDREN and after in CHILDREN:
            return "widens" if CHILDREN.index(after) > CHILDREN.index(before) else "narrows"
        return "widens" if before == "none" else "changes"
    if key == "people.groups":
        if not before:
            return "changes"
        return "widens" if set(after) - set(before) else "narrows"
    if key == "people.guardian":
        return "narrows" if after else "widens"
    if key == "experiments.holdout":
        return "widens" if after < before else "narrows"
    return _judged_of_entry(where, key, before, after)


def _judged_of_entry(where: str, key: str, before: Any, after: Any) -> Direction:
    if key in {"placement.policy", "placement.exploration"}:
        return "narrows" if after is None or after.get("kind") in CALM else "widens"
    if TRIES_MORE.fullmatch(key):
        return "widens" if after is None or (before is not None and after > before) else "narrows"
    if key == "egress.unlearn":
        return "widens" if after is None else "narrows"
    if key in {"placement.cap", "placement.quiet_hours"} and _is_nothing(before):
        return "narrows"
    if key in {"placement.rule", "actuator.limit"} and before is None:
        return "changes" if after.get("effect") == "boost" else "narrows"
    if any(pattern.fullmatch(where) for pattern in WIDENING):
        return "narrows" if _is_nothing(after) and before else "widens"
    return "changes"
