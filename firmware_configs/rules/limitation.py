"""DM117: whether what was collected for one purpose is used for another. By derived lineage, so nothing hides."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from firmware_configs.lineage import ALERT, Step
from firmware_configs.profile import Profile
from firmware_configs.rules.rule import AuditRule, Case, Where

ENDS: Final = ("placement ", "outcome ", "metric ", "identity", "egress ", "actuator ", "channel ", "contact")
"""Where the walk ends: what lies behind is a decision or a figure, for which people are asked by its own purposes."""


class Use(Struct, frozen=True):
    """Something of the profile that reads fields, and what for."""

    where: str
    told: str
    purposes: frozenset[str]
    shared: bool = False
    """It serves several things, each with purposes of its own: one of them is enough to read a field."""


def uses(profile: Profile) -> dict[str, Use]:
    """Name in the lineage → the use; identity, segments and views have no purposes to compare here."""
    return dict((*_with_own(profile), *_shared(profile)))


def _with_own(profile: Profile) -> Iterator[tuple[str, Use]]:
    for n, model in enumerate(profile.model):
        own = frozenset(model.purposes)
        yield f"model {model.name}", Use(f"model[{n}].purposes", f"model `{model.name}`", own)
        yield f"examples of {model.name}", Use(f"model[{n}].learn", f"learning of `{model.name}`", own)
    declared = [("placement", n, one.name, one.purposes) for n, one in enumerate(profile.placement)]
    declared += [("outcome", n, one.name, one.purposes) for n, one in enumerate(profile.outcome)]
    declared += [("metric", n, one.name, one.purposes) for n, one in enumerate(profile.metric)]
    for kind, n, name, purposes in declared:
        yield f"{kind} {name}", Use(f"{kind}[{n}].purposes", f"{kind} `{name}`", frozenset(purposes))


def _shared(profile: Profile) -> Iterator[tuple[str, Use]]:
    for n, actuator in enumerate(profile.actuator):
        own = frozenset(p for one in profile.placement if one.actuator == actuator.name for p in one.purposes)
        yield f"actuator {actuator.name}", Use(f"actuator[{n}].limit", f"a limit of `{actuator.name}`", own, True)
    for n, channel in enumerate(profile.channel):
        carried = [one for one in profile.placement if one.delivery and channel.name in one.delivery.channels]
        own = frozenset(p for one in carried for p in one.purposes)
        told = f"do-not-disturb of `{channel.name}`"
        yield f"channel {channel.name}", Use(f"channel[{n}].do_not_disturb", told, own, True)
    reached = frozenset(p for one in profile.placement if one.delivery for p in one.purposes)
    yield "contact", Use("contact.zone_field", "the time zone of contact", reached, True)
    for n, egress in enumerate(profile.egress):
        name = f"egress {egress.kind} → {egress.destination}"
        yield name, Use(f"egress[{n}].purposes", f"what leaves as {egress.kind}", frozenset(egress.purposes), True)


def _other_purpose(case: Case) -> Iterator[Where]:
    declared = uses(case.profile)
    collected = {field.name: frozenset(field.purposes) for _, _, field in case.fields()}
    steps = _sure(case, collected)
    reached = {name: _reached(f"field {name}", steps) for name in collected}
    for name, use in declared.items():
        beyond: dict[frozenset[str], list[str]] = {}
        for field, given in collected.items():
            more = use.purposes - given
            if name in reached[field] and more and (not use.shared or more == use.purposes):
                beyond.setdefault(more, []).append(field)
        for more, fields in beyond.items():
            was = sorted({purpose for one in fields for purpose in collected[one]})
            what = f"{use.told} uses {_listed(fields)} for {_listed(sorted(more))}; collected only for {_listed(was)}"
            yield use.where, what, "let it serve what they are collected for, or name the purpose at the fields too"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _reached(name: str, steps: tuple[Step, ...]) -> set[str]:
    """What a field reaches without passing a decision or a figure."""
    reached, left = {name}, [name]
    while left:
        at = left.pop()
        if at.startswith(ENDS):
            continue
        for step in steps:
            if step.source == at and step.target not in reached:
                reached.add(step.target)
                left.append(step.target)
    return reached


def _sure(case: Case, collected: Mapping[str, frozenset[str]]) -> tuple[Step, ...]:
    """The arrows, without those to alerts, and those that are only assumed, for a bundle is not at hand.


    A model reads something: if none of the fields it may read is for all of its purposes, one of them is misused.
    """
    innocent = set()
    for model in case.profile.model:
        target = f"model {model.name}"
        assumed = [step for step in case.lineage.steps if step.target == target and step.how == "assumed"]
        if any(set(model.purposes) <= collected[step.source.removeprefix("field ")] for step in assumed):
            innocent.update(assumed)
    return tuple(step for step in case.lineage.steps if step not in innocent and not step.target.startswith(ALERT))


RULES = (
    AuditRule(
        code="DM117",
        level="error",
        title="Used for another purpose",
        why="People agreed to one thing. What was collected for it must not serve another that they were not told of.",
        check=_other_purpose,
        law="GDPR Art. 5 (1) b",
    ),
)
