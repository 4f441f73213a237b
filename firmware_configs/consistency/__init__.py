"""What no type can say: the parts of a profile must agree with each other. One module a part."""

from collections import Counter
from collections.abc import Iterator

from firmware_configs.consistency.channels import channel_faults
from firmware_configs.consistency.drift import drift_faults
from firmware_configs.consistency.egress import actuator_faults, egress_faults
from firmware_configs.consistency.experiments import layer_faults
from firmware_configs.consistency.fault import Fault
from firmware_configs.consistency.identity import identity_faults
from firmware_configs.consistency.objectives import objective_faults
from firmware_configs.consistency.placements import RULE_NAMES, TRIGGER_NAMES, placement_faults
from firmware_configs.consistency.sources import model_faults, source_faults
from firmware_configs.profile import Best, EpsilonGreedy, Placement, Profile, Threshold

__all__ = ["RULE_NAMES", "TRIGGER_NAMES", "Fault", "faults"]


def faults(profile: Profile) -> list[Fault]:
    """Everything that contradicts, in the order of the document."""
    return [
        *_duplicates(profile),
        *(fault for n, source in enumerate(profile.source) for fault in source_faults(profile, source, f"source[{n}]")),
        *(fault for n, model in enumerate(profile.model) for fault in model_faults(profile, model, f"model[{n}]")),
        *(
            fault
            for n, place in enumerate(profile.placement)
            for fault in placement_faults(profile, place, f"placement[{n}]")
        ),
        *(fault for n, place in enumerate(profile.placement) for fault in _policies(profile, place, f"placement[{n}]")),
        *layer_faults(profile),
        *identity_faults(profile),
        *actuator_faults(profile),
        *egress_faults(profile),
        *_outcome_faults(profile),
        *channel_faults(profile),
        *objective_faults(profile),
        *drift_faults(profile),
        *_forbidden(profile),
    ]


def _policies(profile: Profile, place: Placement, where: str) -> list[Fault]:
    """As with outcomes: a placement that only ranks or rolls dice has nothing to check."""
    plain = isinstance(place.policy, Best | EpsilonGreedy | Threshold) and place.experiment is None
    if plain and place.exploration is None and place.no_outcome is None:
        return []
    from firmware_configs.consistency.policies import policy_faults

    return list(policy_faults(profile, place, where))


def _outcome_faults(profile: Profile) -> list[Fault]:
    """Only a profile that says what becomes of decisions pays for the module: devices check theirs at every start."""
    if not (profile.view or profile.outcome or profile.metric or profile.segment):
        return []
    from firmware_configs.consistency.outcomes import outcome_faults

    return list(outcome_faults(profile))


def _duplicates(profile: Profile) -> Iterator[Fault]:
    groups: dict[str, list[str]] = {
        "source": [s.name for s in profile.source],
        "source.field": [f.name for s in profile.source for f in s.field],
        "purpose": [p.name for p in profile.purpose],
        "model": [m.name for m in profile.model],
        "placement": [p.name for p in profile.placement],
        "actuator": [a.name for a in profile.actuator],
        "channel": [c.name for c in profile.channel],
        "theme": [t.name for t in profile.theme],
        "egress (kind)": [str(e.kind) for e in profile.egress],
        "outcome": [o.name for o in profile.outcome],
        "metric": [m.name for m in profile.metric],
        "segment": [s.name for s in profile.segment],
        "objective": [o.name for o in profile.objective],
        "drift": [d.name for d in profile.drift],
    }
    for group, names in groups.items():
        for name, times in Counter(names).items():
            if times > 1:
                yield Fault(group, f"`{name}` stands {times} times", "give each its own name")


def _forbidden(profile: Profile) -> Iterator[Fault]:
    categories = set(profile.sensitive.forbidden_categories)
    for n, source in enumerate(profile.source):
        for m, field in enumerate(source.field):
            if any(field.category == c or field.category.startswith(f"{c}.") for c in categories):
                where = f"source[{n}].field[{m}].category"
                yield Fault(where, f"`{field.category}` is forbidden by [sensitive]", "do not collect it")
    for n, purpose in enumerate(profile.purpose):
        if purpose.name in profile.sensitive.forbidden_purposes:
            yield Fault(f"purpose[{n}]", f"`{purpose.name}` is forbidden by [sensitive]", "remove the purpose")
