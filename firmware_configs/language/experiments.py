"""Experiments."""

from typing import Annotated

from msgspec import Meta, Struct

from firmware_configs.language.policies import Policy
from firmware_configs.language.terms import Name, Positive, Share


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of an experiment: it replaces the placement's policy."""

    name: Name
    weight: Positive = 1.0
    policy: Policy | None = None


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Subjects are assigned to arms by keyed hash, for as long as the experiment's name stays."""

    name: Name
    arms: Annotated[tuple[Arm, ...], Meta(min_length=2, max_length=16)]
    share: Annotated[Share, Meta(description="share of subjects that take part at all")] = 1.0
