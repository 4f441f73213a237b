"""DM0xx: what is collected, whether it must be, and whether so exactly."""

from collections.abc import Iterator

from firmware_configs.categories import is_sensitive
from firmware_configs.profile import Keep, KeyedHash, LifetimeValue, ReturnVisit
from firmware_configs.rules import words
from firmware_configs.rules.rule import AuditRule, Case, Where

LONG_DAYS = 365.0
SHORT_LIVED_DAYS = 30.0
QUASI_MAX = 4
PERSONAL_FEATURES = ("user.demographic", "user.device", "user.location", "user.unique_id")


def _named(path: str, name: str) -> set[str]:
    return words.of(name) | words.of(path)


def _unused(case: Case) -> Iterator[Where]:
    places = {field.name: where for where, _, field in case.fields()}
    for name in case.lineage.unused:
        yield places[name], f"`{name}` is collected, and nothing needs it", "remove the field, or say what needs it"


def _precise_location(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if _named(field.path, field.name) & words.PLACE and isinstance(field.transform, Keep):
            what = f"`{field.name}` is kept at full precision"
            yield where, what, 'transform = { kind = "coarse-location", cell_degrees = 0.01 }'


def _identifier(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        told = words.of(field.name) & words.OWN_NAME or _named(field.path, field.name) & words.IDENTIFIER
        names = (field.name, field.path)
        stable = [one for one in (words.told_by(name, words.STABLE, words.STABLE_PAIRS) for name in names) if one]
        if isinstance(field.transform, Keep) and ((field.type == "text" and told) or (field.type != "flag" and stable)):
            what = f"`{field.name}` looks like a stable identifier and is kept as it is"
            yield where, what, 'transform = { kind = "keyed-hash", rotate_days = 30 }'


def _long_retention(case: Case) -> Iterator[Where]:
    for category, retention in case.profile.retention.items():
        if retention.days > LONG_DAYS:
            fix = f"keep at most {LONG_DAYS:g} days, or show why more is needed"
            yield f"retention.{category}", f"kept for {retention.days:g} days", fix


def _unused_retention(case: Case) -> Iterator[Where]:
    used = {field.category for _, _, field in case.fields()}
    for category in case.profile.retention:
        if category not in used:
            yield f"retention.{category}", "no field has this category", "remove the line"


def _precise_time(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if words.of(field.name) & words.TIME and isinstance(field.transform, Keep) and field.type != "flag":
            what = f"`{field.name}` looks like a time and is kept to the second"
            yield where, what, 'transform = { kind = "truncate-time", to = "hour" }'


def _never_rotates(case: Case) -> Iterator[Where]:
    identity = case.profile.identity
    logins = {link.field for link in identity.link} if identity is not None else set()
    for where, _, field in case.fields():
        if isinstance(field.transform, KeyedHash) and not field.transform.rotate_days and field.name not in logins:
            what = f"the hash of `{field.name}` never changes: it is a new name for the same person, for ever"
            yield f"{where}.transform", what, "rotate_days = 30, or use it as an [[identity.link]]"


def _age(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if words.of(field.name) & words.AGE and isinstance(field.transform, Keep) and field.type == "number":
            what = f"`{field.name}` is kept to the year"
            yield where, what, 'transform = { kind = "bucket", edges = [0.0, 18.0, 30.0, 45.0, 60.0, 75.0] }'


def _outlives_use(case: Case) -> Iterator[Where]:
    """A category that only rules, triggers and the newest values need is not needed for long."""
    learned = {
        name for model in case.profile.model for learn in model.learn for name in (learn.item, learn.label_field)
    }
    learned |= {s.source.removeprefix("field ") for s in case.lineage.steps if _lasts(s.target)}
    sources = {learn.source for model in case.profile.model for learn in model.learn}
    sources |= {outcome.source for outcome in case.profile.outcome}
    measures = (metric.measure for metric in case.profile.metric)
    sources |= {m.source for m in measures if isinstance(m, ReturnVisit | LifetimeValue)}
    lasting = {f.category for _, s, f in case.fields() if f.name in learned or s.name in sources}
    for category, retention in case.profile.retention.items():
        if retention.days > SHORT_LIVED_DAYS and category not in lasting:
            what = f"kept for {retention.days:g} days, but only its newest values are ever used"
            yield f"retention.{category}", what, f"keep at most {SHORT_LIVED_DAYS:g} days"


def _lasts(target: str) -> bool:
    """Whether what is reached may need more than the newest value."""
    if target.startswith("feature "):
        return not target.startswith("feature last(")
    return target.startswith(("model ", "examples ", "identity", "metric ", "outcome ", "segment ", "views "))


def _raw_number(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if field.type == "number" and field.category == "user.sensor" and isinstance(field.transform, Keep):
            what = f"`{field.name}` is kept with every digit the sensor gives"
            yield where, what, 'transform = { kind = "round", step = … } as coarse as decisions allow'


def _free_text(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if field.type == "text" and _named(field.path, field.name) & words.FREE_TEXT:
            what = f"`{field.name}` looks like free text: people write there what nobody expects"
            yield where, what, "collect a category chosen from a list instead"


def _linkage(case: Case) -> Iterator[Where]:
    told = [
        (where, field.name)
        for where, source, field in case.fields()
        if field.category.startswith(PERSONAL_FEATURES) and isinstance(field.transform, Keep)
    ]
    if len(told) > QUASI_MAX:
        listed = ", ".join(name for _, name in told)
        what = f"{len(told)} features of a person are kept as they are ({listed}): together they single people out"
        yield told[QUASI_MAX][0], what, f"keep at most {QUASI_MAX}, or coarsen some with a transform"


def _recording(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if found := sorted(_named(field.path, field.name) & words.RECORDING):
            what = f"`{field.name}` seems to carry a recording ({', '.join(found)})"
            yield where, what, "let the sensor send what it recognised, not what it saw or heard"


def _subject_is_contact(case: Case) -> Iterator[Where]:
    for n, source in enumerate(case.profile.source):
        if found := sorted(words.of(source.subject) & words.IDENTIFIER):
            what = f"people are told apart by their {found[0]} (`{source.subject}`)"
            yield f"source[{n}].subject", what, "let the app send an account's number that means nothing elsewhere"


def _everything(case: Case) -> Iterator[Where]:
    for n, source in enumerate(case.profile.source):
        if source.topic.split("/")[0] in {"#", "+"}:
            what = f"`{source.topic}` hears everything that any device says"
            yield f"source[{n}].topic", what, "name the topic; `{device}` stands for this device"


def _other_devices(case: Case) -> Iterator[Where]:
    for n, source in enumerate(case.profile.source):
        first = source.topic.split("/")[0]
        if "+" in source.topic.split("/")[1:] and "{device}" not in source.topic and first not in {"#", "+"}:
            what = f"`{source.topic}` also matches what belongs to other devices"
            yield f"source[{n}].topic", what, "write `{device}` in place of the `+` that names the device"


def _twice(case: Case) -> Iterator[Where]:
    seen: dict[tuple[str, str], str] = {}
    for _, source, field in case.fields():
        if not isinstance(field.transform, Keep):
            seen[source.topic, field.path or field.name] = field.name
    for where, source, field in case.fields():
        coarse = seen.get((source.topic, field.path or field.name))
        if isinstance(field.transform, Keep) and coarse is not None:
            what = f"`{field.name}` keeps in full what `{coarse}` takes care to coarsen"
            yield where, what, "remove one of the two, or coarsen both"


def _sensitive_in_full(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if is_sensitive(field.category) and isinstance(field.transform, Keep) and field.type != "flag":
            what = f"`{field.name}` ({field.category}) is kept as it came"
            yield where, what, "coarsen it: bucket, round or keyed-hash"


RULES = (
    AuditRule(
        code="DM001",
        level="error",
        title="Collected without use",
        why="What nobody needs can only leak. Lineage is derived from models and rules, so this is a proof.",
        check=_unused,
        law="GDPR Art. 5 (1) c",
    ),
    AuditRule(
        code="DM002",
        level="error",
        title="Precise location",
        why="A precise position tells where people live and sleep; a grid cell is enough for most decisions.",
        check=_precise_location,
        law="GDPR Art. 5 (1) c",
    ),
    AuditRule(
        code="DM003",
        level="warning",
        title="Stable identifier kept as it is",
        why="An identifier that never changes links what a person does here with what is known elsewhere.",
        check=_identifier,
        law="GDPR Art. 4 (5), 25",
    ),
    AuditRule(
        code="DM004",
        level="warning",
        title="Kept for more than a year",
        why="Old behaviour rarely helps a decision and always helps an attacker.",
        check=_long_retention,
        law="GDPR Art. 5 (1) e",
    ),
    AuditRule(
        code="DM005",
        level="note",
        title="Retention for nothing",
        why="A reader is led to believe that something is collected which is not.",
        check=_unused_retention,
    ),
    AuditRule(
        code="DM006",
        level="warning",
        title="Time to the second",
        why="Exact times betray when people wake, leave and come home; the hour is enough for most decisions.",
        check=_precise_time,
        law="GDPR Art. 5 (1) c",
    ),
    AuditRule(
        code="DM007",
        level="warning",
        title="A hash that never changes",
        why="A hash that stays the same is a pseudonym: whoever sees it twice knows that it was the same person.",
        check=_never_rotates,
        law="GDPR Art. 4 (5)",
    ),
    AuditRule(
        code="DM008",
        level="warning",
        title="Exact age",
        why="An age to the year, with a place, singles people out; an age group serves as well.",
        check=_age,
        law="GDPR Art. 5 (1) c",
    ),
    AuditRule(
        code="DM009",
        level="warning",
        title="Kept longer than it is used",
        why="Only the newest value is ever read. Everything older lies there for whoever takes the device.",
        check=_outlives_use,
        law="GDPR Art. 5 (1) e",
    ),
    AuditRule(
        code="DM010",
        level="note",
        title="Every digit of a sensor",
        why="Fine readings tell more than was meant: small steps of CO2 or power tell how many are in.",
        check=_raw_number,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM011",
        level="warning",
        title="Free text",
        why="Into free text people write names, illnesses and secrets, which no purpose of the profile covers.",
        check=_free_text,
        law="GDPR Art. 5 (1) c, 9",
    ),
    AuditRule(
        code="DM012",
        level="warning",
        title="Features that single people out together",
        why="Five harmless features of a person are rarer than a name: whoever knows them elsewhere knows who it is.",
        check=_linkage,
        law="GDPR Recital 26",
    ),
    AuditRule(
        code="DM013",
        level="error",
        title="Recording of people",
        why="A picture or a voice tells everything about everyone who passes, whatever it was recorded for.",
        check=_recording,
        law="GDPR Art. 5 (1) c, 9",
    ),
    AuditRule(
        code="DM014",
        level="warning",
        title="People told apart by how they are reached",
        why="An address or phone number as the name of a profile makes it useful to whoever steals it.",
        check=_subject_is_contact,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM015",
        level="error",
        title="Hears everything",
        why="A device that hears the whole broker collects what nobody has declared, the day someone adds a sensor.",
        check=_everything,
        law="GDPR Art. 5 (1) b",
    ),
    AuditRule(
        code="DM016",
        level="warning",
        title="Hears other devices",
        why="Events of other homes end up in this one, where nobody was asked.",
        check=_other_devices,
        law="GDPR Art. 5 (1) b",
    ),
    AuditRule(
        code="DM017",
        level="error",
        title="Coarse and precise at once",
        why="A value that is kept coarse under one name and in full under another is kept in full.",
        check=_twice,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM018",
        level="warning",
        title="Sensitive values in full",
        why="Health, belief and bodies hurt most when they leak, and exact values hurt more than coarse ones.",
        check=_sensitive_in_full,
        law="GDPR Art. 9, 25",
    ),
)
