"""Runs and their rounds."""

import math
from typing import Any

from coordinator.dashboard.curves import Chart, Line
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.store import Store
from coordinator.shell.told import account_of, rounds_table, run_told

RUNS = 50
SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def rounds(ask: Ask) -> dict[str, Any]:
    """Runs, newest first."""
    found = rounds_table(ask.home, ask.reckon)
    for run in found:
        rows = run["rounds"]
        run["asked"] = sum(row["asked"] for row in rows)
        run["reports"] = sum(row["reports"] for row in rows)
        run["bytes_up"] = sum(row["bytes_up"] for row in rows)
        run["bytes_down"] = sum(row["bytes_down"] for row in rows)
        run["loss"] = next((row["loss_after"] for row in reversed(rows) if row["loss_after"]), None)
    return {"runs": found[:RUNS], "more": max(0, len(found) - RUNS)}


def run(ask: Ask) -> dict[str, Any]:
    """One run with its curves.

    Raises:
        UnknownRun: there is none of this key.
    """
    found = run_told(ask.home, ask.params["run"], ask.reckon)
    held = Store(ask.home).run(found["key"])
    account = account_of(ask.home, held) if held is not None else None
    newest = {row["round"]: row for row in found["rounds"]}
    return {
        "run": found,
        "budget": account.budget if account is not None else None,
        "charts": _charts(list(newest.values()), account.budget.epsilon if account is not None else 0.0),
        "waiting": any(row["epsilon"] is not None and math.isnan(row["epsilon"]) for row in found["rounds"]),
    }


def _charts(rows: list[dict[str, Any]], epsilon_max: float) -> list[Chart]:
    if not rows:
        return []
    most = max(max(row["bytes_up"], row["bytes_down"]) for row in rows)
    scale, unit = next((pair for pair in SCALES if most >= pair[0]), (1.0, "B"))
    told = [row for row in rows if row["loss_before"] or row["loss_after"]]
    charts = [
        _chart("Loss", "mean of devices", told, {"before training": "loss_before", "after training": "loss_after"}),
        _chart("Participation", "devices", rows, {"asked": "asked", "reports": "reports", "late": "late"}),
        _chart(f"Bytes a round ({unit})", unit, rows, {"up": "bytes_up", "down": "bytes_down"}, scale),
    ]
    spent = [row for row in rows if row["epsilon"] is not None]
    if spent:
        drawn = _chart("Privacy spent", "ε", spent, {"ε of the population": "epsilon"})
        limit = Line(name="budget", points=tuple((row["round"], epsilon_max) for row in spent), limit=True)
        charts.append(Chart(title=drawn.title, x=drawn.x, y=drawn.y, lines=(*drawn.lines, limit), whole_x=True))
    return [chart for chart in charts if chart.lines[0].points]


def _chart(title: str, y: str, rows: list[dict[str, Any]], lines: dict[str, str], scale: float = 1.0) -> Chart:
    drawn = tuple(
        Line(name=name, points=tuple((row["round"], row[field] / scale) for row in rows))
        for name, field in lines.items()
    )
    return Chart(title=title, x="round", y=y, lines=drawn, whole_x=True)
