"""A smaller profile, written from what a search has found."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from firmware_configs.lineage import Lineage
from firmware_configs.loader import parse
from firmware_configs.minimising import Found, Setting
from firmware_configs.profile import Profile


def pinned(lineage: Lineage, model: str) -> list[str]:
    """Fields that something besides this model reads: rules, triggers, examples, identity, other models."""
    features = {step.source for step in lineage.steps if step.target == f"model {model}"}
    own = {*features, f"model {model}"}
    found = [
        step.source.removeprefix("field ")
        for step in lineage.steps
        if step.source.startswith("field ") and step.target not in own
    ]
    return list(dict.fromkeys(found))


def setting_of(profile: Profile, fields: Sequence[str], days_seen: float) -> Setting:
    """What the profile collects now of the fields that the model reads, and for how long.

    Args:
        days_seen: how much of the past the data has; retention beyond it cannot be judged.
    """
    own = {one.name: one for source in profile.source for one in source.field if one.name in fields}
    kept = [profile.retention[one.category].days for one in own.values()]
    return Setting(
        fields={name: own[name].transform for name in fields if name in own},
        days=min([days_seen, *kept]),
    )


def proposed(path: Path, profile: Profile, found: Found) -> str:
    """The profile with fewer fields, coarser values and shorter retention, as TOML; it loads.

    Comments of the original are lost. Retention is shortened for a category when all its fields are in the search.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    gone = set(found.start.fields) - set(found.least.fields)
    for source in document["source"]:
        kept = [one for one in source["field"] if one["name"] not in gone]
        source["field"] = [_with_transform(one, found) for one in kept]
    document["source"] = [source for source in document["source"] if source["field"]]
    if found.least.days < found.start.days:
        for category in {one.category for s in profile.source for one in s.field if one.name in found.least.fields}:
            document["retention"][category] = {"days": found.least.days}
    used = {one["category"] for source in document["source"] for one in source["field"]}
    document["retention"] = {name: kept for name, kept in document["retention"].items() if name in used}
    major, minor, _ = profile.version.split(".")
    document["version"] = f"{major}.{int(minor) + 1}.0"
    text = tomli_w.dumps(document)
    parse(text, f"the proposal for {path}")
    return f"# Proposed by edge-audit minimise from {path.name} {profile.version}. Read it before you use it.\n{text}"


def _with_transform(field: dict[str, Any], found: Found) -> dict[str, Any]:
    transform = found.least.fields.get(field["name"])
    if transform is None or transform == found.start.fields[field["name"]]:
        return field
    return {**field, "transform": msgspec.to_builtins(transform)}
