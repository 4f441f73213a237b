"""DM5xx: what is computed, and whether anybody has looked at it."""

from collections.abc import Iterator

from firmware_configs.profile import Model
from firmware_configs.rules.rule import AuditRule, Case, Where

GAPS_MAX = {"auc_gap_max": 0.15, "calibration_gap_max": 0.15, "exposure_gap_max": 0.3}
"""Above it a limit watches nothing: such a gap is seen without counting."""


def _each(case: Case) -> Iterator[tuple[str, Model]]:
    for n, model in enumerate(case.profile.model):
        yield f"model[{n}]", model


def _unseen(case: Case) -> Iterator[Where]:
    known = {bundle.name for bundle in case.bundles}
    for where, model in _each(case):
        if model.name not in known:
            what = f"no bundle of `{model.name}` was at hand: it is taken to need everything"
            yield where, what, "pass it: edge-audit check --bundle FILE"


def _no_card(case: Case) -> Iterator[Where]:
    lacking = {bundle.name for bundle in case.bundles if not bundle.card}
    for where, model in _each(case):
        if model.name in lacking:
            what = f"the bundle of `{model.name}` has no card: nobody says what it is for and where it fails"
            yield where, what, "ask its author for card.md"


def _no_subgroups(case: Case) -> Iterator[Where]:
    lacking = {bundle.name for bundle in case.bundles if bundle.card and "subgroup" not in bundle.card.lower()}
    for where, model in _each(case):
        if model.name in lacking:
            what = f"the card of `{model.name}` tells no figures by subgroup: whom it serves worse is not known"
            yield where, what, "ask its author for metrics by subgroup"


def _missing(case: Case) -> Iterator[Where]:
    places = {model.name: where for where, model in _each(case)}
    for told in case.lineage.missing:
        model, _, field = told.partition(" needs ")
        what = f"`{model}` needs `{field}`, which is not collected: it cannot be loaded"
        yield places.get(model, "model"), what, "collect the field, or use another model"


def _open_ended(case: Case) -> Iterator[Where]:
    for where, model in _each(case):
        if not any(mark in model.versions for mark in ("<", "==", "~=")):
            what = f"`{model.versions}` lets in every version that is ever made"
            yield f"{where}.versions", what, "add an upper bound: `>=1.0,<2`"


def _federated_unasked(case: Case) -> Iterator[Where]:
    for where, model in _each(case):
        if model.federated and not set(model.purposes) & case.asked():
            what = f"`{model.name}` learns together with other devices, and nobody is asked"
            yield f"{where}.purposes", what, 'serve a purpose with consent = "required" as well'


def _at_once(case: Case) -> Iterator[Where]:
    for where, model in _each(case):
        placements = [p for p in case.profile.placement if model.name in p.models and p.actuator]
        if model.swap.start == "full" and placements:
            what = f"a new version of `{model.name}` switches `{placements[0].actuator}` for everyone at once"
            yield f"{where}.swap", what, '[model.swap] start = "shadow" or "canary"'


def _unwatched(case: Case) -> Iterator[Where]:
    personal = {field.name for _, _, field in case.fields() if field.category.startswith("user.")}
    for where, model in _each(case):
        decides = any(model.name in place.models for place in case.profile.placement)
        if decides and personal and model.subgroups is None:
            what = f"`{model.name}` decides about people, and nobody watches whom it serves worse"
            yield where, what, "[model.subgroups] with segments and limits, and an [[egress]] of kind statistic"


def _wide_gaps(case: Case) -> Iterator[Where]:
    for where, model in _each(case):
        own = model.subgroups
        for key, limit in GAPS_MAX.items() if own is not None else ():
            if getattr(own, key) > limit:
                what = f"a gap of {getattr(own, key):g} between groups is let pass at `{model.name}`"
                yield f"{where}.subgroups.{key}", what, f"at most {limit:g}, or say to people why more is fair"


RULES = (
    AuditRule(
        code="DM501",
        level="note",
        title="A model that was not looked at",
        why="Without the bundle nobody can prove which fields it needs, so an unused field may hide behind it.",
        check=_unseen,
    ),
    AuditRule(
        code="DM502",
        level="error",
        title="A model without a card",
        why="Whoever decides about people by a model must say what it was made from and where it fails.",
        check=_no_card,
        law="Regulation (EU) 2024/1689, Art. 11, 13",
    ),
    AuditRule(
        code="DM503",
        level="note",
        title="A card without subgroups",
        why="A good average hides whom the model serves badly.",
        check=_no_subgroups,
        law="Regulation (EU) 2024/1689, Art. 10",
    ),
    AuditRule(
        code="DM504",
        level="error",
        title="A model that cannot run",
        why="What is declared and cannot work will be mended in a hurry, by collecting more.",
        check=_missing,
    ),
    AuditRule(
        code="DM505",
        level="warning",
        title="Any future model",
        why="Who agrees to a model agrees to what is known of it, not to whatever bears its name later.",
        check=_open_ended,
    ),
    AuditRule(
        code="DM506",
        level="error",
        title="Learning together without asking",
        why="To learn from people for the benefit of others is a purpose of its own.",
        check=_federated_unasked,
        law="GDPR Art. 6",
    ),
    AuditRule(
        code="DM507",
        level="note",
        title="New models act at once",
        why="A version that was never watched should not switch things for everyone.",
        check=_at_once,
    ),
    AuditRule(
        code="DM508",
        level="note",
        title="Nobody watches whom it serves worse",
        why="A card tells of the people that its author had. Whom a model serves worse here, only devices can count.",
        check=_unwatched,
        law="Regulation (EU) 2024/1689, Art. 10, 26",
    ),
    AuditRule(
        code="DM509",
        level="warning",
        title="Gaps that are let pass",
        why="A limit that is never passed is not watched by anybody.",
        check=_wide_gaps,
        law="Regulation (EU) 2024/1689, Art. 26",
    ),
)
