"""Policies: what learns needs rewards, what learns on features needs a model, limits need something to limit."""

from collections.abc import Iterator

from firmware_configs import designs
from firmware_configs.consistency.fault import Fault
from firmware_configs.profile import (
    Best,
    LinThompson,
    LinUcb,
    Placement,
    Policy,
    Profile,
    SquareCb,
    Thompson,
    ThompsonGaussian,
    Threshold,
)

DAY_S = 86_400.0


def policy_faults(profile: Profile, place: Placement, where: str) -> Iterator[Fault]:
    """What contradicts in the policies of a placement and of its experiment's arms."""
    arms = designs.arms(place.experiment)[: designs.ARMS_MAX] if place.experiment else ()
    treated = [
        (f"{where}.policy", place),
        *(
            (f"{where}.experiment: arm {arm.name}.policy", designs.treated(place, arm))
            for arm in arms
            if arm.policy is not None or arm.models is not None
        ),
    ]
    earns = bool(place.reward) or any(
        outcome.reward and credit.placement == place.name for outcome in profile.outcome for credit in outcome.credit
    )
    for at, one in treated:
        yield from _one(one, one.policy, at, earns=earns)
    if place.exploration is not None and all(isinstance(one.policy, Best | Threshold) for _, one in treated):
        fix = "choose a policy that explores, or remove [placement.exploration]"
        yield Fault(f"{where}.exploration", "nothing here explores, so there is nothing to limit", fix)
    yield from _no_outcome(profile, place, where, earns=earns)


def _one(place: Placement, policy: Policy, at: str, *, earns: bool) -> Iterator[Fault]:
    kind = type(policy).__struct_config__.tag
    if isinstance(policy, Thompson | ThompsonGaussian | LinUcb | LinThompson | SquareCb) and not earns:
        yield Fault(at, f"`{kind}` learns from rewards, and this placement has none", "add a [[placement.reward]]")
    if isinstance(policy, LinUcb | LinThompson | SquareCb) and not place.models:
        fix = "add models, or choose `thompson`, which learns by item alone"
        yield Fault(at, f"`{kind}` learns on a model's features, and this placement has no model", fix)


def _no_outcome(profile: Profile, place: Placement, where: str, *, earns: bool) -> Iterator[Fault]:
    if place.no_outcome is None:
        return
    if not earns:
        fix = "add a [[placement.reward]], or remove no_outcome"
        yield Fault(f"{where}.no_outcome", "without rewards every decision would count as one without outcome", fix)
    days = min((kept.days for kept in profile.retention.values()), default=0.0)
    if place.reward_window_s > days * DAY_S:
        fix = f"let reward_window_s be at most {days * DAY_S:g}, or keep longer"
        yield Fault(f"{where}.reward_window_s", "decisions are forgotten before the window closes", fix)
