"""The identity graph in words: who is one person, why, how sure, and until when."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edge_agent.explaining import belong
from edge_agent.identity import IdentityGraph
from edge_agent.memory.identity.linkage import probability
from edge_agent.memory.identity.persons import Link
from edge_agent.memory.identity.sightings import couple

WORDS = {
    "same-value": "the same {} of the times when both had one",
    "hand-over": "{} of the beginnings followed the other at once",
    "turns": "quiet while the other was busy {} of the time",
    "rhythm": "hours {} alike",
    "habit": "habits {} alike",
}


def persons(graph: IdentityGraph, now_ms: int) -> list[dict[str, Any]]:
    """Every person with more than one subject, and what joins them."""
    return [
        {
            "person": one.name,
            "subjects": list(one.subjects),
            "links": [_link(graph, link, now_ms) for link in one.links],
        }
        for one in graph.persons(now_ms)
    ]


def about(graph: IdentityGraph, subject: str, now_ms: int) -> dict[str, Any]:
    """A subject, its person, and how it stands with every other one that it could be compared with."""
    t_ms = graph.steady_ms(now_ms)
    mine = next((one for one in persons(graph, now_ms) if subject in one["subjects"]), None)
    shared = subject in graph.links.accounts(t_ms).shared
    pairs = [_pair(graph, subject, other, t_ms) for other in sorted(graph.sightings.partners(subject))]
    return {
        "subject": subject,
        "known": subject in graph.sightings.seen,
        "person": mine["person"] if mine else subject,
        "subjects": mine["subjects"] if mine else [subject],
        "links": [link for link in mine["links"] if subject in link["subjects"]] if mine else [],
        "shared": shared,
        "pairs": sorted(pairs, key=lambda one: -float(one["confidence"])),
    }


def _link(graph: IdentityGraph, link: Link, now_ms: int) -> dict[str, Any]:
    confidence = round(graph.confidence(link, now_ms), 4)
    return {
        "subjects": list(link.couple),
        "kind": link.kind,
        "name": link.name,
        "confidence": confidence,
        "since_ms": link.since_ms,
        "until_ms": link.until_ms,
        "words": belong(link.one, link.other, link.kind, link.since_ms, confidence),
    }


def _pair(graph: IdentityGraph, one: str, other: str, t_ms: int) -> dict[str, Any]:
    pair = graph.sightings.pairs[couple(one, other)]
    seen = graph.sightings.seen
    rates = graph.linkage.rates(pair, seen[one], seen[other], t_ms)
    kinds = {evidence.name: evidence.kind for evidence in graph.declared.evidence}
    apart = graph.links.apart(couple(one, other), t_ms)
    if graph.links.accounts(t_ms).contradict(couple(one, other)):
        apart = "login"
    confidence = probability(graph.links.odds_at(pair, t_ms)) if pair.last_ms else 0.0
    state = "likely" if pair.linked_ms else "maybe" if confidence >= graph.declared.maybe_at else "unlikely"
    return {
        "with": other,
        "state": "apart" if apart else state,
        "apart": apart,
        "confidence": round(confidence, 4),
        "until_ms": graph.links.until(pair) if pair.linked_ms else 0,
        "evidence": [
            {
                "name": name,
                "rate": round(rate, 4),
                "factor": round(math.exp(graph.linkage.weight(name, graph.linkage.levels({name: rate})[name])), 2),
                "words": f"{name}: {WORDS[kinds[name]].format(f'{rate:.0%}')}",
            }
            for name, rate in rates.items()
        ],
    }


def persons_in_words(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for `edge-agent people ls`."""
    lines: list[str] = []
    for one in found:
        lines.append(f"{one['person']}: {', '.join(one['subjects'])}")
        for link in one["links"]:
            ends = f", until {_day(link['until_ms'])} unless renewed" if link["until_ms"] else ""
            lines.append(f"  {link['words']}{ends}")
    return lines or ["every subject is a person of its own"]


def about_in_words(found: Mapping[str, Any]) -> list[str]:
    """Lines for `edge-agent people show`."""
    rest = [one for one in found["subjects"] if one != found["subject"]]
    lines = [f"{found['subject']}: " + (f"one person with {', '.join(rest)}" if rest else "a person of its own")]
    if found["shared"]:
        lines.append("  two accounts are used on it, so it belongs to nobody")
    lines += [f"  {link['words']}" for link in found["links"]]
    for pair in found["pairs"]:
        why = {"": "", "word": " (somebody said so)", "login": " (different accounts)"}
        apart = why.get(pair["apart"], f" ({pair['apart']}: at two places at the same time)")
        lines.append(f"  with {pair['with']}: {pair['state']}{apart}, {pair['confidence']:.0%} by evidence")
        lines += [f"    {one['words']} (counts x{one['factor']:g})" for one in pair["evidence"]]
    return lines


def _day(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return f"{at.day} {at:%B %Y}"
