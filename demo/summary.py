"""What the demo found, as a file for machines and a page for people."""

import math
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


class AgentSummary(Struct, kw_only=True):
    """One device."""

    user: str
    events: int
    decisions: int
    feedback_joined: int
    bundles_before: dict[str, str]
    bundles_after: dict[str, str]
    bytes_out: dict[str, int]
    """Kind of egress → bytes, from the device's own ledger."""
    hits_before: int
    hits_after: int
    held_out: int


class Latency(Struct, kw_only=True):
    """From the demo's publish to its receipt of the decision, through the broker twice; milliseconds."""

    p50: float
    p99: float
    samples: int


class Summary(Struct, kw_only=True):
    """`demo-summary.json`."""

    ok: bool
    data: str
    seed: int
    seconds: float
    agents: int
    events: int
    decisions: int
    decision_latency_ms: Latency
    feedback_joined: int
    rounds: int
    bundle: str
    version_before: str
    version_after: str
    hit_rate_before: float
    """HR@10: share of held-out interactions ranked in the first ten of the shelf: it and the unseen ones."""
    hit_rate_after: float
    hit_rate_chance: float
    """What ten items drawn blindly from the same shelves would find."""
    hit_rate_protocol: str
    bytes_out: dict[str, int]
    per_agent: dict[str, AgentSummary]
    explained: str
    """The decision that was explained."""


NARROW: dict[str, Any] = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
"""Tables that fit into eighty columns."""
PERSON_MAX = 8


def quantile(values: list[float], q: float) -> float:
    """The nearest-rank quantile, 0 when there is nothing.

    Args:
        values: any order.
        q: in [0, 1].
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(q * (len(ordered) - 1)))]


def margin(share: float, asked: int) -> float:
    """Half the width of a share's 95 % interval, by the normal approximation.

    Args:
        share: in [0, 1].
        asked: how many it is of, above 0.
    """
    return 1.96 * math.sqrt(share * (1.0 - share) / asked)


def write(summary: Summary, path: Path) -> None:
    """Write the summary as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def show(summary: Summary, console: Console) -> None:
    """Print the summary as two small tables."""
    console.print(_homes(summary))
    console.print(_bytes(summary))
    console.print(
        f"{summary.events} events, {summary.decisions} decisions "
        f"(p50 {summary.decision_latency_ms.p50:.1f} ms, p99 {summary.decision_latency_ms.p99:.1f} ms, "
        f"broker twice), {summary.feedback_joined} feedback joined, {summary.rounds} federated rounds, "
        f"{summary.bundle} {summary.version_before} → {summary.version_after}, "
        f"{summary.seconds:.0f} s in all."
    )
    console.print(
        f"Hit rate on held-out interactions: {summary.hit_rate_before:.0%} before, "
        f"{summary.hit_rate_after:.0%} after ({summary.hit_rate_protocol})."
    )
    asked = sum(own.held_out for own in summary.per_agent.values())
    luck = math.hypot(margin(summary.hit_rate_before, asked), margin(summary.hit_rate_after, asked))
    word = f"Ten drawn blindly would find {summary.hit_rate_chance:.0%}; "
    word += f"with {asked} asked, ± {100 * luck:.0f} points are luck"
    if abs(summary.hit_rate_after - summary.hit_rate_before) <= luck:
        word += ", and it is no more here: this shows the flow; what rounds gain is in docs/models.md"
    console.print(f"{word}.")


def _homes(summary: Summary) -> Table:
    title = f"Five homes on {summary.data}" if summary.agents == 5 else f"Homes on {summary.data}"
    table = Table(title=f"{title}: picks found among ten", **NARROW)
    for heading in ("home", "person", "events", "decided", "joined", "bundle", "found before", "after"):
        table.add_column(heading, justify="left" if heading in {"home", "person", "bundle"} else "right", no_wrap=True)
    for device, own in summary.per_agent.items():
        before, after = (
            own.bundles_before.get(summary.bundle, "-"),
            own.bundles_after.get(summary.bundle, "-"),
        )
        table.add_row(
            device,
            own.user if len(own.user) <= PERSON_MAX else f"…{own.user[1 - PERSON_MAX :]}",
            str(own.events),
            str(own.decisions),
            str(own.feedback_joined),
            f"{before} → {after}",
            f"{own.hits_before}/{own.held_out}",
            f"{own.hits_after}/{own.held_out}",
        )
    return table


def _bytes(summary: Summary) -> Table:
    kinds = sorted(summary.bytes_out)
    table = Table(title="What left, in bytes, from the ledgers", **NARROW)
    table.add_column("home")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for device, own in summary.per_agent.items():
        table.add_row(device, *(f"{own.bytes_out.get(kind, 0):,}" for kind in kinds))
    table.add_row("all", *(f"{summary.bytes_out[kind]:,}" for kind in kinds), style="bold")
    return table
