"""Where something is decided: triggers, candidates, rules, caps, rewards."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from firmware_configs.language.channels import Cap, Delivery, QuietHours
from firmware_configs.language.experiments import Experiment
from firmware_configs.language.policies import Best, Exploration, Policy
from firmware_configs.language.terms import Cel, Name, Positive, Share


class OnEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="event", tag_field="kind"):
    """Decide whenever an event of `source` arrives."""

    source: Name
    when: Annotated[str, Meta(description="CEL over the event's fields; empty: always")] = ""


class OnRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="request", tag_field="kind"):
    """Decide when someone asks on `…/request/{placement}`."""


Trigger = OnEvent | OnRequest


class Candidate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that can be chosen."""

    item: Annotated[str, Meta(min_length=1, max_length=128)]
    score: Annotated[
        str,
        Meta(description="CEL over model outputs by name (`1.0 - context`); empty: the first model's score"),
    ] = ""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sentence that a person can read and the device obeys."""

    name: Name
    when: Annotated[Cel, Meta(description="CEL over `fields`, `item`, `hour`, `weekday`, `subject`, `session`")]
    effect: Annotated[
        Literal["deny", "allow-only", "boost", "stop"],
        Meta(
            description="deny: never where true; allow-only: only where true; boost: add `value` to the score; stop: "
            "without `item`, nothing at all is decided while true; with it, such an item is never chosen"
        ),
    ]
    value: Annotated[float, Meta(description="for boost")] = 0.0
    reason: Annotated[str, Meta(min_length=5, max_length=300, description="printed by `edge-agent explain`")]


class Stability(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How steady a subject's decisions are: fresh ones follow what is new, steady ones spare people the flicker.

    Measured: `python -m tests.benchmarks.stability`.
    """

    switch_margin: Annotated[
        float,
        Meta(
            ge=0.0,
            description="added to the score of the item that stands, so that another one must be better by as much; in "
            "the scores' own unit. Policies that do not look at scores do not see it",
        ),
    ] = 0.0
    hold_s: Annotated[
        float,
        Meta(
            ge=0.0,
            description="a decision is repeated for so long, and no model is asked, while its items are allowed and "
            "neither bundle nor arm has changed: a request then gets what the last event prepared. 0: decide each time",
        ),
    ] = 0.0


class Popular(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rung of the fallback ladder, after what was cached: the item that earned the most reward here lately."""

    half_life_s: Annotated[Positive, Meta(description="after which a reward counts half, seconds")] = 604_800.0


class Reward(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an outcome is worth to the bandit and as a label."""

    outcome: Annotated[str, Meta(min_length=1, max_length=64, description="such as `click`, `dismiss`, `override`")]
    value: Annotated[float, Meta(ge=0.0, le=1.0)]


class Placement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place where something is decided."""

    name: Name
    trigger: Trigger
    purposes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    models: Annotated[tuple[Name, ...], Meta(description="models that score, in order")] = ()
    candidate: Annotated[
        tuple[Candidate, ...],
        Meta(
            max_length=1_000,
            description="fixed candidates; empty: the first model's catalogue, or the request's own",
        ),
    ] = ()
    slate: Annotated[int, Meta(ge=1, le=100, description="items in one decision, best first")] = 1
    rule: Annotated[tuple[Rule, ...], Meta(max_length=2_000)] = ()
    policy: Policy = Best()
    exploration: Exploration | None = None
    experiment: Experiment | None = None
    channel: Annotated[str, Meta(description="how it reaches people: `app`, `display`, `light`, `voice`")] = "app"
    actuator: Annotated[str, Meta(description="name of an [[actuator]] that the decision switches; empty: none")] = ""
    cap: tuple[Cap, ...] = ()
    quiet_hours: QuietHours | None = None
    budget_ms: Annotated[Positive, Meta(description="time from trigger to choice; over it, the fallback ladder")] = 50.0
    fallback: Annotated[
        str, Meta(description="item decided when models, rules and cache cannot; empty: no decision")
    ] = ""
    stability: Stability | None = None
    popular: Popular | None = None
    expiry_s: Annotated[Positive, Meta(description="how long the decision is worth delivering")] = 300.0
    reward: tuple[Reward, ...] = ()
    reward_window_s: Annotated[Positive, Meta(description="feedback later than this is not joined")] = 86_400.0
    no_outcome: Annotated[
        Share | None,
        Meta(description="reward of an item whose window closes without an outcome; not written: none"),
    ] = None
    delivery: Annotated[
        Delivery | None, Meta(description="by declared channels; none: on the placement's own topic, at once")
    ] = None
