"""What leaves and what is switched."""

from collections.abc import Iterator

from firmware_configs import gaussian
from firmware_configs.consistency.fault import Fault, fields, purposes, unknown
from firmware_configs.consistency.placements import expression_faults
from firmware_configs.profile import Egress, Privacy, Profile
from firmware_configs.topics import topic_fault

LIMIT_NAMES = frozenset({"item", "fields", "hour", "weekday", "actuators"})
DESTINATIONS = {"update": "superlink", "statistic": "superlink", "email": "smtp", "push": "http"}
"""Egress kind → where it goes; what is not named goes to the broker."""


def actuator_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in the actuators."""
    for n, actuator in enumerate(profile.actuator):
        if fault := topic_fault(actuator.topic.replace("{device}", "d")):
            yield Fault(f"actuator[{n}].topic", f"`{actuator.topic}` is not a topic", fault)
        yield from unknown(f"actuator[{n}].lasts_s", "payload for", actuator.lasts_s, actuator.payloads)
        for m, limit in enumerate(actuator.limit):
            where = f"actuator[{n}].limit[{m}].never"
            yield from expression_faults(profile, where, limit.never, LIMIT_NAMES)


def _local_budget(where: str, privacy: Privacy) -> Iterator[Fault]:
    """Noise of the device's own of which not even one update fits the budget."""
    if privacy.noise_multiplier == 0.0 or privacy.epsilon_max is None:
        return
    alone = gaussian.epsilon(gaussian.local_mu_squared(privacy.noise_multiplier), privacy.delta)
    if alone > privacy.epsilon_max:
        yield Fault(
            f"{where}.epsilon_max",
            f"one update with noise {privacy.noise_multiplier:g} costs a local ε of {alone:.3g} at δ = "
            f"{privacy.delta:g}, more than {privacy.epsilon_max:g}: none would ever leave",
            "a larger noise_multiplier, or secret_sum and the coordinator's noise instead",
        )


def _noise_of_a_sum(where: str, privacy: Privacy) -> Iterator[Fault]:
    """Noise that devices add in shares hides nothing of one that is seen by itself."""
    if privacy.noise_multiplier == 0.0:
        return
    if not privacy.secret_sum:
        fix = "secret_sum = true"
        yield Fault(f"{where}.noise_multiplier", "a share of the noise hides no single device's counts", fix)
    alone = gaussian.epsilon(gaussian.sum_mu_squared(privacy.noise_multiplier), privacy.delta)
    if privacy.epsilon_max is not None and alone > privacy.epsilon_max:
        yield Fault(
            f"{where}.epsilon_max",
            f"one sum with noise {privacy.noise_multiplier:g} costs ε = {alone:.3g} at δ = {privacy.delta:g}, more "
            f"than {privacy.epsilon_max:g}: none would ever leave",
            "a larger noise_multiplier",
        )


def _privacy_faults(egress: Egress, where: str) -> Iterator[Fault]:
    if egress.kind == "update" and egress.privacy is None:
        yield Fault(where, "an update without [egress.privacy]", "declare at least clip_norm")
    if egress.kind == "update" and egress.privacy is not None:
        yield from _local_budget(f"{where}.privacy", egress.privacy)
    in_shares = egress.kind == "metric" and egress.privacy is not None and egress.privacy.secret_sum
    if (egress.kind == "statistic" or in_shares) and egress.privacy is not None:
        yield from _noise_of_a_sum(f"{where}.privacy", egress.privacy)


def _destination(egress: Egress) -> str:
    """Where it goes: metrics that are added up in secret leave as a round's answer does."""
    if egress.kind == "metric" and egress.privacy is not None and egress.privacy.secret_sum:
        return "superlink"
    return DESTINATIONS.get(egress.kind, "mqtt")


def egress_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in the egress tables, or cannot leave though something needs it to."""
    for n, egress in enumerate(profile.egress):
        where = f"egress[{n}]"
        yield from unknown(f"{where}.purposes", "purpose", egress.purposes, purposes(profile))
        yield from unknown(f"{where}.fields", "field", egress.fields, fields(profile))
        if egress.destination != (goes := _destination(egress)):
            fix = f'destination = "{goes}"'
            yield Fault(f"{where}.destination", f"`{egress.kind}` cannot go to `{egress.destination}`", fix)
        if egress.privacy is not None and egress.privacy.unit == "person" and egress.kind != "experiment":
            fix = 'unit = "device"'
            yield Fault(
                f"{where}.privacy.unit", f"only sums of experiments bound a person, `{egress.kind}` does not", fix
            )
        if egress.unlearn is not None:
            named = next((one for one in profile.purpose if one.name == egress.unlearn), None)
            yield from unknown(f"{where}.unlearn", "purpose", (egress.unlearn,), purposes(profile))
            if egress.kind != "update" or egress.unlearn in egress.purposes:
                yield Fault(f"{where}.unlearn", "only an update is unlearned, and by a purpose of its own", "remove it")
            elif named is not None and named.consent != "required":
                yield Fault(f"{where}.unlearn", "a last update leaves without being asked for", 'consent = "required"')
        yield from _privacy_faults(egress, where)
    kinds = {e.kind for e in profile.egress}
    if profile.placement and "decision" not in kinds:
        yield Fault("egress", "placements decide, but no [[egress]] lets a decision out", 'add kind = "decision"')
    for n, source in enumerate(profile.source):
        if source.late == "side" and "late-event" not in kinds:
            fix = 'add an [[egress]] with kind = "late-event", or choose apply or drop'
            yield Fault(f"source[{n}].late", "`side` publishes, but no [[egress]] lets late events out", fix)
