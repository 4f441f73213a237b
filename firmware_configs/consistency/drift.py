"""Drift detectors that would watch nothing."""

from collections.abc import Iterator

from firmware_configs.consistency.fault import Fault, unknown
from firmware_configs.profile import DriftDetector, Privacy, Profile


def drift_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in the detectors."""
    sources = {source.name: [field.name for field in source.field] for source in profile.source}
    placements = [place.name for place in profile.placement]
    counts = [one.privacy for one in profile.egress if one.kind == "statistic"]
    for n, detector in enumerate(profile.drift):
        where = f"drift[{n}]"
        if detector.fleet:
            yield from _fleet_faults(detector, counts, f"{where}.fleet")
        if detector.watch == "input":
            yield from unknown(f"{where}.source", "source", (detector.source,), sources)
            if detector.source in sources:
                yield from unknown(f"{where}.field", "field", (detector.field,), sources[detector.source])
            if detector.placement:
                yield Fault(f"{where}.placement", "inputs are a source's, not a placement's", "remove it")
            continue
        yield from unknown(f"{where}.placement", "placement", (detector.placement,), placements)
        if detector.source or detector.field:
            yield Fault(f"{where}.source", f"`{detector.watch}` is a placement's, not a source's", "remove it")


def _fleet_faults(detector: DriftDetector, counts: list[Privacy | None], where: str) -> Iterator[Fault]:
    if detector.test not in {"psi", "ks"}:
        yield Fault(where, f"`{detector.test}` has no windows that could be added up", 'test = "psi" or "ks"')
    if not any(privacy is not None and privacy.secret_sum for privacy in counts):
        fix = 'add an [[egress]] with kind = "statistic" and privacy = { clip_norm = …, secret_sum = true }'
        yield Fault(where, "no [[egress]] lets a secret sum of counts out", fix)
