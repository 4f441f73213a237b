"""Who answers for a profile, about whom it is, and who agreed to what it widens."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Text = Annotated[str, Meta(max_length=300)]


class Controller(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who decides why and how people's data are used: named in notices and records, and nowhere else."""

    name: Annotated[str, Meta(max_length=300, description="the organisation or household; empty: not said")] = ""
    contact: Annotated[str, Meta(max_length=300, description="how people reach it: an address, a mail, a page")] = ""
    officer: Annotated[Text, Meta(description="how people reach the data protection officer; empty: there is none")] = (
        ""
    )
    authority: Annotated[Text, Meta(description="the supervisory authority where people may complain")] = ""
    country: Annotated[
        str, Meta(pattern=r"^([A-Z]{2})?$", description="where the device stands, ISO 3166-1 alpha-2; empty: not said")
    ] = ""


class People(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """About whom data are collected."""

    groups: Annotated[
        tuple[Text, ...], Meta(max_length=20, description="in plain words: `people of the household`, `visitors`")
    ] = ()
    children: Annotated[
        Literal["unknown", "none", "possible", "likely"],
        Meta(description="whether children may be among them; unknown: nobody has thought about it"),
    ] = "unknown"
    guardian: Annotated[
        bool, Meta(description="true: a child's yes is given by who answers for it, and the page asks so")
    ] = False


class Approval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who agreed to this version. Two people must, when it collects or sends more than the one before."""

    version: Annotated[
        str, Meta(pattern=r"^(\d+\.\d+\.\d+)?$", description="the profile's version that was agreed to; empty: none")
    ] = ""
    people: Annotated[tuple[Text, ...], Meta(max_length=20, description="who agreed, by name or role")] = ()
    reason: Annotated[str, Meta(max_length=1_000, description="why more is needed")] = ""
