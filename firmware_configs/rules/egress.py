"""DM2xx: what may leave, how much of it, and what it tells about one person."""

from collections.abc import Iterator

from firmware_configs.categories import is_sensitive
from firmware_configs.profile import Egress
from firmware_configs.rules.rule import AuditRule, Case, Where

DAY_BYTES_MAX = 100_000_000
EPSILON_MAX = 10.0
EPSILON_TRIED = 1.0
"""Of the sum: the largest at which the attack of docs/adr/0058 told who took part hardly better than a coin."""
DELTA_MAX = 1e-3
CLIP_MAX = 100.0
SEGMENT_K_MIN = 10
SUM_K_MIN = 10
"""From here on a sum tells hardly more than what is popular (docs/privacy.md, `make redteam ARGS="--only items"`)."""
SUMMED = frozenset({"update", "statistic", "metric", "experiment"})
"""What is only meant to be read as a sum over devices."""
OF_PEOPLE = SUMMED | {"email", "push", "late-event"}


def _each(case: Case) -> Iterator[tuple[str, Egress]]:
    for n, egress in enumerate(case.profile.egress):
        yield f"egress[{n}]", egress


def _noise(egress: Egress) -> float:
    return egress.privacy.noise_multiplier if egress.privacy is not None else 0.0


def _much(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.bytes_day_max > DAY_BYTES_MAX:
            what = f"`{egress.kind}` may send {egress.bytes_day_max:,} bytes a day"
            yield f"{where}.bytes_day_max", what, "bound it to what the purpose needs"


def _alone(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.kind in SUMMED and egress.k_min < 3:
            what = f"`{egress.kind}` may be read of {egress.k_min} device{'s' if egress.k_min > 1 else ''} alone"
            yield f"{where}.k_min", what, "k_min = 3 or more"


def _epsilon(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        privacy = egress.privacy
        if privacy is not None and privacy.epsilon_max is not None and privacy.epsilon_max > EPSILON_MAX:
            what = f"ε = {privacy.epsilon_max:g} promises next to nothing"
            yield f"{where}.privacy.epsilon_max", what, f"at most {EPSILON_MAX:g}"


def _epsilon_beaten(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        privacy = egress.privacy
        if egress.kind != "update" or privacy is None or privacy.epsilon_max is None or _noise(egress):
            continue
        if EPSILON_TRIED < privacy.epsilon_max <= EPSILON_MAX:
            what = f"at ε = {privacy.epsilon_max:g} of the sum, who knows a person's data can tell if they took part"
            yield f"{where}.privacy.epsilon_max", what, f"at most {EPSILON_TRIED:g}, or say why more is bearable"


def _no_noise(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        privacy = egress.privacy
        if egress.kind == "update" and privacy is not None and not _noise(egress) and privacy.epsilon_max is None:
            what = "updates are clipped, but neither is there noise on them, nor a budget: no ε can be stated"
            yield f"{where}.privacy", what, "noise_multiplier > 0, or epsilon_max for the coordinator's noise"


def _no_noise_on_sums(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.kind == "experiment" and not _noise(egress):
            what = "sums of experiments are told without noise: no ε can be stated"
            yield f"{where}.privacy", what, "[egress.privacy] with noise_multiplier > 0, or tell people so"


def _delta(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.privacy is not None and _noise(egress) and egress.privacy.delta > DELTA_MAX:
            what = f"δ = {egress.privacy.delta:g}: one person in {1 / egress.privacy.delta:,.0f} may be told outright"
            yield f"{where}.privacy.delta", what, "delta = 1e-5, and below one over the number of people"


def _no_budget(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.privacy is not None and _noise(egress) and egress.privacy.epsilon_max is None:
            what = "noise without a budget: what each sending hides, many together tell"
            yield f"{where}.privacy.epsilon_max", what, "epsilon_max = 8, or what you can answer for"


def _fields_out(case: Case) -> Iterator[Where]:
    categories = {field.name: field.category for _, _, field in case.fields()}
    for where, egress in _each(case):
        told = sorted(name for name in egress.fields if is_sensitive(categories.get(name, "")))
        if told:
            what = (
                f"`{egress.kind}` carries {', '.join(f'`{name}` ({categories[name]})' for name in told)} out in words"
            )
            yield f"{where}.fields", what, "leave it out of the text"


def _late_events(case: Case) -> Iterator[Where]:
    for n, source in enumerate(case.profile.source):
        personal = [field.name for field in source.field if field.category.startswith("user.")]
        if source.late == "side" and personal:
            what = f"late events of `{source.name}` leave whole, with {', '.join(f'`{name}`' for name in personal)}"
            yield f"source[{n}].late", what, 'late = "apply" or "drop"'


def _unasked(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        unasked = sorted(set(egress.purposes) - case.asked())
        if egress.kind in OF_PEOPLE and unasked:
            what = f"`{egress.kind}` is made of what people did, and leaves for `{', '.join(unasked)}` without asking"
            yield f"{where}.purposes", what, 'use purposes with consent = "required" only'


def _for_nothing(case: Case) -> Iterator[Where]:
    profile = case.profile
    adapters = {channel.adapter for channel in profile.channel}
    needed = {
        "decision": bool(profile.placement),
        "update": any(model.federated for model in profile.model),
        "metric": bool(profile.metric) or any(outcome.paths for outcome in profile.outcome),
        "experiment": any(place.experiment is not None for place in profile.placement),
        "alert": bool(profile.objective or profile.drift),
        "late-event": any(source.late == "side" for source in profile.source),
        "email": "smtp" in adapters,
        "push": "http" in adapters,
    }
    for where, egress in _each(case):
        if not needed.get(egress.kind, True):
            yield where, f"`{egress.kind}` may leave, and nothing makes one", "remove the [[egress]]: close the door"


def _clips_nothing(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.privacy is not None and egress.privacy.clip_norm > CLIP_MAX:
            what = f"clip_norm = {egress.privacy.clip_norm:g} bounds no update that ever comes"
            yield f"{where}.privacy.clip_norm", what, f"at most {CLIP_MAX:g}; measure the norms of real updates"


def _seen_single(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if (
            egress.kind == "update"
            and egress.privacy is not None
            and not egress.privacy.secret_sum
            and not _noise(egress)
        ):
            what = f"k_min = {egress.k_min} is the coordinator's promise: it sees each update before it adds them up"
            yield f"{where}.privacy.secret_sum", what, "secret_sum = true: then it sees the sum alone"


def _small_sums(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        masked = egress.kind == "update" and egress.privacy is not None and egress.privacy.secret_sum
        if masked and egress.k_min < SUM_K_MIN and not _noise(egress):
            what = f"a sum over {egress.k_min} without noise still tells much of what each of them picked"
            fix = f"k_min = {SUM_K_MIN} or more, or noise_multiplier (docs/privacy.md: what an attacker gets)"
            yield f"{where}.k_min", what, fix


def _small_cells(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.kind == "metric" and case.profile.segment and egress.k_min < SEGMENT_K_MIN and not _noise(egress):
            what = f"metrics by segment, from {egress.k_min} devices: a segment of one tells about that one"
            yield f"{where}.k_min", what, f"k_min = {SEGMENT_K_MIN} or more, or noise"


def _counts_seen(case: Case) -> Iterator[Where]:
    for where, egress in _each(case):
        if egress.kind == "statistic" and not (egress.privacy is not None and egress.privacy.secret_sum):
            what = "the coordinator sees each device's counts before it adds them up"
            yield f"{where}.privacy", what, "privacy = { clip_norm = …, noise_multiplier = …, secret_sum = true }"
        elif egress.kind == "statistic" and not _noise(egress):
            what = "sums of counts are told without noise: no ε can be stated"
            yield f"{where}.privacy.noise_multiplier", what, "noise_multiplier = 1.0 or more, and epsilon_max"


RULES = (
    AuditRule(
        code="DM201",
        level="warning",
        title="Much may leave",
        why="A bound that is never reached bounds nothing.",
        check=_much,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM202",
        level="error",
        title="A device may be read alone",
        why="What is added up over few devices still tells about each of them.",
        check=_alone,
        law="GDPR Recital 26",
    ),
    AuditRule(
        code="DM203",
        level="error",
        title="Privacy budget too large",
        why="Above ε = 10 the promise of differential privacy is empty.",
        check=_epsilon,
    ),
    AuditRule(
        code="DM204",
        level="note",
        title="Updates without noise",
        why="Clipping bounds one device's influence; only noise hides it: the device's own, or the coordinator's.",
        check=_no_noise,
    ),
    AuditRule(
        code="DM205",
        level="note",
        title="Sums of experiments without noise",
        why="Sums over many people still tell about one of them to whoever knows the rest; only noise hides it.",
        check=_no_noise_on_sums,
    ),
    AuditRule(
        code="DM206",
        level="warning",
        title="δ too large",
        why="δ is the share of cases in which the promise may fail altogether; at one in a thousand it fails someone.",
        check=_delta,
    ),
    AuditRule(
        code="DM207",
        level="warning",
        title="Noise without a budget",
        why="Each answer costs a little privacy. Without an end, all of it is spent.",
        check=_no_budget,
    ),
    AuditRule(
        code="DM208",
        level="error",
        title="Sensitive fields in messages",
        why="Mail and push pass servers that nobody here controls, and screens that others see.",
        check=_fields_out,
        law="GDPR Art. 9, 32",
    ),
    AuditRule(
        code="DM209",
        level="warning",
        title="Late events leave whole",
        why="An event that comes late is published instead of used: then it is on the broker for all to read.",
        check=_late_events,
        law="GDPR Art. 5 (1) f",
    ),
    AuditRule(
        code="DM210",
        level="error",
        title="What people did leaves without asking",
        why="Updates, metrics and messages are made of what people did. They may keep it here, unless they say yes.",
        check=_unasked,
        law="GDPR Art. 6",
    ),
    AuditRule(
        code="DM211",
        level="warning",
        title="A door for nothing",
        why="What may leave although nothing needs it to, leaves the day something is added that should not be.",
        check=_for_nothing,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM212",
        level="warning",
        title="A bound that bounds nothing",
        why="A norm that no update reaches lets each device say as much as it likes about its people.",
        check=_clips_nothing,
    ),
    AuditRule(
        code="DM213",
        level="note",
        title="The coordinator sees single updates",
        why="Updates tell which items a person touched. Who adds them up must not see them one by one.",
        check=_seen_single,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM214",
        level="warning",
        title="Small cells",
        why="A figure for a small group is a figure about its members.",
        check=_small_cells,
        law="GDPR Recital 26",
    ),
    AuditRule(
        code="DM215",
        level="note",
        title="Counts without a mask or without noise",
        why="Counts by group of one device are what its few people did; a small group shows in a sum as well.",
        check=_counts_seen,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM216",
        level="note",
        title="A budget that an attack beats",
        why="ε bounds every attack, loosely. Of ours, one is right in 61 of 100 at ε = 8, 56 at 2, 54 at 1.",
        check=_epsilon_beaten,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM217",
        level="note",
        title="Secret sum of few",
        why="Of the items in a sum of 3, an attacker names 63 in 100; of 10, 28; knowing only what is popular, 21.",
        check=_small_sums,
        law="GDPR Art. 25",
    ),
)
