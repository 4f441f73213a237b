"""The fleet, and one device of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coordinator.fleet import telling
from coordinator.fleet.health import examine
from coordinator.fleet.selection import SORTS, ordered, parse, select
from coordinator.fleet.view import DeviceView
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.rollout_store import RolloutStore

LIMIT, LIMIT_MAX = 100, 500
FINDINGS_MAX = 20
LOG_ROWS = 50
PRESENCES = ("online", "offline", "unknown", "revoked")


def fleet(ask: Ask) -> dict[str, Any]:
    """Devices by cohort and version, those that are searched for, and what is wrong.

    Raises:
        SelectionInvalid: `where` is none.
    """
    store = FleetStore(ask.home)
    views = store.views()
    held = [view for view in views if not view.revoked]
    typed = ask.query.get("q", "").strip().casefold()
    named = [view for view in views if typed in view.name.casefold()]
    chosen = ordered(select(named, parse(_where(ask.query))), _sort(ask.query))
    limit = ask.number("limit", LIMIT, LIMIT_MAX)
    pages = max(1, -(-len(chosen) // limit))
    page = min(ask.number("page", 1, 1_000_000), pages)
    found = examine(views, ask.now_ms)
    names = {view.name for view in held}
    cohorts: dict[str, set[str]] = {"all devices": names}
    cohorts |= {f"group {name}": names & set(members) for name, members in store.groups().items()}
    cohorts |= _rollout_cohorts(ask)
    return {
        "total": len(views),
        "presences": [(name, sum(view.presence == name for view in views)) for name in PRESENCES],
        "failures": sum(one.severity == "failure" for one in found),
        "findings": found[:FINDINGS_MAX],
        "findings_more": max(0, len(found) - FINDINGS_MAX),
        "map": version_map(held, cohorts),
        "devices": [telling.row(view) for view in chosen[(page - 1) * limit : page * limit]],
        "chosen": len(chosen),
        "page_number": page,
        "pages": pages,
        "sorts": SORTS,
        "states": PRESENCES,
    }


def _where(query: Mapping[str, str]) -> list[str]:
    terms = [query["where"]] if query.get("where") else []
    terms += [f"presence:{query['presence']}"] if query.get("presence") else []
    return terms


def _sort(query: Mapping[str, str]) -> str:
    return query["sort"] if query.get("sort") in SORTS else "name"


def _rollout_cohorts(ask: Ask) -> dict[str, set[str]]:
    """The cohorts of rollouts that have not ended."""
    store = RolloutStore(ask.home)
    try:
        found: dict[str, set[str]] = {}
        for key in store.open():
            rollout = store.rollout(key)
            for member in rollout.members.values():
                named = f"{rollout.plan.bundle} {rollout.plan.version}, cohort {rollout.plan.named(member.cohort)}"
                found.setdefault(named, set()).add(member.device)
        return found
    finally:
        store.close()


def version_map(views: Sequence[DeviceView], cohorts: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """Bundle → how many devices of each cohort serve with which version; those of none are counted as such."""
    found = []
    for bundle in sorted({name for view in views for name in view.bundles}):
        serving = {view.name: view.bundles.get(bundle, "") for view in views}
        versions = sorted({version for version in serving.values() if version}, reverse=True)
        columns = [*versions, ""]
        rows = []
        for cohort, members in cohorts.items():
            counts = Counter(serving[name] for name in members if name in serving)
            if counts:
                rows.append({"cohort": cohort, "counts": [counts[version] for version in columns]})
        found.append({"bundle": bundle, "versions": versions, "rows": rows})
    return found


def device(ask: Ask) -> dict[str, Any]:
    """All that is known of one device.

    Raises:
        UnknownDevice: there is none of this name.
    """
    store = FleetStore(ask.home)
    view = store.view(ask.params["device"])
    times = [] if view.status is None else sorted(view.status.arrival_to_decision_ms.items())
    return {
        "view": view,
        "whole": telling.whole(view),
        "findings": examine([view], ask.now_ms),
        "times": times,
        "log": store.log(view.name, limit=LOG_ROWS)[::-1],
    }
