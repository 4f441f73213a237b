"""What a new version of a profile changes for people: what more, for what, how long, to where.

Each change widens (more is collected, kept, decided, sent or switched), narrows, or is neither. Where it cannot be
shown that a change narrows or leaves things as they are, it counts as widening.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

from firmware_configs.coarseness import Comparison, compare_transforms, told
from firmware_configs.difference import Direction, Leaf, leaves
from firmware_configs.profile import (
    Egress,
    Identity,
    Model,
    Placement,
    Privacy,
    Profile,
    Purpose,
    Source,
    SourceField,
    Subgroups,
)
from firmware_configs.shown import counted

T = TypeVar("T")


class Change(Struct, frozen=True, kw_only=True):
    """One difference between two versions."""

    direction: Direction
    where: str
    """Place in the new document; in the old one where it is gone."""
    what: str


def changes(old: Profile, new: Profile) -> tuple[Change, ...]:
    """Everything that differs, in the order of the document. Two profiles that differ have at least one."""
    differing = tuple(leaves(old, new))
    found = [
        *_sources(old, new),
        *_retention(old, new),
        *_purposes(old, new),
        *_models(old, new),
        *_placements(old, new, differing),
        *_egress(old, new),
        *_actuators(old, new),
        *_drift(old, new),
        *_identity(old.identity, new.identity, differing),
        *_reach(old, new, differing),
        *_promises(old, new),
    ]
    return (*found, *_others(differing, found))


def widened(old: Profile, new: Profile) -> tuple[Change, ...]:
    """The changes that need somebody's approval."""
    return tuple(change for change in changes(old, new) if change.direction == "widens")


def _wide(where: str, what: str) -> Change:
    return Change(direction="widens", where=where, what=what)


def _narrow(where: str, what: str) -> Change:
    return Change(direction="narrows", where=where, what=what)


def _plain(where: str, what: str) -> Change:
    return Change(direction="changes", where=where, what=what)


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _more(where: str, what: str, before: float, after: float, unit: str = "") -> Iterator[Change]:
    """A number of which more is worse for people."""
    if before != after:
        text = f"{what}: {after:,.10g}{unit} instead of {before:,.10g}{unit}"
        yield _wide(where, text) if after > before else _narrow(where, text)


def _added(where: str, what: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    """A list of which more is worse for people."""
    if more := [one for one in after if one not in before]:
        yield _wide(where, f"{what} also {_listed(more)}")
    if less := [one for one in before if one not in after]:
        yield _narrow(where, f"{what} no longer {_listed(less)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _matched(old: Sequence[T], new: Sequence[T], name: Callable[[T], str]) -> Iterator[tuple[int, T | None, T | None]]:
    """(place in the new list, or in the old one where it is gone; old; new)."""
    before = {name(one): one for one in old}
    for n, one in enumerate(new):
        yield n, before.get(name(one)), one
    kept = {name(one) for one in new}
    for n, one in enumerate(old):
        if name(one) not in kept:
            yield n, one, None


def _sources(old: Profile, new: Profile) -> Iterator[Change]:
    for n, before, after in _matched(old.source, new.source, lambda source: source.name):
        where = f"source[{n}]"
        if after is None or before is None:
            yield from _whole_source(before, after, where, new)
            continue
        if before.topic != after.topic:
            yield _wide(f"{where}.topic", f"`{after.name}` listens to `{after.topic}` instead of `{before.topic}`")
        if before.subject != after.subject:
            what = f"events of `{after.name}` are told apart by `{after.subject or 'nothing'}`"
            now = f"{what}, before by `{before.subject or 'nothing'}`"
            yield _wide(f"{where}.subject", now) if after.subject else _narrow(f"{where}.subject", now)
        if before.late != after.late:
            text = f"late events of `{after.name}`: {after.late}, before {before.late}"
            yield (_wide if after.late == "side" else _plain)(f"{where}.late", text)
        for m, was, now_is in _matched(before.field, after.field, lambda field: field.name):
            yield from _field(after, was, now_is, f"{where}.field[{m}]", new)


def _whole_source(before: Source | None, after: Source | None, where: str, new: Profile) -> Iterator[Change]:
    if after is not None:
        whom = f"about each `{after.subject}`" if after.subject else "about the household or the device as a whole"
        yield _wide(where, f"listens to `{after.topic}`, {whom}")
        for m, field in enumerate(after.field):
            yield from _field(after, None, field, f"{where}.field[{m}]", new)
    elif before is not None:
        yield _narrow(where, f"no longer listens to `{before.topic}`")


def _field(
    source: Source, before: SourceField | None, after: SourceField | None, where: str, new: Profile
) -> Iterator[Change]:
    if after is None:
        if before is not None:
            yield _narrow(where, f"no longer collects `{before.name}` from `{source.name}`")
        return
    if before is None:
        kept = new.retention[after.category].days if after.category in new.retention else 0.0
        whom = f"of each `{source.subject}`" if source.subject else "of the household or the device as a whole"
        yield _wide(
            where,
            f"collects `{after.name}` ({after.category}, {told(after.transform)}) {whom} from `{source.name}`, for "
            f"{_listed(after.purposes)}, kept {kept:g} days",
        )
        return
    name = after.name
    yield from _added(f"{where}.purposes", f"`{name}` serves", before.purposes, after.purposes)
    comparison = compare_transforms(before.transform, after.transform)
    if comparison != Comparison.SAME:
        text = f"`{name}` is kept {told(after.transform)}, before {told(before.transform)}"
        yield (
            _narrow(f"{where}.transform", text)
            if comparison == Comparison.COARSER
            else _wide(f"{where}.transform", text)
        )
    if (before.path or before.name) != (after.path or after.name):
        text = f"`{name}` is read from `{after.path or name}`, before from `{before.path or name}`"
        yield _wide(f"{where}.path", text)
    if before.category != after.category:
        yield _wide(f"{where}.category", f"`{name}` is called {after.category}, before {before.category}")


def _retention(old: Profile, new: Profile) -> Iterator[Change]:
    for category, after in new.retention.items():
        before = old.retention.get(category)
        if before is not None:
            yield from _more(f"retention.{category}", f"{category} is kept", before.days, after.days, " days")


def _purposes(old: Profile, new: Profile) -> Iterator[Change]:
    for n, before, after in _matched(old.purpose, new.purpose, lambda purpose: purpose.name):
        where = f"purpose[{n}]"
        if after is None:
            if before is not None:
                yield _narrow(where, f"the purpose `{before.name}` is gone")
            continue
        if before is None:
            asked = "people are asked" if after.consent == "required" else "people are not asked"
            yield _wide(where, f"a new purpose `{after.name}` ({after.legal_basis}; {asked}): “{after.text}”")
            continue
        yield from _purpose(before, after, where)


def _purpose(before: Purpose, after: Purpose, where: str) -> Iterator[Change]:
    if before.consent != after.consent:
        if after.consent == "required":
            yield _narrow(f"{where}.consent", f"people are asked for `{after.name}` now")
        else:
            yield _wide(f"{where}.consent", f"people are no longer asked for `{after.name}`")
    if before.legal_basis != after.legal_basis:
        text = f"`{after.name}` rests on {after.legal_basis}, before on {before.legal_basis}"
        yield (_plain if after.legal_basis == "consent" else _wide)(f"{where}.legal_basis", text)
    if before.shares != after.shares:
        text = f"`{after.name}` {'is for sharing with others' if after.shares else 'is for sharing no more'} now"
        yield (_wide if after.shares else _narrow)(f"{where}.shares", text)
    if before.text != after.text:
        yield _plain(f"{where}.text", f"people read another text for `{after.name}`: “{after.text}”")


def _models(old: Profile, new: Profile) -> Iterator[Change]:
    for n, before, after in _matched(old.model, new.model, lambda model: model.name):
        where = f"model[{n}]"
        if after is None:
            if before is not None:
                yield _narrow(where, f"no longer computes `{before.name}`")
            continue
        if before is None:
            yield _wide(where, f"computes `{after.name}` for {_listed(after.purposes)}")
        yield from _model(
            before or Model(name=after.name, versions=after.versions, purposes=after.purposes), after, where
        )


def _model(before: Model, after: Model, where: str) -> Iterator[Change]:
    yield from _added(f"{where}.purposes", f"`{after.name}` serves", before.purposes, after.purposes)
    if before.federated != after.federated:
        text = f"`{after.name}` {'learns together with other devices' if after.federated else 'learns alone'} now"
        yield (_wide if after.federated else _narrow)(f"{where}.federated", text)
    if before.subgroups != after.subgroups:
        yield from _subgroups(before.subgroups, after.subgroups, after.name, f"{where}.subgroups")
    what = f"examples of `{after.name}` that are kept"
    yield from _more(f"{where}.examples_max", what, before.examples_max, after.examples_max)
    if more := [learn for learn in after.learn if learn not in before.learn]:
        yield _wide(f"{where}.learn", f"`{after.name}` learns from events of {_listed([one.source for one in more])}")


def _subgroups(before: Subgroups | None, after: Subgroups | None, model: str, where: str) -> Iterator[Change]:
    if after is None:
        yield _wide(where, f"nobody watches any more whether `{model}` serves some people worse")
        return
    names = before.segments if before is not None else ()
    yield from _added(f"{where}.segments", f"devices count how `{model}` serves", names, after.segments)
    for key, what in (("auc_gap_max", "AUC"), ("calibration_gap_max", "calibration"), ("exposure_gap_max", "exposure")):
        if before is not None:
            told = f"gap in {what} between groups that `{model}` may have"
            yield from _more(f"{where}.{key}", told, getattr(before, key), getattr(after, key))


def _placements(old: Profile, new: Profile, differing: Sequence[Leaf]) -> Iterator[Change]:
    for n, before, after in _matched(old.placement, new.placement, lambda place: place.name):
        where = f"placement[{n}]"
        if after is None:
            if before is not None:
                yield _narrow(where, f"`{before.name}` decides nothing any more")
        elif before is None:
            acts = f", and switches `{after.actuator}`" if after.actuator else ""
            yield _wide(where, f"`{after.name}` decides something about people, for {_listed(after.purposes)}{acts}")
        else:
            yield from _placement(before, after, where, differing)


def _placement(before: Placement, after: Placement, where: str, differing: Sequence[Leaf]) -> Iterator[Change]:
    yield from _added(f"{where}.purposes", f"`{after.name}` serves", before.purposes, after.purposes)
    if after.experiment is not None and before.experiment is None:
        yield _wide(f"{where}.experiment", f"`{after.name}` tries things out on people: {after.experiment.name}")
    if before.experiment is not None and after.experiment is None:
        yield _narrow(f"{where}.experiment", f"`{after.name}` tries nothing out on people any more")
    if before.actuator != after.actuator:
        text = f"`{after.name}` switches `{after.actuator or 'nothing'}`, before `{before.actuator or 'nothing'}`"
        yield (_wide if after.actuator else _narrow)(f"{where}.actuator", text)
    gone = [rule for rule in before.rule if rule not in after.rule and rule.effect != "boost"]
    if gone:
        names = _listed([rule.name for rule in gone])
        yield _wide(f"{where}.rule", f"at `{after.name}`, rules that forbade something are gone or changed: {names}")
    if (before.quiet_hours is not None or before.cap) and (before.quiet_hours, before.cap) != (
        after.quiet_hours,
        after.cap,
    ):
        parts = (_told(differing, f"{where}.{part}") for part in ("cap", "quiet_hours"))
        how = "; ".join(part for part in parts if part)
        yield _wide(f"{where}.cap", f"how often and when `{after.name}` decides ({how})")


def _egress(old: Profile, new: Profile) -> Iterator[Change]:
    for n, before, after in _matched(old.egress, new.egress, lambda egress: egress.kind):
        where = f"egress[{n}]"
        if after is None:
            if before is not None:
                yield _narrow(where, f"no {before.kind} leaves any more")
            continue
        if before is None:
            least = f", read only over {after.k_min} devices" if after.k_min > 1 else ""
            what = f"{_a(after.kind)} may leave to {after.destination}, for {_listed(after.purposes)}"
            yield _wide(where, f"{what}, at most {after.bytes_day_max:,} bytes a day{least}")
            continue
        yield from _one_egress(before, after, where)


def _one_egress(before: Egress, after: Egress, where: str) -> Iterator[Change]:
    kind = after.kind
    yield from _added(f"{where}.purposes", f"what leaves as {kind} serves", before.purposes, after.purposes)
    yield from _added(f"{where}.fields", f"the text of {_a(kind)} carries", before.fields, after.fields)
    what = f"what may leave as {kind}"
    yield from _more(f"{where}.bytes_day_max", what, before.bytes_day_max, after.bytes_day_max, " bytes a day")
    if before.k_min != after.k_min:
        now, was = (f"{counted(k, 'device')}{' or more' if k > 1 else ''}" for k in (after.k_min, before.k_min))
        text = f"{_a(kind)} is read over {now}, before over {was}"
        yield (_wide if after.k_min < before.k_min else _narrow)(f"{where}.k_min", text)
    if before.destination != after.destination:
        yield _wide(f"{where}.destination", f"{_a(kind)} goes to {after.destination}, before to {before.destination}")
    yield from _privacy(before.privacy, after.privacy, f"{where}.privacy", kind)


def _privacy(before: Privacy | None, after: Privacy | None, where: str, kind: str) -> Iterator[Change]:
    if before == after:
        return
    if after is None:
        yield _wide(where, f"{_a(kind)} leaves without bound on what it tells of one device")
        return
    if before is None:
        yield _narrow(where, f"{_a(kind)} is clipped to norm {after.clip_norm:g} now")
        return
    unlimited = float("inf")
    yield from _more(f"{where}.clip_norm", f"norm of {_a(kind)}", before.clip_norm, after.clip_norm)
    if before.noise_multiplier != after.noise_multiplier:
        text = f"noise on {_a(kind)}: {after.noise_multiplier:g}, before {before.noise_multiplier:g}"
        less = after.noise_multiplier < before.noise_multiplier
        yield (_wide if less else _narrow)(f"{where}.noise_multiplier", text)
    yield from _more(f"{where}.delta", f"δ of {_a(kind)}", before.delta, after.delta)
    yield from _more(
        f"{where}.epsilon_max",
        f"ε that may be spent on {_a(kind)}",
        unlimited if before.epsilon_max is None else before.epsilon_max,
        unlimited if after.epsilon_max is None else after.epsilon_max,
    )
    if before.secret_sum != after.secret_sum:
        text = f"{_a(kind)} {'leaves only in a secret sum' if after.secret_sum else 'may be seen by itself'} now"
        yield (_narrow if after.secret_sum else _wide)(f"{where}.secret_sum", text)
    if before.population != after.population:
        text = f"{_a(kind)} counts as part of `{after.population or 'any'}`, before of `{before.population or 'any'}`"
        yield _wide(f"{where}.population", text)
    if before.unit != after.unit:
        yield _wide(f"{where}.unit", f"the promise on {_a(kind)} is for one {after.unit}, before for one {before.unit}")


def _actuators(old: Profile, new: Profile) -> Iterator[Change]:
    for n, before, after in _matched(old.actuator, new.actuator, lambda actuator: actuator.name):
        where = f"actuator[{n}]"
        if after is None:
            if before is not None:
                yield _narrow(where, f"`{before.name}` is switched no more")
            continue
        if before is None:
            yield _wide(where, f"may switch `{after.name}` ({', '.join(after.payloads)})")
            continue
        yield from _added(
            f"{where}.payloads", f"`{after.name}` may be told", list(before.payloads), list(after.payloads)
        )
        what = f"times a minute that `{after.name}` may switch"
        yield from _more(f"{where}.per_minute_max", what, before.per_minute_max, after.per_minute_max)
        if gone := [limit for limit in before.limit if limit not in after.limit]:
            names = _listed([limit.name for limit in gone])
            yield _wide(f"{where}.limit", f"limits of `{after.name}` are gone or changed: {names}")


def _identity(before: Identity | None, after: Identity | None, differing: Sequence[Leaf]) -> Iterator[Change]:
    if before == after:
        return
    if after is None:
        yield _narrow("identity", "people are no longer recognised across devices and accounts")
    elif before is None:
        yield _wide("identity", f"people are recognised across devices and accounts, for {_listed(after.purposes)}")
    else:
        how = _told(differing, "identity")
        yield _wide("identity", f"people are recognised across devices and accounts in another way ({how})")


def _reach(old: Profile, new: Profile, differing: Sequence[Leaf]) -> Iterator[Change]:
    for n, before, after in _matched(old.channel, new.channel, lambda channel: channel.name):
        where = f"channel[{n}]"
        if after is None:
            if before is not None:
                yield _narrow(where, f"nobody is reached by `{before.name}` any more")
        elif before is None:
            yield _wide(where, f"people may be reached by `{after.name}` ({after.kind})")
        elif before != after:
            yield _wide(where, f"`{after.name}` reaches people in another way ({_told(differing, where)})")
    if old.contact != new.contact:
        yield _wide("contact", f"people may be reached at other times or more often ({_told(differing, 'contact')})")


def _promises(old: Profile, new: Profile) -> Iterator[Change]:
    pairs = (
        ("forbidden_categories", "collected", old.sensitive.forbidden_categories, new.sensitive.forbidden_categories),
        ("forbidden_purposes", "done", old.sensitive.forbidden_purposes, new.sensitive.forbidden_purposes),
    )
    for key, word, before, after in pairs:
        if gone := [one for one in before if one not in after]:
            yield _wide(f"sensitive.{key}", f"{_listed(gone)} may be {word}, which was forbidden")
        if more := [one for one in after if one not in before]:
            yield _narrow(f"sensitive.{key}", f"{_listed(more)} is forbidden now")
    if old.people.guardian and not new.people.guardian:
        yield _wide("people.guardian", "children may say yes for themselves")


def _drift(old: Profile, new: Profile) -> Iterator[Change]:
    """A detector is told of or not; what else changes of it stays on the device, and is not said here."""
    for n, before, after in _matched(old.drift, new.drift, lambda detector: detector.name):
        was, now = before is not None and before.fleet, after is not None and after.fleet
        name = after.name if after is not None else before.name if before is not None else ""
        if now and (not was or before != after):
            yield _wide(f"drift[{n}].fleet", f"what detector `{name}` counts is added up over the fleet")
        elif was and not now:
            yield _narrow(f"drift[{n}].fleet", f"what detector `{name}` counts stays on the device")


def _others(differing: Sequence[Leaf], found: Sequence[Change]) -> Iterator[Change]:
    """Whatever differs and nothing was said of, old and new."""
    said = [change.where for change in found if not _is_gone(change)]
    gone = {(change.where, change.what) for change in found if _is_gone(change)}
    for leaf in differing:
        if leaf.after is None and any(where == leaf.where for where, _ in gone):
            continue
        if not any(_is_within(leaf.where, where) or _is_within(where, leaf.where) for where in said):
            yield Change(direction=leaf.direction(), where=leaf.where, what=leaf.told())


def _is_gone(change: Change) -> bool:
    """Whether it tells of an entry of the old document, whose place may be another's in the new one."""
    return change.direction == "narrows" and change.where.endswith("]")


def _is_within(place: str, around: str) -> bool:
    return place == around or place.startswith((f"{around}.", f"{around}["))


def _told(differing: Sequence[Leaf], where: str) -> str:
    """What differs in one place, old and new, in one sentence."""
    return "; ".join(leaf.told() for leaf in differing if _is_within(leaf.where, where))
