"""Experiments: what was released of them, with intervals that hold whenever one looks."""

import contextlib
from typing import Any

from coordinator.dashboard.curves import Chart, Interval, Line, intervals
from coordinator.errors import ExperimentError
from coordinator.experiments import Plan, Release, read, told
from coordinator.shell import experiments as known
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.experiment_store import ExperimentStore

RELEASES = 60


def experiments(ask: Ask) -> dict[str, Any]:
    """All experiments, each with its verdict as it stands."""
    rows = []
    for plan in ExperimentStore(ask.home).plans():
        row: dict[str, Any] = {"plan": plan, "shown": None, "why": ""}
        try:
            row["shown"] = known.standing(ask.home, plan)
        except ExperimentError as error:
            row["why"] = error.what
        rows.append(row)
    return {"experiments": rows}


def experiment(ask: Ask) -> dict[str, Any]:
    """One experiment.

    Raises:
        UnknownExperiment: none of this name is known.
    """
    store = ExperimentStore(ask.home)
    plan = store.plan(ask.params["experiment"])
    found: dict[str, Any] = {"plan": plan, "shown": None, "why": "", "pictures": [], "curves": [], "lines": []}
    try:
        shown = known.standing(ask.home, plan)
    except ExperimentError as error:
        return {**found, "why": error.what, "fix": error.hint}
    found["shown"] = shown
    found["lines"] = told(plan, shown.release, shown.analysis)
    for metric in dict.fromkeys(one.metric for one in shown.analysis.comparisons):
        own = [one for one in shown.analysis.comparisons if one.metric == metric]
        drawn = [Interval(name=one.contrast, low=one.low, value=one.value, high=one.high) for one in own]
        found["pictures"].append((metric, intervals(f"Differences in {metric}", metric, drawn)))
    with contextlib.suppress(ExperimentError):
        found["curves"] = _sequences(plan, store.releases(plan)[-RELEASES:])
    return found


def _sequences(plan: Plan, releases: list[Release]) -> list[Chart]:
    """How each difference's confidence sequence has narrowed, release by release; of one release there is no curve."""
    if len(releases) < 2:
        return []
    points: dict[tuple[str, str], list[tuple[int, float, float, float]]] = {}
    for release in releases:
        for one in read(plan, release).comparisons:
            points.setdefault((one.contrast, one.metric), []).append((release.number, one.low, one.value, one.high))
    return [
        Chart(
            title=f"{contrast}, {metric}",
            x="release",
            y=metric,
            whole_x=True,
            lines=(
                Line(name="difference", points=tuple((n, value) for n, _, value, _ in rows)),
                Line(name="surely above", points=tuple((n, low) for n, low, _, _ in rows)),
                Line(name="surely below", points=tuple((n, high) for n, _, _, high in rows)),
                Line(name="no difference", points=tuple((n, 0.0) for n, *_ in rows), limit=True),
            ),
        )
        for (contrast, metric), rows in points.items()
    ]
