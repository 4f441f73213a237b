"""Which of two transforms keeps less: an order, where there is one."""

from enum import Enum

from firmware_configs.profile import Bucket, CoarseLocation, Keep, KeyedHash, Round, Transform, TruncateTime

_TIMES = ("minute", "hour", "day")


class Comparison(Enum):
    """How the second transform stands to the first."""

    SAME = "same"
    COARSER = "coarser"
    """It tells fewer values apart: each of its cells is made of cells of the first one, but for halves at the edges."""
    OTHER = "other"
    """Finer, or they cannot be compared."""


def compare_transforms(before: Transform, after: Transform) -> Comparison:
    """Whether `after` keeps the same, provably less, or something else."""
    if before == after:
        return Comparison.SAME
    return Comparison.COARSER if isinstance(before, Keep) or _is_coarser(before, after) else Comparison.OTHER


def _is_coarser(before: Transform, after: Transform) -> bool:
    match before, after:
        case Bucket(edges=was), Bucket(edges=now):
            return set(now) < set(was)
        case Round(step=was), Round(step=now):
            return _is_multiple(now, was)
        case TruncateTime(to=was), TruncateTime(to=now):
            return _TIMES.index(now) > _TIMES.index(was)
        case KeyedHash(rotate_days=was), KeyedHash(rotate_days=now):
            return now > 0 and (was == 0 or now < was)
        case CoarseLocation(cell_degrees=was), CoarseLocation(cell_degrees=now):
            return _is_multiple(now, was)
        case _:
            return False


def _is_multiple(large: float, small: float) -> bool:
    """Rounding to 7 after rounding to 5 is another grid; only multiples keep less for certain."""
    ratio = large / small
    return ratio > 1.0 and abs(ratio - round(ratio)) < 1e-9


def told(transform: Transform) -> str:
    """A transform in words."""
    match transform:
        case Bucket(edges=edges):
            return f"in {len(edges)} groups"
        case Round(step=step):
            return f"rounded to {step:g}"
        case TruncateTime(to=to):
            return f"cut to the {to}"
        case KeyedHash(rotate_days=0):
            return "as a hash that never changes"
        case KeyedHash(rotate_days=days):
            return f"as a hash that changes every {days} days"
        case CoarseLocation(cell_degrees=cell):
            return f"as a cell of {cell:g} degrees"
        case _:
            return "as it comes"
