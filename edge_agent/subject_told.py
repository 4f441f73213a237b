"""What a device knows about somebody, in plain words."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DECISIONS_TOLD = 10
"""The newest; the export has them all."""
FOR_GOOD = (
    "Not shown, for it is counted for everybody together and names nobody: bandit arms, experiments, metrics, models."
)


def in_words(found: Mapping[str, Any]) -> list[str]:
    """Lines for `edge-agent subject show`.

    Args:
        found: of `edge_agent.shell.subject.about`.
    """
    lines = [f"What this device knows about {found['subject']}"]
    for part in (_consent, _profile, _fields, _linked, _decisions, _learned, _others, _out):
        lines += part(found)
    return [*lines, FOR_GOOD]


def _consent(found: Mapping[str, Any]) -> list[str]:
    word = found["consent"]
    if not word:
        return ["Consent: nothing was said."]
    said = [f"{'yes' if granted else 'no'} to {name}" for name, granted in sorted(word["purposes"].items())]
    return [f"Consent: {', '.join(said) or 'to nothing'}; last said on {_day(word['time_ms'])}."]


def _profile(found: Mapping[str, Any]) -> list[str]:
    profile = found["profile"]
    if not profile:
        return ["Profile: none."]
    if "unreadable_bytes" in profile:
        return [f"Profile: {profile['unreadable_bytes']} bytes that this version cannot read."]
    numbers = sum(len(row) for row in profile["counted"].values())
    lines = [f"Profile: last heard of on {_day(profile['newest_ms'])}; {numbers} numbers, counted from events:"]
    return (
        lines + [f"  {name}" for name in sorted(profile["counted"])] + [f"  {name} (text)" for name in profile["texts"]]
    )


def _fields(found: Mapping[str, Any]) -> list[str]:
    held = found["held_fields"]
    return ["Last heard:"] * bool(held) + [
        f"  {name} = {one['value']} ({_day(one['time_ms'])}; can be put right with `rectify`)"
        for name, one in held.items()
    ]


def _linked(found: Mapping[str, Any]) -> list[str]:
    others = sorted({name for one in found["linked"] for name in one["with"]})
    return [f"Compared with, as perhaps the same person: {', '.join(others)}; why: `edge-agent people show`."] * bool(
        others
    )


def _decisions(found: Mapping[str, Any]) -> list[str]:
    made = found["decisions"]
    if not made:
        return ["Decisions: none."]
    counts = Counter(one["placement"] for one in made)
    lines = [
        "Decisions: " + ", ".join(f"{count} of {name}" for name, count in sorted(counts.items())) + "; the newest:"
    ]
    for one in made[-DECISIONS_TOLD:]:
        why = one["policy"] + "".join(f", rule {rule[0]}" for rule in one.get("rules", ()))
        lines.append(
            f"  {_day(one['decided_ms'])} {one['placement']}: {', '.join(one['items'])} "
            f"({why}; more: edge-agent explain {one['id'][:8]})"
        )
    return lines


def _learned(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for model, count in sorted(Counter(one["model"] for one in found["examples"]).items()):
        lines.append(f"Examples to learn from: {count} for {model}.")
    for bundle, tensors in found["personal_parameters"].items():
        lines.append(f"Personal parameters of {bundle}: {', '.join(sorted(tensors))}.")
    if found["outcomes"]:
        lines.append(f"What came of decisions: {len(found['outcomes'])} outcomes.")
    return lines


def _others(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if found["events"]:
        lines.append(f"Events kept for replay: {len(found['events'])}.")
    if found["nothing_decided"]:
        lines.append(f"Times that nothing was decided: {len(found['nothing_decided'])}.")
    if found["waiting_messages"]:
        lines.append(f"Messages that wait to be sent: {len(found['waiting_messages'])}.")
    for room, count in sorted(Counter(one["room"] for one in found["other_rows"]).items()):
        lines.append(f"{_ROOMS.get(room, room)}: {count}.")
    return lines


def _out(found: Mapping[str, Any]) -> list[str]:
    lines = [
        f"  {one['kind']} to {one['to']}: {one['entries']} entries, {one['bytes']:,} bytes, "
        f"for {', '.join(one['purposes'])}"
        for one in found["left_the_device"]
    ]
    return ["What left this device, about anybody (the ledger names nobody):", *lines] if lines else ["Nothing left."]


_ROOMS = {
    "caps": "How often something was decided for them (frequency caps)",
    "contacts": "When they were reached",
    "delivery": "Messages on their way",
    "delivered": "What became of messages",
    "letter": "Letters on their way",
    "standing": "Choices that stand",
    "touch": "Measurements under way",
    "due": "Times at which measurements end",
    "experiment": "Measurements in experiments",
    "meta": "Last seen",
}


def _day(at_ms: float) -> str:
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC"
