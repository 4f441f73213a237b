"""Reads the sums of metrics and the counts of paths from a device's database, beside a running agent: `metrics`."""

from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.learn.totals import mean_and_error, restricted_mean, unpack
from edge_agent.shell import database
from edge_agent.tally import PATH, TOLD, Paths, told_paths, told_sums
from firmware_configs.measured import MetricCell, MetricTotals, PathTotals

PATHS_SHOWN = 20


class Group(Struct, frozen=True, kw_only=True):
    """One group of a metric, with what its sums mean."""

    placement: str
    arm: str
    segment: str
    n: int
    mean: float
    standard_error: float
    total: float
    restricted_mean_s: float | None = None
    """Of a time: by Kaplan-Meier, with those that were watched for part of the window only."""


class Shown(Struct, frozen=True, kw_only=True):
    """The whole of `edge-agent metrics --json`."""

    metrics: list[MetricTotals]
    groups: dict[str, list[Group]]
    """Metric → its groups."""
    paths: list[PathTotals]


def read(state_dir: Path) -> Shown:
    """All that was added up on a device.

    Raises:
        StoreUnavailable, StoreCorrupt, SchemaTooNew
    """
    connection = database.open_readable(state_dir / database.FILE)
    rows = connection.execute("SELECT key, value FROM state WHERE room = 'metric' ORDER BY key").fetchall()
    connection.close()
    metrics = [told_sums(key, unpack(value)) for key, value in rows if not key.startswith(PATH) and key != TOLD]
    paths = [
        told_paths(key.removeprefix(PATH), msgspec.msgpack.decode(value, type=Paths))
        for key, value in rows
        if key.startswith(PATH)
    ]
    groups = {metric.metric: [_group(metric, cell) for cell in metric.cells] for metric in metrics}
    return Shown(metrics=metrics, groups=groups, paths=paths)


def _group(metric: MetricTotals, cell: MetricCell) -> Group:
    mean, error = mean_and_error(cell)
    times = metric.kind == "time-to"
    return Group(
        placement=cell.placement,
        arm=cell.arm,
        segment=cell.segment,
        n=cell.n,
        mean=mean,
        standard_error=error,
        total=cell.total,
        restricted_mean_s=restricted_mean(cell.buckets, cell.censored, metric.upper) if times else None,
    )


def in_words(shown: Shown) -> list[str]:
    """The same for people."""
    lines: list[str] = []
    for metric in shown.metrics:
        lines.append(f"{metric.metric} ({metric.kind}, clipped to {metric.lower:g} … {metric.upper:g})")
        lines += [f"  {_named(group)}: {_said(group)}" for group in shown.groups[metric.metric]]
    for outcome in shown.paths:
        lines.append(f"{outcome.outcome}: paths by {outcome.by}, conversions of all")
        often = sorted(outcome.paths, key=lambda one: (-one.conversions, one.path))[:PATHS_SHOWN]
        lines += [
            f"  {' > '.join(one.path) or '(nothing shown)'}: {one.conversions} of {one.conversions + one.nulls}"
            for one in often
        ]
    return lines or ["nothing was observed yet; is there a [[metric]] in the profile, and is its window over?"]


def _named(group: Group) -> str:
    return ", ".join(part for part in (group.placement, group.arm, group.segment) if part) or "the rest"


def _said(group: Group) -> str:
    text = f"{group.mean:.4g} ± {group.standard_error:.2g} over {group.n:,} decisions"
    if group.restricted_mean_s is not None:
        text += f", {group.restricted_mean_s:,.4g} s by Kaplan-Meier"
    return text
