"""Who is who: what may show that two subjects are one person, and what follows from it. It never leaves the device."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.terms import Name, Positive


class CertainLink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shows for certain that two subjects are one person."""

    name: Name
    kind: Annotated[
        Literal["login", "pairing"],
        Meta(
            description="login: `field` names an account, and subjects with the same one belong together; a subject "
            "with two is shared, and belongs to nobody. pairing: `field` names the subject it was paired with"
        ),
    ]
    field: Annotated[
        str, Meta(min_length=1, description="a text field of a source with a subject; for logins best as keyed-hash")
    ]


class Evidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes it more or less likely that two subjects are one person; it is counted, and never certain."""

    name: Name
    kind: Annotated[
        Literal["same-value", "hand-over", "turns", "rhythm", "habit"],
        Meta(
            description="same-value: both have the same `field` (a network, a room) when they have one in the same "
            "`within_s`; hand-over: one begins within `within_s` after the other's last event; turns: while one goes "
            "on (within `within_s`) the other does nothing; rhythm: active at the same hours; habit: similar values "
            "of `field` over time"
        ),
    ]
    field: Annotated[str, Meta(description="for same-value and habit: a field of a source with a subject")] = ""
    sources: Annotated[
        tuple[Name, ...],
        Meta(description="for hand-over, turns and rhythm: whose events count; empty: all with a subject"),
    ] = ()
    within_s: Annotated[
        Positive,
        Meta(description="same-value, turns: the stretch that is compared; hand-over: the longest pause, seconds"),
    ] = 300.0
    gap_s: Annotated[Positive, Meta(description="hand-over: silence after which a subject begins anew, seconds")] = (
        300.0
    )
    least: Annotated[
        float, Meta(ge=1.0, description="stretches, beginnings or hours of each before it counts for or against")
    ] = 8.0
    edges: Annotated[
        tuple[float, ...],
        Meta(
            max_length=8,
            description="ascending, within 0 to 1: they cut the rate or likeness of a pair into levels; empty: the "
            "kind's own (docs/decisions.md)",
        ),
    ] = ()
    same: Annotated[
        tuple[Positive, ...], Meta(description="probability of each level when it is one person; adds up to 1")
    ] = ()
    different: Annotated[
        tuple[Positive, ...], Meta(description="probability of each level when it is two people; adds up to 1")
    ] = ()


class Apart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shows that two subjects are two people: at the same time at two places."""

    name: Name
    field: Annotated[str, Meta(min_length=1, description="a field that names the place: a room, a coarse cell")]
    within_s: Annotated[Positive, Meta(description="how close in time the two must be, seconds")] = 10.0
    days: Annotated[Positive, Meta(description="how long it keeps the two apart")] = 90.0


class Identity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which subjects belong to one person. Without this table each subject is a person of its own."""

    purposes: Annotated[
        tuple[Name, ...],
        Meta(min_length=1, description="why; a subject without consent to all of them is linked with nobody"),
    ]
    view: Annotated[
        Literal["subject", "person"],
        Meta(
            description="what models and rules see: the subject's own history, or that of all subjects of the person; "
            "caps and experiments go by person in both"
        ),
    ] = "subject"
    link_at: Annotated[
        float, Meta(gt=0.5, lt=1.0, description="confidence from which two subjects count as one person")
    ] = 0.9
    maybe_at: Annotated[
        float,
        Meta(gt=0.0, lt=1.0, description="from here up it is told as `maybe`, and decides nothing"),
    ] = 0.5
    prior: Annotated[
        float, Meta(gt=0.0, lt=1.0, description="share of the pairs with any evidence that are one person")
    ] = 0.1
    half_life_days: Annotated[
        Positive, Meta(description="after so many days evidence counts half, and a confidence falls half way back")
    ] = 30.0
    certain_days: Annotated[
        Positive, Meta(description="a login or pairing that was not seen again for so long ends its link")
    ] = 90.0
    learn: Annotated[
        bool,
        Meta(description="adapt `same`, `different` and `prior` to the pairs on this device, once a day (EM)"),
    ] = True
    link: Annotated[tuple[CertainLink, ...], Meta(max_length=10)] = ()
    evidence: Annotated[tuple[Evidence, ...], Meta(max_length=10)] = ()
    apart: Annotated[tuple[Apart, ...], Meta(max_length=5)] = ()
