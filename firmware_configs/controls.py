"""What protects each field that a profile collects: consent, what is made of it, how long, and what may come out."""

from collections.abc import Iterator

from firmware_configs.coarseness import told
from firmware_configs.lineage import ALERT, Lineage, derive, why
from firmware_configs.profile import Egress, Profile, SourceField

TARGET = "egress "


def controls(profile: Profile) -> Iterator[str]:
    """A line a field, in the order of the profile."""
    lineage = derive(profile)
    asked = {purpose.name for purpose in profile.purpose if purpose.consent == "required"}
    for source in profile.source:
        for field in source.field:
            parts = (
                _consent(field, asked),
                f"kept {told(field.transform)} for {profile.retention[field.category].days:g} days",
                _leaving(profile, lineage, field),
            )
            yield f"{field.name} ({source.name}, {field.category}): {'; '.join(parts)}."


def _consent(field: SourceField, asked: set[str]) -> str:
    free = [name for name in field.purposes if name not in asked]
    if free:
        return f"taken without asking, for {', '.join(free)}"
    return f"taken only after a yes to {' or '.join(field.purposes)}"


def _leaving(profile: Profile, lineage: Lineage, field: SourceField) -> str:
    """Which kinds of egress are made of it, each with its bounds."""
    targets = [step.target for step in why(lineage, field.name) if not step.target.startswith(ALERT)]
    reached = [target.removeprefix(TARGET) for target in targets if target.startswith(TARGET)]
    kinds = dict.fromkeys(one.split(" ")[0] for one in reached)
    declared = {egress.kind: egress for egress in profile.egress}
    named = [kind for kind, egress in declared.items() if field.name in egress.fields]
    late = [source.name for source in profile.source if source.late == "side" and field in source.field]
    named += ["late-event"] if late and "late-event" in declared else []
    found = [f"{kind} ({_bounds(declared[kind])})" for kind in kinds if kind in declared and kind not in named]
    out = [f"its value leaves in {kind}" for kind in named]
    if found:
        alone = "" if named else "no message carries it; "
        out.append(f"{alone}what is made of it may leave, as {', '.join(found)}")
    return "; ".join(out) or "nothing of it leaves"


def _bounds(egress: Egress) -> str:
    privacy = egress.privacy
    parts = [f"at most {egress.bytes_day_max:,} bytes a day"]
    if egress.k_min > 1:
        parts.append(f"read over {egress.k_min} devices")
    if privacy is not None:
        parts.append(f"clipped to {privacy.clip_norm:g}")
        if privacy.noise_multiplier:
            parts.append(f"noise {privacy.noise_multiplier:g}")
        if privacy.epsilon_max is not None:
            parts.append(f"ε at most {privacy.epsilon_max:g}")
        if privacy.secret_sum:
            parts.append("summed in secret")
        elif egress.kind == "update" and not privacy.noise_multiplier:
            parts.append("seen one by one by the coordinator, which can tell the value from it")
    return ", ".join(parts)
