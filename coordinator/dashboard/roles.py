"""Who may look at what and do what. The server asks this at every request; hiding a button proves nothing."""

from typing import Literal, get_args

Role = Literal["viewer", "engineer", "operator", "officer"]
ROLES: tuple[Role, ...] = get_args(Role)
Action = Literal[
    "look.fleet",
    "look.rounds",
    "look.rollouts",
    "look.experiments",
    "look.business",
    "look.drift",
    "look.budgets",
    "look.audit",
    "look.privacy",
    "rollout.pause",
    "rollout.resume",
    "rollout.promote",
    "rollout.rollback",
    "experiment.release",
]
ACTIONS: tuple[Action, ...] = get_args(Action)
OPEN: frozenset[Action] = frozenset(
    ("look.fleet", "look.rounds", "look.rollouts", "look.experiments", "look.business", "look.drift", "look.budgets")
)
"""Whoever has signed in may."""
ALLOWED: dict[Role, frozenset[Action]] = {
    "viewer": OPEN,
    # Whoever made a model may always stop it; to widen a rollout is the operator's.
    "engineer": OPEN | {"rollout.pause", "rollout.rollback", "experiment.release"},
    "operator": OPEN | {"look.audit", "rollout.pause", "rollout.resume", "rollout.promote", "rollout.rollback"},
    "officer": OPEN | {"look.audit", "look.privacy"},
}
MEANING: dict[Role, str] = {
    "viewer": "looks at everything but the audit log and the privacy page",
    "engineer": "also stops rollouts, and releases sums of experiments",
    "operator": "also stops, pauses, resumes and promotes rollouts, and reads the audit log",
    "officer": "looks at everything, the audit log and the privacy page too; changes nothing",
}


def may(role: Role, action: Action) -> bool:
    """Whether somebody of this role may do this."""
    return action in ALLOWED[role]
