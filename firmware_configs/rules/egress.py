"""DM2xx: what may leave, and how much of it."""

from collections.abc import Iterator

from firmware_configs.lineage import Lineage
from firmware_configs.profile import Profile
from firmware_configs.rules.rule import AuditRule, Where

DAY_BYTES_MAX = 100_000_000
EPSILON_MAX = 10.0


def _much(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, egress in enumerate(profile.egress):
        if egress.bytes_day_max > DAY_BYTES_MAX:
            yield (
                f"egress[{n}].bytes_day_max",
                f"`{egress.kind}` may send {egress.bytes_day_max:,} bytes a day",
                "bound it to what the purpose needs",
            )


def _alone(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, egress in enumerate(profile.egress):
        if egress.kind in {"update", "metric", "experiment"} and egress.k_min < 3:
            yield (
                f"egress[{n}].k_min",
                f"`{egress.kind}` may be read of {egress.k_min} device alone",
                "k_min = 3 or more",
            )


def _epsilon(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, egress in enumerate(profile.egress):
        privacy = egress.privacy
        if privacy is not None and privacy.epsilon_max is not None and privacy.epsilon_max > EPSILON_MAX:
            yield (
                f"egress[{n}].privacy.epsilon_max",
                f"ε = {privacy.epsilon_max:g} promises next to nothing",
                f"at most {EPSILON_MAX:g}",
            )


def _no_noise(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, egress in enumerate(profile.egress):
        privacy = egress.privacy
        if egress.kind == "update" and privacy is not None and privacy.noise_multiplier == 0.0:
            yield (
                f"egress[{n}].privacy",
                "updates are clipped, but carry no noise: no ε can be stated",
                "noise_multiplier > 0, or tell people so",
            )


def _no_noise_on_sums(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, egress in enumerate(profile.egress):
        noise = egress.privacy.noise_multiplier if egress.privacy is not None else 0.0
        if egress.kind == "experiment" and not noise:
            yield (
                f"egress[{n}].privacy",
                "sums of experiments are told without noise: no ε can be stated",
                "[egress.privacy] with noise_multiplier > 0, or tell people so",
            )


RULES = (
    AuditRule(
        code="DM201",
        level="warning",
        title="Much may leave",
        why="A bound that is never reached bounds nothing.",
        check=_much,
    ),
    AuditRule(
        code="DM202",
        level="error",
        title="A device may be read alone",
        why="What is added up over few devices still tells about each of them.",
        check=_alone,
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
        why="Clipping bounds one device's influence; only noise hides it.",
        check=_no_noise,
    ),
    AuditRule(
        code="DM205",
        level="note",
        title="Sums of experiments without noise",
        why="Sums over many people still tell about one of them to whoever knows the rest; only noise hides it.",
        check=_no_noise_on_sums,
    ),
)
