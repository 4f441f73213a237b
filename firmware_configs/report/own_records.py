"""What a device keeps besides the fields that it collects: records that it makes itself, and for how long.

Periods follow from the profile's retention by the agent's rules: what an event causes is kept as long as the shortest
category of its source, what a request or feedback causes as long as the shortest category of all.
"""

from collections.abc import Iterator
from typing import Final

from firmware_configs.lineage import derive
from firmware_configs.profile import Best, Model, OnEvent, Placement, Profile, Purpose, Source, Threshold
from firmware_configs.report import wording

CAPS_DAYS: Final = 30.0
DEDUPE_DAYS: Final = 7.0
LOOKS_DAYS: Final = 90
LOOKS_MIB: Final = 8
LEDGER_SHARE: Final = 0.5
"""Of these, the agent's own are in `edge_agent`; a test holds the two together."""
HEADER: Final = ("record", "what it holds", "kept for")
Row = tuple[str, str, str]


def rows(profile: Profile) -> tuple[Row, ...]:
    """(record, what it holds, how long) of everything that a device with this profile may keep of its own."""
    return (*_of_people(profile), *_of_everybody(profile), *_of_the_device(profile))


def ceiling(profile: Profile) -> str:
    """What ends all of it earlier."""
    return (
        f"When the database has reached its {profile.device.disk_mib_max} MiB, the oldest go earlier: journal, "
        "decisions, outcomes, examples, and then profiles of whom nothing was heard for longest. Erasure takes all of "
        "a person's at once. A yes taken back takes examples and personal parameters of the models that it was for, "
        "and the profile when nothing is agreed to any more; decisions and outcomes stay for their time."
    )


def of_purpose(profile: Profile, purpose: Purpose) -> list[str]:
    """What decisions and examples that serve a purpose are kept for, a line each."""
    said = [
        f"decisions of {place.name}: {wording.days(_decision_days(profile, place))}"
        for place in profile.placement
        if purpose.name in place.purposes
    ]
    said += [
        f"examples of {model.name}: {_example_days(profile, model)}"
        for model in profile.model
        if purpose.name in model.purposes and _learns(profile, model)
    ]
    return said


def shortest(profile: Profile) -> float:
    """Days of the shortest category of all."""
    return min(kept.days for kept in profile.retention.values())


def longest(profile: Profile) -> float:
    """Days after which the sweep lets go of whatever has an end at all."""
    return max(CAPS_DAYS, DEDUPE_DAYS, *(kept.days for kept in profile.retention.values()))


def source_days(profile: Profile, source: Source) -> float:
    """Days of the shortest category of a source's fields: as long as anything is kept that its events cause."""
    return min(profile.retention[field.category].days for field in source.field)


def _decision_days(profile: Profile, place: Placement) -> float:
    if isinstance(place.trigger, OnEvent):
        name = place.trigger.source
        return next((source_days(profile, one) for one in profile.source if one.name == name), shortest(profile))
    return shortest(profile)


def _fed(profile: Profile) -> set[str]:
    """Models that learn from what decisions earned."""
    return {step.target.removeprefix("examples of ") for step in derive(profile).steps if step.how == "feedback"}


def _learns(profile: Profile, model: Model) -> bool:
    return bool(model.learn) or model.name in _fed(profile)


def _example_days(profile: Profile, model: Model) -> str:
    learned = {learn.source for learn in model.learn}
    spans = {
        f"from {one.name}": wording.days(source_days(profile, one)) for one in profile.source if one.name in learned
    }
    if model.name in _fed(profile):
        spans["from feedback"] = wording.days(shortest(profile))
    told = ", ".join(f"{days} {source}" for source, days in spans.items())
    return f"{told}, {model.examples_max:,} at most"


def _of_people(profile: Profile) -> Iterator[Row]:
    spans = [f"{wording.days(source_days(profile, one))} after an event of {one.name}" for one in profile.source]
    yield "Profiles", "counts and newest values of a person or the household", "; ".join(spans)
    if profile.placement:
        kept = [f"{one.name}: {wording.days(_decision_days(profile, one))}" for one in profile.placement]
        what = "what was decided, for whom, by which values, rules and scores"
        yield "Decisions", what, "; ".join(kept)
        least = wording.days(shortest(profile))
        yield "Outcomes", "what came of a decision: click, dismissal, reward", least
        times = wording.days(CAPS_DAYS)
        yield "Times of decisions", "when something was decided for a person, for caps", f"{times} after the last one"
    taught = [f"{one.name}: {_example_days(profile, one)}" for one in profile.model if _learns(profile, one)]
    if taught:
        yield "Examples", "what models learn from: values, item, label, person", "; ".join(taught)
    yield (
        "Journal",
        "events as they were kept, to relive them; only where the settings say record = true",
        "as long as profiles",
    )
    asked = any(one.consent == "required" for one in profile.purpose)
    what = "who said yes or no to what, when, and to which text" if asked else "objections, and when they were made"
    yield "Words of consent", what, "no end: until the person is erased"
    yield "Ids of events", "so that none counts twice; hashes where a source names none", wording.days(DEDUPE_DAYS)
    if profile.identity is not None:
        yield "Who is who", "signs that two subjects are one person, and what follows", "as long as what is read for it"
    if any(place.delivery is not None for place in profile.placement):
        yield (
            "Messages",
            "what waits to be delivered, and to whom it was",
            "until its expiry and a day",
        )


def _of_everybody(profile: Profile) -> Iterator[Row]:
    tried = [one.experiment for one in profile.placement if one.experiment is not None]
    most = longest(profile)
    for experiment in tried:
        own = min(most, max(experiment.window_s / 86_400.0 + 1.0, shortest(profile)))
        what = f"{experiment.name}: a person's arm and measures; sums over all"
        yield (
            "Experiments",
            what,
            f"{wording.days(own)} after the last measure; sums {wording.days(most)} after the last change",
        )
    if any(model.federated for model in profile.model):
        yield (
            "Personal parameters",
            "numbers that a model learned of one person",
            "no end: until the person takes the yes back or is erased, or a new model has another shape",
        )
    if any(not isinstance(place.policy, Best | Threshold) or place.popular is not None for place in profile.placement):
        yield "Learned choices", "sums over everybody of what items earned", "no end: older rewards count less"
    if profile.metric or tried:
        yield "Metrics", "sums over everybody, by placement, arm and segment", "no end: with the device"


def _of_the_device(profile: Profile) -> Iterator[Row]:
    share = round(LEDGER_SHARE * profile.device.disk_mib_max)
    yield (
        "Ledger",
        "what left: kind, bytes, SHA-256, purpose, time; no content",
        f"no end by time; when the database is full, the oldest above {share} MiB are folded into their sums",
    )
    yield "Seals", "a signed Merkle root for each day of the ledger", "no end: with the device"
    yield (
        "looks.log",
        "who looked at whose data, when and why; people as marks",
        f"at least {LOOKS_DAYS} days; older ones go when the log is larger than {LOOKS_MIB} MiB",
    )
    yield "Erasure receipts", "that somebody was erased, and how many rows; no name", "no end: with the device"
    yield "Waiting to be sent", "what the broker has not taken yet", "until its expiry"
