"""What devices add up of their metrics, as a profile declares it: both ends make the same shape from it."""

from msgspec import Struct

from firmware_configs import designs
from firmware_configs.profile import Dwell, Egress, LifetimeValue, Metric, Profile, Rate, ReturnVisit, Worth

SUMS = 5
"""Numbers a group: observations, the sum of theirs, and the products of the two."""
ALL = ""
OTHER = "other"


class Group(Struct, frozen=True, kw_only=True):
    """One row that is told: a metric at a placement, of an arm or of a segment, or of both."""

    metric: str
    placement: str
    arm: str = ALL
    """`experiment/arm`; empty: whatever the arm."""
    segment: str = ALL


class BusinessShape(Struct, frozen=True, kw_only=True):
    """What the numbers of a vector stand for: the sums of each group, one group after the other."""

    metrics: tuple[Metric, ...]
    """Whole, so that only devices whose metrics are worded alike are added up."""
    groups: tuple[Group, ...]

    @property
    def size(self) -> int:
        """Numbers in all."""
        return SUMS * len(self.groups)


def business_shape_of(profile: Profile, *, cells: bool = False) -> BusinessShape:
    """The rows of the metrics that are shares or values; they follow from the profile alone, never from the data.

    Args:
        cells: also each arm with each segment; all rows share one norm, so more rows are told less sharply.
    """
    places = {place.name: place for place in profile.placement}
    segments = [one.name for one in profile.segment if one.when]
    named = [*segments, OTHER] if profile.segment else []
    found: list[Group] = []
    told = tuple(
        one for one in profile.metric if isinstance(one.measure, Rate | ReturnVisit | LifetimeValue | Worth | Dwell)
    )
    for metric in told:
        for name in metric.placements:
            experiment = places[name].experiment
            made = designs.arms(experiment) if experiment is not None else ()
            arms = [f"{experiment.name}/{arm.name}" for arm in made] if experiment is not None else []
            rows = [(arm, ALL) for arm in arms] + [(ALL, segment) for segment in named]
            if cells:
                rows += [(arm, segment) for arm in arms for segment in named]
            rows = rows or [(ALL, ALL)]
            found += [Group(metric=metric.name, placement=name, arm=arm, segment=segment) for arm, segment in rows]
    return BusinessShape(metrics=told, groups=tuple(found))


def secret_metrics_of(profile: Profile) -> Egress | None:
    """The egress by which metrics leave in a secret sum, and in no other way; None: the profile has none."""
    own = (one for one in profile.egress if one.kind == "metric" and one.privacy is not None and one.privacy.secret_sum)
    return next(own, None)
