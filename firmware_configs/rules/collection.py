"""DM0xx: what is collected, and whether it must be."""

from collections.abc import Iterator

from firmware_configs.lineage import Lineage
from firmware_configs.profile import Keep, Profile
from firmware_configs.rules.rule import AuditRule, Where

LONG_DAYS = 365.0
PRECISE = ("latitude", "longitude", "lat", "lon", "gps")
IDENTIFIERS = ("email", "phone", "mac", "imei", "serial", "address", "name", "ip")


def _unused(profile: Profile, lineage: Lineage) -> Iterator[Where]:
    places = {f.name: f"source[{n}].field[{m}]" for n, s in enumerate(profile.source) for m, f in enumerate(s.field)}
    for name in lineage.unused:
        what = f"`{name}` is collected, and nothing needs it"
        yield places[name], what, "remove the field, or say what needs it"


def _precise_location(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, source in enumerate(profile.source):
        for m, field in enumerate(source.field):
            words = set(field.name.split("_")) | set((field.path or "").lower().split("."))
            if words & set(PRECISE) and isinstance(field.transform, Keep):
                yield (
                    f"source[{n}].field[{m}]",
                    f"`{field.name}` is kept at full precision",
                    'transform = { kind = "coarse-location", cell_degrees = 0.01 }',
                )


def _identifier(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, source in enumerate(profile.source):
        for m, field in enumerate(source.field):
            words = set(field.name.split("_"))
            if field.type == "text" and words & set(IDENTIFIERS) and isinstance(field.transform, Keep):
                yield (
                    f"source[{n}].field[{m}]",
                    f"`{field.name}` looks like a stable identifier and is kept as it is",
                    'transform = { kind = "keyed-hash", rotate_days = 30 }',
                )


def _long_retention(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for category, retention in profile.retention.items():
        if retention.days > LONG_DAYS:
            yield (
                f"retention.{category}",
                f"kept for {retention.days:g} days",
                f"keep at most {LONG_DAYS:g} days, or show why more is needed",
            )


def _unused_retention(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    used = {field.category for source in profile.source for field in source.field}
    for category in profile.retention:
        if category not in used:
            yield f"retention.{category}", "no field has this category", "remove the line"


RULES = (
    AuditRule(
        code="DM001",
        level="error",
        title="Collected without use",
        why="What nobody needs can only leak. Lineage is derived from models and rules, so this is a proof.",
        check=_unused,
    ),
    AuditRule(
        code="DM002",
        level="error",
        title="Precise location",
        why="A precise position tells where people live and sleep; a grid cell is enough for most decisions.",
        check=_precise_location,
    ),
    AuditRule(
        code="DM003",
        level="warning",
        title="Stable identifier kept as it is",
        why="An identifier that never changes links what a person does here with what is known elsewhere.",
        check=_identifier,
    ),
    AuditRule(
        code="DM004",
        level="warning",
        title="Kept for more than a year",
        why="Old behaviour rarely helps a decision and always helps an attacker.",
        check=_long_retention,
    ),
    AuditRule(
        code="DM005",
        level="note",
        title="Retention for nothing",
        why="A reader is led to believe that something is collected which is not.",
        check=_unused_retention,
    ),
)
