"""The words that documents use for what a profile says: one place, so that all of them say the same."""

from collections.abc import Iterable

from firmware_configs.coarseness import told
from firmware_configs.profile import Egress, Profile, Purpose, SourceField

BASES = {
    "consent": ("you say yes", "Art. 6 (1) a GDPR, consent"),
    "contract": ("it is needed for what you asked for", "Art. 6 (1) b GDPR, contract"),
    "legal-obligation": ("the law demands it", "Art. 6 (1) c GDPR, legal obligation"),
    "vital-interests": ("it protects somebody's life", "Art. 6 (1) d GDPR, vital interests"),
    "public-task": ("it is a public task", "Art. 6 (1) e GDPR, public task"),
    "legitimate-interests": (
        "there is a good reason that does not harm you",
        "Art. 6 (1) f GDPR, legitimate interests",
    ),
}
CATEGORIES = {
    "user.behavior": "what people do: pick, click, dismiss",
    "user.sensor": "readings of sensors around people",
    "user.demographic": "groups that people belong to",
    "user.device": "the devices that people use",
    "user.location": "where people are",
    "user.financial": "money",
    "user.health_and_medical": "health",
    "user.biometric": "bodies: faces, voices, fingerprints",
    "user.unique_id": "numbers that stand for a person",
    "user.contact": "how people are reached",
}
KINDS = {
    "decision": ("what was decided", "apps and things on the local broker"),
    "status": ("whether the device runs, in which version, and counts", "the operator"),
    "update": ("how a model should change, as bounded numbers", "the coordinator of the fleet"),
    "statistic": ("counts by group or by tenth, added up over many devices", "the coordinator of the fleet"),
    "metric": ("sums of what came of decisions", "the operator"),
    "experiment": ("sums over the people of an experiment", "the operator"),
    "rejection": ("that an event could not be read, without its content", "the operator"),
    "alert": ("that something does not run as it should, in counts", "the operator"),
    "late-event": ("events that came too late", "the operator"),
    "email": ("messages by mail", "the mail server, and the person"),
    "push": ("messages to phones", "the push service, and the person"),
}


def category(name: str) -> str:
    """A data category in words."""
    known = max((key for key in CATEGORIES if name.startswith(key)), key=len, default="")
    return CATEGORIES.get(known, name.removeprefix("user.").replace("_", " ").replace(".", ", "))


def days(count: float) -> str:
    """A time in days as people say it."""
    if count < 1.0:
        hours = max(1, round(count * 24))
        return "an hour" if hours == 1 else f"{hours} hours"
    if count == 1.0:
        return "a day"
    return f"{count:g} days"


def size(count: int) -> str:
    """Bytes as people say them."""
    for unit, step in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= 0.9995 * step:  # what three digits round up to it
            return f"{count / step:.3g} {unit}"
    return f"{count} byte{'s' if count != 1 else ''}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun, as people say it: `1 entry`, `1,200 entries`.

    Args:
        plural: of the noun; empty: with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def field(one: SourceField) -> str:
    """A field's name as people say it, and how exactly it is kept."""
    return f"{one.name.replace('_', ' ')} ({told(one.transform)})"


def fields_of(profile: Profile, purpose: Purpose) -> list[tuple[str, SourceField]]:
    """(source, field) of what a purpose takes."""
    return [(source.name, one) for source in profile.source for one in source.field if purpose.name in one.purposes]


def leaving_for(profile: Profile, purpose: Purpose) -> list[Egress]:
    """What leaves for a purpose."""
    return [egress for egress in profile.egress if purpose.name in egress.purposes]


def protection(egress: Egress) -> str:
    """What protects one person in what leaves; empty: nothing does, or nothing must."""
    said = []
    privacy = egress.privacy
    if privacy is not None:
        said.append(f"bounded: a {privacy.unit} changes it by {privacy.clip_norm:g} at most")
        if privacy.secret_sum:
            said.append("summed in secret, so that nobody sees a single one")
        if privacy.noise_multiplier:
            budget = f", ε at most {privacy.epsilon_max:g} at δ = {privacy.delta:g}" if privacy.epsilon_max else ""
            said.append(f"blurred by noise {privacy.noise_multiplier:g} times that bound{budget}")
    if egress.k_min > 1:
        said.append(f"read only over {egress.k_min} devices or more")
    return "; ".join(said)


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    given = list(names)
    if len(given) < 2:
        return "".join(given)
    return f"{', '.join(given[:-1])} and {given[-1]}"
