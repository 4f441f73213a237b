"""What a device tells of its drift detectors, as a profile declares it: both ends make the same shape from it."""

from msgspec import Struct

from firmware_configs.profile import DriftDetector, Profile

TENTHS = 10
"""Numbers that a device tells of a detector: how much of its newest window lies in which tenth of its reference."""


class DriftShape(Struct, frozen=True, kw_only=True):
    """What the numbers of a vector stand for: the tenths of each detector, one after the other."""

    detectors: tuple[DriftDetector, ...]
    """Whole, so that only devices whose detectors are worded alike are added up."""

    @property
    def size(self) -> int:
        """Numbers in all."""
        return TENTHS * len(self.detectors)


def drift_shape_of(profile: Profile, model: str) -> DriftShape | None:
    """The shape of the fleet's drift as a model sees it: of inputs, and of what it has a say in.

    Returns:
        None: the profile has no such model, or lets no detector be added up.
    """
    if model not in {one.name for one in profile.model}:
        return None
    places = {place.name for place in profile.placement if model in place.models}
    found = tuple(one for one in profile.drift if one.fleet and (one.watch == "input" or one.placement in places))
    return DriftShape(detectors=found) if found else None
