"""Privacy budgets: what each population has spent on each task, and what it has left."""

import math
from typing import Any

from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.told import spent

LIMIT_MAX = 100_000.0
"""A budget beyond is none: sums whose profile states no limit are kept under one that is never reached."""
LOW = 0.1
"""Share of a budget with which little of it is left."""


def accounts(ask: Ask) -> dict[str, Any]:
    """A row for each task (a bundle, an experiment, a statistic) and population, and whether an ε is still reckoned."""
    rows = [
        {"bundle": task, **account, **standing(account["epsilon"], account["epsilon_max"])}
        for task in PrivacyStore(ask.home).bundles()
        for account in spent(ask.home, task, ask.reckon)
    ]
    return {"accounts": rows, "waiting": any(math.isnan(row["epsilon"]) for row in rows)}


def standing(epsilon: float, epsilon_max: float) -> dict[str, Any]:
    """How a budget stands: in a word, as the share that is used (None: not known), and whether there is a limit."""
    if epsilon_max > LIMIT_MAX:
        return {"standing": "no limit", "used": None, "limited": False}
    if math.isnan(epsilon):
        return {"standing": "not known", "used": None, "limited": True}
    used = min(1.0, epsilon / epsilon_max) if epsilon_max > 0.0 else 1.0
    word = "spent" if used >= 1.0 else "little left" if used > 1.0 - LOW else "left"
    return {"standing": word, "used": used, "limited": True}
