"""TOML that documents show: every key is known where it stands, and every value is of its kind."""

import re
import tomllib
from typing import Any, Final

import msgspec
import pytest
from jsonschema import Draft202012Validator

from coordinator.rollout.plan import Plan
from coordinator.shell import round_file
from edge_agent.settings import Settings
from firmware_configs.profile import schema_json
from firmware_configs.waivers import Waivers
from models.pipeline.config import Config
from tests.docs.world import ROOT

DOCUMENTS: Final = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK: Final = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def whole_schemas() -> dict[str, Any]:
    """What a fragment may be of."""
    kinds = {"settings": Settings, "rollout": Plan, "waivers": Waivers, "pipeline": Config}
    found = {name: msgspec.json.schema(kind) for name, kind in kinds.items()}
    return {"profile": msgspec.json.decode(schema_json()), "rounds": msgspec.json.schema(round_file._kind()), **found}


def lenient(schema: Any) -> Any:
    """The same for fragments: nothing is required."""
    if isinstance(schema, dict):
        return {key: lenient(value) for key, value in schema.items() if key != "required"}
    return [lenient(one) for one in schema] if isinstance(schema, list) else schema


SCHEMAS: Final = {name: lenient(schema) for name, schema in whole_schemas().items()}
FRAGMENTS: Final = [
    pytest.param(text, id=f"{path.relative_to(ROOT)}-{number}")
    for path in DOCUMENTS
    for number, text in enumerate(BLOCK.findall(path.read_text(encoding="utf-8")), start=1)
]


def resolved(schema: Any, root: Any) -> Any:
    """What a reference stands for."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def in_its_place(value: Any, schema: Any, root: Any) -> Any:
    """`[placement.stability]` alone belongs to one of many placements: a table where a list is wanted is one of it."""
    schema = resolved(schema, root)
    if schema.get("type") == "array" and isinstance(value, dict):
        return [in_its_place(value, schema["items"], root)]
    if schema.get("type") == "array" and isinstance(value, list):
        return [in_its_place(one, schema.get("items", {}), root) for one in value]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {key: in_its_place(one, known.get(key, {}), root) for key, one in value.items()}
    return value


def faults(fragment: dict[str, Any], schema: Any) -> list[str]:
    placed = in_its_place(fragment, schema, schema)
    return [f"{one.json_path}: {one.message[:200]}" for one in Draft202012Validator(schema).iter_errors(placed)]


@pytest.mark.parametrize("text", FRAGMENTS)
def test_every_table_fits_what_reads_it(text: str) -> None:
    fragment = msgspec.json.decode(msgspec.json.encode(tomllib.loads(text)))  # dates as text
    told = {name: faults(fragment, schema) for name, schema in SCHEMAS.items()}
    assert any(not found for found in told.values()), told


def test_a_key_that_is_misspelt_is_found() -> None:
    assert not faults({"placement": {"stability": {"hold_s": 300.0}}}, SCHEMAS["profile"])
    assert faults({"placement": {"stability": {"holds_s": 300.0}}}, SCHEMAS["profile"])
    assert faults({"placement": {"stability": {"hold_s": "long"}}}, SCHEMAS["profile"])
