"""Why something is collected, for how long, and what is forbidden."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Name


class Purpose(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is collected, in words that people read."""

    name: Name
    legal_basis: Literal[
        "consent", "contract", "legal-obligation", "vital-interests", "public-task", "legitimate-interests"
    ]
    consent: Annotated[
        Literal["required", "not-needed"],
        Meta(description="`required`: nothing is kept before a person says yes"),
    ]
    text: Annotated[str, Meta(min_length=20, max_length=1_000, description="what people are told")]
    shares: Annotated[
        bool, Meta(description="data or what is made of it is sold or shared; Global Privacy Control says no to it")
    ] = False


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long data of one category may exist on the device."""

    days: Annotated[float, Meta(gt=0.0, le=3_650.0)]


class Sensitive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Uses that are forbidden whatever else the profile says."""

    forbidden_categories: Annotated[
        tuple[str, ...], Meta(description="data categories that no field of this profile may carry")
    ] = ()
    forbidden_purposes: tuple[str, ...] = ()
