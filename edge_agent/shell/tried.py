"""What a device has measured of its experiments, read beside the running agent."""

from pathlib import Path
from typing import Any

import msgspec

from edge_agent.learn.cohort import Summary, read_summary
from edge_agent.shell import database
from firmware_configs.messages import Shares
from models.experiments.sums import WIDTH

_ROWS = "SELECT key, value FROM state WHERE room = 'experiment' AND key >= ? AND key < ? ORDER BY key"


def read(state_dir: Path) -> list[dict[str, Any]]:
    """Each experiment with its arms: how many people were counted, and the mean of each metric."""
    connection = database.open_readable(state_dir / database.FILE)
    rows = connection.execute(_ROWS, ("sums\x00", "sums\x01")).fetchall()
    moved = dict(connection.execute(_ROWS, ("shares\x00", "shares\x01")).fetchall())
    connection.close()
    found = []
    for key, value in rows:
        _, name, plan = key.split("\x00")
        shares = moved.get(f"shares\x00{name}\x00{plan}")
        found.append(_told(name, plan, read_summary(value), shares))
    return found


def _told(name: str, plan: str, summary: Summary, moved: bytes | None) -> dict[str, Any]:
    shares = msgspec.msgpack.decode(moved, type=Shares) if moved else None
    arms = {}
    for n, arm in enumerate(summary.arms):
        rows = [table[n] for table in summary.tables.values()]
        people = sum(row[0] for row in rows)
        means = {
            metric: lower + (upper - lower) * (sum(row[1 + WIDTH * m] for row in rows) / people + 0.5)
            for m, (metric, (lower, upper)) in enumerate(zip(summary.metrics, summary.bounds, strict=True))
            if people
        }
        arms[arm] = {"people": int(people), "means": means}
        if shares is not None:
            arms[arm]["share"] = shares.shares.get(arm, 0.0)
    return {
        "experiment": name,
        "plan": plan,
        "measured_now": summary.measured,
        "allocation": shares.number if shares is not None else 0,
        "arms": arms,
        "skipped": summary.skipped,
        "reported_ms": summary.reported_ms,
    }


def in_words(found: list[dict[str, Any]]) -> list[str]:
    """The same for people."""
    if not found:
        return ["nothing has been measured here: no experiment, or nobody has taken part yet"]
    lines = []
    for one in found:
        shares = (
            f"shares number {one['allocation']} of the coordinator" if one["allocation"] else "the profile's shares"
        )
        lines.append(
            f"{one['experiment']} (plan {one['plan']}): {one['measured_now']} people are being measured; {shares}"
        )
        for arm, told in one["arms"].items():
            means = ", ".join(f"{metric} {mean:.4g}" for metric, mean in told["means"].items()) or "nobody yet"
            lines.append(f"  arm {arm:<20} {told['people']:>6,} people  {means}")
        lines += [f"  not counted: {count} ({why})" for why, count in one["skipped"].items()]
    return [*lines, "Of one device alone these prove nothing: edge-coordinator experiments show NAME adds devices up."]
