"""What a device tells of the groups of a model, as a profile declares it: both ends make the same shape from it."""

from msgspec import Struct

from firmware_configs.profile import Profile

OTHER = "other"
"""The group of those who are in none."""
FALLBACK = "(no model)"
"""The cell of a placement's decisions that no model had a say in."""
BINS = 16
"""Of the logit: `models.subgroups.EDGES` has the edges."""
CELLS = 1 + 2 * BINS
"""Numbers a group: the sum of predicted chances, then (bin, label below or from 0.5 on)."""


class Place(Struct, frozen=True, kw_only=True):
    """A placement whose decisions are counted."""

    name: str
    items: tuple[str, ...]
    """Its fixed candidates; empty: it has none, and only whether a model had a say is counted."""

    @property
    def cells(self) -> tuple[str, ...]:
        """What can be shown first: an item, anything that a model chose (empty name), or what came without one."""
        return (*(self.items or ("",)), FALLBACK)


class Shape(Struct, frozen=True, kw_only=True):
    """What the numbers of a vector stand for: how well the model scores, by group, then what was shown, by group."""

    segments: tuple[str, ...]
    places: tuple[Place, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The segments, and who is in none."""
        return (*self.segments, OTHER)

    @property
    def quality_size(self) -> int:
        """Numbers that tell how well the model scores."""
        return len(self.groups) * CELLS

    @property
    def size(self) -> int:
        """Numbers in all."""
        return self.quality_size + len(self.groups) * sum(len(place.cells) for place in self.places)


def shape_of(profile: Profile, model: str) -> Shape | None:
    """The shape of a model's sums; None: the profile has no such model, or compares no groups of it."""
    declared = next((one for one in profile.model if one.name == model), None)
    if declared is None or declared.subgroups is None:
        return None
    places = tuple(
        Place(name=place.name, items=tuple(candidate.item for candidate in place.candidate))
        for place in profile.placement
        if model in place.models
    )
    return Shape(segments=declared.subgroups.segments, places=places)
