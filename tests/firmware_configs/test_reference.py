"""The reference cannot lie: it is generated, and what is generated is committed."""

from pathlib import Path

import pytest

from firmware_configs import reference
from firmware_configs.loader import load
from firmware_configs.reference_profile import REFERENCE


@pytest.mark.parametrize("name", sorted(reference.files()))
def test_the_committed_reference_is_what_the_structs_say(name: str) -> None:
    committed = (reference.FOLDER / name).read_bytes()
    assert committed == reference.files()[name], "run `make reference`"


def test_the_reference_profile_loads_and_means_what_it_was_made_from() -> None:
    assert load(reference.FOLDER / "reference.toml").profile == REFERENCE


def test_every_option_of_the_language_stands_in_the_reference() -> None:
    import msgspec
    from msgspec import Struct

    from firmware_configs import profile

    text = (reference.FOLDER / "reference.toml").read_text()
    missing = [
        f"{name}.{field.encode_name}"
        for name, struct in vars(profile).items()
        if isinstance(struct, type) and issubclass(struct, Struct) and struct is not Struct
        for field in msgspec.structs.fields(struct)
        if f"{field.encode_name} =" not in text
        and f"[{field.encode_name}]" not in text
        and f".{field.encode_name}]" not in text
    ]
    assert missing == []


def test_every_option_has_a_meaning_in_the_json_schema() -> None:
    assert b'"description"' in Path(reference.FOLDER / "profile.schema.json").read_bytes()
