"""A decision as a support person would tell it: one function a part, each a few sentences.

Every part reads the trail and says nothing where there is nothing to say. `edge-agent explain` prints them in this
order under their headings.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from edge_agent.decide.decision import Scored, Trail
from edge_agent.learn.earned import Earned
from edge_agent.sources import HOUSEHOLD
from edge_agent.withheld import Withheld

TOLD_MAX = 5
"""Candidates told with their scores."""
_EFFECTS = {
    "deny": "forbade {count}",
    "allow-only": "allowed only others and forbade {count}",
    "boost": "changed the score of {count}",
    "stop": "barred {count}, whatever else",
}
_RUNGS = {
    "standing": "what had been decided before was repeated, and no model was asked",
    "cached": "the newest choice for this subject was repeated",
    "popular": "what is popular here was taken",
    "rules": "the rules alone chose",
    "default": "the placement's fallback was taken",
}
_HELD = {
    "budget": "the exploration budget was spent",
    "floor": "the safety floor allowed no more",
    "baseline": "the baseline had to stay likely enough",
}
_BECAUSE = {
    "word": "because somebody here said so on {}",
    "login": "because of a login on {}",
    "pairing": "because they were paired on {}",
    "likely": "because of how they are used since {}",
}
_WHY_NOT = {
    "stop": "A rule forbids deciding anything.",
    "nothing": "There was nothing that could be chosen.",
    "actuator": "A limit of the actuator forbids it.",
    "consent": "There is no consent for its purposes.",
    "quiet-hours": "It was quiet hours.",
    "cap": "As much as the frequency cap allows had been decided already.",
    "standing": "Another choice stands for this person, and it was not said again.",
    "reason": "The message would have had no reason: what it rests on does not hold.",
    "channels": "No channel was open to whoever asked.",
}
Part = Callable[[Trail], list[str]]


def in_words(found: Trail, outcomes: Sequence[Earned] = (), withheld: Sequence[Withheld] = ()) -> list[str]:
    """All parts of a decision that have something to say.

    Args:
        found: the decision.
        outcomes: what came of it, oldest first.
        withheld: commands of it that were not sent.
    """
    lines = [f"Decision {found.id}"]
    for heading, part in _PARTS:
        lines += _part(heading, part(found))
    unsent = [f"The command to the actuator was held back: {_sentence(one.why)}" for one in withheld]
    lines += _part("Not sent", unsent)
    lines += _part("What came of it", [_outcome(one, found) for one in outcomes] or ["Nothing is known of that yet."])
    lines += _part("Versions", _versions(found))
    return lines


def nothing_in_words(placement: str, one: Withheld) -> list[str]:
    """Why nothing was decided, or nothing was switched."""
    whom = f" for {'the household' if one.subject == HOUSEHOLD else one.subject}" if one.subject else ""
    what = f"The command of decision {one.decision}" if one.decision else "Nothing was decided"
    held = " was not sent" if one.decision else ""
    lines = [f"{what}{held} at {placement}{whom} ({_when(one.at_ms)})."]
    lines.append(f"  {_WHY_NOT[one.kind]} {_sentence(one.why)}".rstrip())
    lines.append(f"  It was about event {one.event_id}.")
    return lines


def _part(heading: str, lines: Sequence[str]) -> list[str]:
    return [heading, *[f"  {line}" for line in lines]] if lines else []


def _what(found: Trail) -> list[str]:
    if len(found.items) == 1:
        chosen = f"{found.items[0]} was chosen at {found.placement}"
    else:
        chosen = f"{len(found.items)} items were chosen at {found.placement}, best first: {', '.join(found.items)}"
    return [f"{chosen}, {_when(found.decided_ms)}."]


def _for_whom(found: Trail) -> list[str]:
    if found.subject in {"", HOUSEHOLD}:
        return ["For the household or device itself, for nobody in particular."]
    return [
        f"For {found.subject}.",
        *(f"{belong(k.one, k.other, k.kind, k.since_ms, k.confidence)}." for k in found.kin),
    ]


def belong(one: str, other: str, kind: str, since_ms: int, confidence: float) -> str:
    """Why two subjects count as one person.

    Args:
        kind: of the link.
        since_ms: since when it holds, unix ms.
    """
    at = datetime.fromtimestamp(since_ms / 1_000, UTC)
    because = _BECAUSE[kind].format(f"{at.day} {at:%B %Y}")
    sure = "certain" if kind != "likely" else f"{confidence:.0%} sure"
    return f"{one} and {other} belong to the same person, {because} ({sure})"


def _why_now(found: Trail) -> list[str]:
    asked = "A request came in" if found.trigger == "request" else f"An event of {found.trigger} came in"
    lines = [f"{asked} ({found.event_id})."]
    if found.fields:
        told = ", ".join(f"{name} = {_short(value)}" for name, value in found.fields.items())
        lines.append(f"It said: {told}.")
    for name, row in found.features.items():
        values = ", ".join(f"{value:g}" for value in row[:12])
        lines.append(f"The model's input {name}: {values}{' …' if len(row) > 12 else ''}.")
    return lines


def _why_this(found: Trail) -> list[str]:
    lines = [f"Of {_count(found.candidates, 'candidate')}, {found.eligible} could be chosen."]
    if found.fallback:
        return [
            *lines,
            f"No policy decided it: {found.fallback_reason}.",
            f"So {_RUNGS.get(found.fallback, found.fallback)}.",
        ]
    lines += [_scored(one, found) for one in found.top[:TOLD_MAX]]
    if found.items[0] not in {scored.item for scored in found.top[:TOLD_MAX]}:
        lines.append(f"* {found.items[0]}: score {found.score:.4f} (chosen to explore)")
    return lines


def _scored(one: Scored, found: Trail) -> str:
    mark = "*" if one.item == found.items[0] else " "
    return f"{mark} {one.item}: score {one.score:.4f}{'' if one.eligible else ' (ruled out)'}"


def _rules(found: Trail) -> list[str]:
    lines = [
        f"Rule {rule.name} {_EFFECTS.get(rule.effect, rule.effect).format(count=_count(rule.items, 'candidate'))}: "
        f"{_sentence(rule.reason)}"
        for rule in found.rules
    ]
    if found.rules_untold:
        lines.append(f"{_count(found.rules_untold, 'further rule')} applied.")
    return lines


def _chance(found: Trail) -> list[str]:
    if found.fallback:
        return []
    percent = found.propensity * 100
    if found.propensity >= 1.0:
        lines = [f"Policy {found.policy}: no chance was involved."]
    else:
        lines = [f"Policy {found.policy} rolls dice: what was chosen had a chance of {percent:.4g} %."]
    best = next((one.item for one in found.top if one.eligible), "")
    if best and best != found.items[0]:
        lines.append(f"It was chosen to learn more: {best} had the better score.")
    if found.estimate or found.uncertainty:
        lines.append(f"The policy expected a reward of {found.estimate:.3f} ± {found.uncertainty:.3f}.")
    if found.held:
        lines.append(f"It explored less than it would have: {_HELD.get(found.held, found.held)}.")
    return lines


def _experiment(found: Trail) -> list[str]:
    """The arm, and how likely it was; or why there is none."""
    if found.left_out:
        return [f"No experiment: {found.left_out}."]
    if not found.experiment:
        return []
    layer = f" (layer {found.layer})" if found.layer else ""
    shares = f"shares number {found.allocation} of the coordinator" if found.allocation else "the profile's shares"
    chance = f"into which {found.arm_probability * 100:.4g} % of its people come by {shares}"
    return [f"experiment {found.experiment}{layer}: arm {found.arm}, {chance}."]


def _way_out(found: Trail) -> list[str]:
    return [f"By {found.channel}."]


def _beside(found: Trail) -> list[str]:
    lines = []
    for beside in found.shadow:
        told = beside.error or f"scored this {beside.score:.4f}, and would have chosen {beside.best}"
        lines.append(f"{beside.model} {beside.version}, which is on trial and decides nothing, {told}.")
    return lines


def _outcome(one: Earned, found: Trail) -> str:
    if not one.outcome:
        return f"{one.metric} = {one.value:g}, when its window was over."
    what = f"{one.outcome} on {one.item}" if one.item else one.outcome
    after_s = (one.happened_ms - found.decided_ms) / 1_000
    share = f"; {one.credit:.0%} of it is credited to this ({one.by})" if one.by else ""
    return f"{what}, {after_s:.0f} s later{share}: {one.metric} {one.value:g}."


def _versions(found: Trail) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in found.bundles.items()) or "none"
    return [f"Models: {versions}; profile {found.profile[:12]}."]


_PARTS: tuple[tuple[str, Part], ...] = (
    ("What was decided", _what),
    ("For whom", _for_whom),
    ("Why now", _why_now),
    ("Why this", _why_this),
    ("What the rules said", _rules),
    ("Chance", _chance),
    ("Experiment", _experiment),
    ("How it went out", _way_out),
    ("On trial", _beside),
)


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?", ")")) else f"{text}."


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
