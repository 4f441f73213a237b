"""Objectives that nothing could ever meet or break."""

from collections.abc import Iterator

from firmware_configs.consistency.fault import Fault, unknown
from firmware_configs.profile import Profile


def objective_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in the objectives."""
    placements = [place.name for place in profile.placement]
    for n, objective in enumerate(profile.objective):
        where = f"objective[{n}]"
        if objective.indicator == "rounds":
            if objective.placement:
                yield Fault(f"{where}.placement", "rounds are the device's, not a placement's", "remove it")
            if not any(model.federated for model in profile.model):
                yield Fault(where, "no model learns in federated rounds", "federated = true in a [[model]]")
        else:
            yield from unknown(f"{where}.placement", "placement", (objective.placement,), placements)
        if objective.within_ms is not None and objective.indicator != "latency":
            yield Fault(f"{where}.within_ms", f"`{objective.indicator}` measures no time", "remove it")
