"""What the device's page says, in words that anybody can read: choices, what is known, why something was shown.

Pure: every function reads what was found and returns sentences. Templates only place them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.decide.decision import Trail
from edge_agent.learn.earned import Earned
from edge_agent.memory.consent import Consents
from edge_agent.withheld import Withheld
from firmware_configs.looks import Look
from firmware_configs.profile import Profile, Purpose
from firmware_configs.report import wording

ITEMS_TOLD = 3
FIELDS_TOLD = 8
TIME_MS_MAX = 32_503_680_000_000
"""The year 3000, unix ms: what lies beyond is no time."""
_RUNGS = {
    "standing": "It kept what it had shown you before.",
    "cached": "It took the last choice for you again.",
    "popular": "It took what most people here like.",
    "rules": "The rules alone chose it.",
    "default": "It took the choice that is set for such a case.",
}
_WHY_NOT = {
    "stop": "A rule does not allow it.",
    "nothing": "There was nothing to choose from.",
    "actuator": "A limit for the thing to be switched does not allow it.",
    "consent": "You have not said yes to it.",
    "quiet-hours": "It was a quiet hour.",
    "cap": "You had been shown enough by then.",
    "standing": "You had been told already.",
    "reason": "There was no good reason to tell you.",
    "channels": "There was no way to reach you.",
}


_WHY = {
    **{basis: f"It is done because {words}." for basis, (words, _) in wording.BASES.items()},
    "consent": "It is done only if you say yes.",
}


class Use(Struct, frozen=True, kw_only=True):
    """One purpose, as people read it."""

    name: str
    title: str
    text: str
    why: str
    """What it rests on."""
    takes: tuple[str, ...]
    """What is collected for it, and for how long."""
    leaves: tuple[str, ...]
    """What is sent away for it."""
    asked: bool = False
    """Whether the person's word makes a difference."""
    on: bool = True
    again: bool = False
    """The text has changed since the person said yes."""


def purposes_in_words(profile: Profile) -> list[Use]:
    """What the device does with data, for anybody."""
    return [_use(profile, one) for one in profile.purpose]


def choices(profile: Profile, consents: Consents, subject: str) -> list[Use]:
    """The same for one person, with what they have said."""
    found = []
    for one in profile.purpose:
        on = consents.own_allowed((one.name,), subject)
        found.append(
            _use(profile, one, asked=one.name in consents.asked, on=on, again=one.name in consents.lapsed(subject))
        )
    return found


def _use(profile: Profile, one: Purpose, *, asked: bool = False, on: bool = True, again: bool = False) -> Use:
    fields = wording.fields_of(profile, one)
    takes = []
    for category in sorted({field.category for _, field in fields}):
        names = wording.listed(wording.field(field) for _, field in fields if field.category == category)
        kept = wording.days(profile.retention[category].days)
        takes.append(f"{capital(wording.category(category))}: {names}. Kept for {kept}.")
    leaves = [
        f"{capital(wording.KINDS[egress.kind][0])}, to {wording.KINDS[egress.kind][1]}."
        for egress in wording.leaving_for(profile, one)
    ]
    return Use(
        name=one.name,
        title=titled(one.name),
        text=one.text,
        why=_WHY[one.legal_basis],
        takes=tuple(takes),
        leaves=tuple(leaves),
        asked=asked,
        on=on,
        again=again,
    )


class Fact(Struct, frozen=True, kw_only=True):
    """One thing that is known of a person."""

    what: str
    value: str = ""
    """Empty: it is numbers that say nothing by themselves."""
    at_ms: float = 0
    """When it was heard; 0: not told."""


def facts(counted: Mapping[str, Sequence[float]], texts: Mapping[str, str]) -> list[Fact]:
    """A profile in words.

    Args:
        counted: tracker's key → its numbers.
        texts: tracker's key → its items, divided by U+001F.
    """
    return [_read(key, counted[key], texts.get(key, "")) for key in sorted(counted)]


def _read(key: str, row: Sequence[float], text: str) -> Fact:
    """A tracker in words; one that another version wrote is named, no more."""
    try:
        fact = _fact(key, row, text)
    except (ArithmeticError, IndexError, ValueError):
        return Fact(what=plain(key))
    return fact if 0 <= fact.at_ms < TIME_MS_MAX else replace(fact, at_ms=0)


def _fact(key: str, row: Sequence[float], text: str) -> Fact:
    kind, *parts = key.split(":")
    match kind, parts:
        case "last", [field]:
            return Fact(what=f"The newest {plain(field)}", value=f"{row[0]:g}", at_ms=row[1])
        case "text", [field, *_]:
            return Fact(what=f"The newest {plain(field)}", at_ms=row[1])
        case "ewma", [field, _] if row[1]:
            return Fact(what=f"The usual {plain(field)}", value=f"{row[0] / row[1]:.4g}", at_ms=row[2])
        case "since", [source]:
            return Fact(what=f"When you were last heard of: {plain(source)}", at_ms=row[0])
        case "sequence", [field, _]:
            items = [one for one in text.split("\x1f") if one]
            newest = ", ".join(reversed(items))
            return Fact(what=f"The last {len(items)} of {plain(field)}, newest first", value=newest, at_ms=max(row))
        case "count", [field, source, span]:
            times = round(sum(row[1:]))
            return Fact(what=f"How often {plain(field or source)}, in {_span(span)}", value=f"about {times}")
        case "mean", [field, span]:
            return Fact(what=f"The mean {plain(field)}, in {_span(span)}")
        case (("sliding" | "tumbling" | "session"), [take, field, source, span]):
            where = "in one visit" if kind == "session" else f"in {_span(span)}"
            return Fact(what=f"{_TAKES.get(take, capital(take))} {plain(field or source)}, {where}")
        case _:
            return Fact(what=plain(key))


_TAKES = {"count": "How often", "sum": "The sum of", "mean": "The mean", "min": "The least", "max": "The most"}


def _span(text: str) -> str:
    seconds = float(text)
    for unit, step in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * step:
            return f"the last {seconds / step:.3g} {unit}"
    return f"the last {seconds:g} seconds"


class Reason(Struct, frozen=True, kw_only=True):
    """Why something was decided, short and in full."""

    id: str
    title: str
    what: str
    at_ms: int
    lines: tuple[str, ...]
    came: tuple[str, ...]
    """What came of it."""


def reason(found: Trail, outcomes: Sequence[Earned] = ()) -> Reason:
    """A decision as the person it was for may read it."""
    return Reason(
        id=found.id,
        title=titled(found.placement),
        what=_chosen(found),
        at_ms=found.decided_ms,
        lines=tuple(line for part in (_cause, _room, _choice, _trial, _kin) for line in part(found)),
        came=tuple(_came(one, found) for one in outcomes if one.outcome),
    )


def _chosen(found: Trail) -> str:
    if len(found.items) == 1:
        return found.items[0]
    rest = len(found.items) - ITEMS_TOLD
    told = ", ".join(found.items[:ITEMS_TOLD])
    return f"{told} and {rest} more" if rest > 0 else told


def _cause(found: Trail) -> list[str]:
    told = "; ".join(f"{plain(name)} is {_value(value)}" for name, value in list(found.fields.items())[:FIELDS_TOLD])
    asked = found.trigger == "request"
    if not told:
        return ["An app or a screen asked for it." if asked else f"Just before, this came in: {plain(found.trigger)}."]
    return [
        f"An app or a screen asked for it: {told}." if asked else f"Just before, {plain(found.trigger)} said: {told}."
    ]


def _room(found: Trail) -> list[str]:
    """What there was to choose from, and what rules left out."""
    if found.candidates <= 1:
        lines = []
    elif found.eligible == found.candidates:
        lines = [f"There were {found.candidates} things to choose from."]
    else:
        lines = [f"There were {found.candidates} things to choose from, and {found.eligible} of them were allowed."]
    return lines + [sentence(f"A rule says: {rule.reason or plain(rule.name)}") for rule in found.rules]


def _choice(found: Trail) -> list[str]:
    if found.fallback:
        return [_RUNGS[found.fallback]]
    models = wording.listed(found.bundles)
    first = f"The model {models} put this one first." if models else "This one came first."
    best = next((one.item for one in found.top if one.eligible), "")
    if best and best != found.items[0]:
        return ["This one did not come first. It was tried by chance, to learn what suits you."]
    return [first]


def _trial(found: Trail) -> list[str]:
    if not found.experiment:
        return []
    return [f"Two or more ways are being compared here ({plain(found.experiment)}). You are in group {found.arm}."]


def _kin(found: Trail) -> list[str]:
    others = sorted({name for link in found.kin for name in (link.one, link.other)} - {found.subject})
    return [f"It took you and {wording.listed(others)} for one person."] if others else []


def _came(one: Earned, found: Trail) -> str:
    on = f" ({one.item})" if one.item and len(found.items) > 1 else ""
    return f"{capital(plain(one.outcome))}{on}, {_after(round((one.happened_ms - found.decided_ms) / 1_000))}."


def _after(seconds: int) -> str:
    for unit, step in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)):
        if seconds >= 2 * step:
            return f"{seconds // step} {unit} later"
    return "at once"


def nothing(placement: str, one: Withheld) -> Reason:
    """Why nothing was decided."""
    more = [sentence(one.why)] if one.why else []
    return Reason(
        id="",
        title=titled(placement),
        what="Nothing was shown",
        at_ms=one.at_ms,
        lines=(_WHY_NOT.get(one.kind, "It was held back."), *more),
        came=(),
    )


def groups(profile: Profile, found: Sequence[str]) -> list[str]:
    """The groups that a person was counted in, in words.

    Args:
        found: names, as of what was decided for them lately.
    """
    conditions = {one.name: one.when for one in profile.segment}
    lines = []
    for name in dict.fromkeys(found):
        rests = f", which means: {conditions[name]}" if conditions.get(name) else ""
        lines.append(f"{capital(plain(name))}{rests}.")
    return lines


def learned(found: Mapping[str, Any]) -> list[str]:
    """What is learned from a person here.

    Args:
        found: of `edge_agent.shell.subject.about`.
    """
    counts: dict[str, int] = {}
    for one in found["examples"]:
        counts[one["model"]] = counts.get(one["model"], 0) + 1
    lines = [f"{count} examples for the model {name}." for name, count in sorted(counts.items())]
    lines += [f"Numbers of your own in the model {name}." for name in sorted(found["personal_parameters"])]
    if found["outcomes"]:
        lines.append(f"What came of what you were shown: {len(found['outcomes'])} times.")
    if found["events"]:
        lines.append(f"{len(found['events'])} events, kept so that choices can be checked again.")
    if found["waiting_messages"]:
        lines.append(f"{len(found['waiting_messages'])} messages that wait to be sent.")
    return lines


def left(found: Mapping[str, Any]) -> list[str]:
    """What left the device, in words.

    Args:
        found: of `edge_agent.shell.subject.about`.
    """
    lines = []
    for one in found["left_the_device"]:
        what, whom = wording.KINDS.get(one["kind"], (plain(one["kind"]), one["to"]))
        times = "once" if one["entries"] == 1 else f"{one['entries']} times"
        lines.append(f"{capital(what)}, to {whom}: {times}, {size(one['bytes'])}.")
    return lines


_ROLES = {
    "owner": "who runs the device",
    "officer": "who watches over privacy",
    "engineer": "who makes it choose better",
    "operator": "who keeps it running",
}


class Looked(Struct, frozen=True, kw_only=True):
    """Somebody's looks at a person's data: one of others, or one's own of a row."""

    who: str
    what: str
    why: str
    at_ms: int
    times: int = 1


def looked(looks: Sequence[Look]) -> list[Looked]:
    """Looks as the person they are about may read them; one's own, one after the other, are told as one.

    Args:
        looks: newest first.
    """
    found: list[Looked] = []
    for one in looks:
        what = capital((one.what or one.action).removeprefix("page "))
        if one.role == "subject":
            if found and found[-1].who == _YOURSELF:
                found[-1] = replace(found[-1], what="Several pages", times=found[-1].times + 1)
                continue
            found.append(Looked(who=_YOURSELF, what=what, why="", at_ms=one.time_ms))
            continue
        whom = f"{one.who}, {_ROLES.get(one.role, 'without a role')}"
        who = whom if one.allowed else f"{one.who} wanted to, and was not let in"
        found.append(Looked(who=who, what=what, why=one.reason, at_ms=one.time_ms))
    return found


_YOURSELF = "You, on this page"


def titled(name: str) -> str:
    """A name of the profile as a heading."""
    return capital(plain(name))


def plain(name: str) -> str:
    """A name of the profile in a sentence."""
    return name.replace("-", " ").replace("_", " ")


def size(count: int) -> str:
    """Bytes as people say them, on one line."""
    return wording.size(count).replace(" ", "\N{NO-BREAK SPACE}")


def capital(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """The text as a whole sentence."""
    text = capital(text)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _value(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
