"""What a device tells of outcomes: sums of metrics and counts of paths. Beside `messages`, for few devices send it."""

from msgspec import Struct


class MetricCell(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group's sums of one metric: sufficient statistics, which are added up over devices."""

    placement: str
    arm: str = ""
    """`experiment/arm`; empty: none."""
    segment: str = ""
    n: int
    """Decisions that were watched to the end."""
    total: float
    squares: float
    """Sum of squared observations."""
    buckets: dict[int, int] = {}
    """Number of one of 16 equal buckets between lower and upper → observations; empty ones are left out."""
    censored: dict[int, int] = {}
    """For times: bucket → decisions that were watched until then without the outcome."""


class MetricTotals(Struct, frozen=True, kw_only=True):
    """A metric since it was first declared like this."""

    metric: str
    kind: str
    lower: float
    upper: float
    since_ms: int
    cells: list[MetricCell]


class PathCount(Struct, frozen=True, kw_only=True):
    """How often one sequence of channels or placements led to an outcome, or to none."""

    path: tuple[str, ...]
    """Oldest first, at most 8: the newest; `…` stands for rare ones together."""
    conversions: int
    nulls: int
    """How often the windows closed without the outcome."""
    value: float = 0.0
    """Sum over the conversions."""


class PathTotals(Struct, frozen=True, kw_only=True):
    """The paths of one outcome since it was first declared like this."""

    outcome: str
    by: str
    """`channel` or `placement`."""
    since_ms: int
    paths: list[PathCount]


class Measured(Struct, frozen=True, kw_only=True):
    """`…/metric` (retained): what decisions of this device came to since the start; nothing of any person."""

    device: str
    profile: str
    k_min: int
    """Devices that must be added up before anyone may read the result."""
    totals: list[MetricTotals] = []
    paths: list[PathTotals] = []
    time_ms: int = 0
