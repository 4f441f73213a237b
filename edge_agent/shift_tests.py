"""Whether values still come from where they came from: four published tests, each in bounded memory.

Two compare a window with a reference, both as counts in bins of the reference's quantiles (no value is held):

- `Psi`: population stability index. With n values in the reference and m in the window, PSI / (1/n + 1/m) is about
  chi-square with bins - 1 degrees of freedom while nothing changes. Source: Yurdakul & Naranjo 2020, "Statistical
  properties of the population stability index", Journal of Risk Model Validation 14 (4).
- `KolmogorovSmirnov`: the largest distance of the two distribution functions, looked at on the bins' edges only, which
  finds it a little late and never too often. Source: Smirnov 1948, "Table for estimating the goodness of fit of
  empirical distributions".

Two look at each value as it comes:

- `PageHinkley`: two-sided sums of what exceeds the reference's mean by more than a quarter of its standard deviation.
  Sources: Page 1954, "Continuous inspection schemes"; the limit from the mean time between false alarms by Siegmund
  1985, "Sequential analysis", section 2.6.
- `Adwin`: a window that grows while it is alike and drops its old part when its halves differ. Source: Bifet & Gavaldà
  2007, "Learning from time-changing data with adaptive windowing", section 4 (buckets) and theorem 3.1's variance form.

All take one figure: about how many values there are between two false alarms while nothing changes and values are
independent. Values that depend on each other (a thermometer read each second) alarm more often: thin them out.
"""

import math
from bisect import bisect_right
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

PSI_BINS, KS_BINS = 10, 32
PSI_MIN = 0.1
"""Below it a shift is no matter, however sure (the usual reading of the index)."""
ALLOWANCE = 0.25
"""Of Page-Hinkley, standard deviations: the change it is quickest for is twice that."""
OVERSHOOT = 1.166
"""By which a discrete sum is over its limit, on two sides (Siegmund)."""
BUCKETS_A_ROW = 5
LOOK_EVERY = 32
PART_MIN = 8
"""Values there must be on each side of a cut."""


class Shift(NamedTuple):
    """What a test saw."""

    value: float
    """Of the test's figure."""
    threshold: float
    """At or above which it is a shift."""


class ShiftTest(Protocol):
    """One stream of values."""

    @property
    def shift(self) -> Shift | None:
        """What was seen last; None: the values are as they were, or the reference is not whole yet."""

    def add(self, value: float) -> None:
        """Take the next value, finite."""

    def pack(self) -> bytes:
        """The stored form."""

    def restore(self, packed: bytes) -> None:
        """Take up a stored form.

        Raises:
            msgspec.MsgspecError: it is none.
        """


class Binned(Struct, array_like=True):
    """Counts of a windowed test."""

    edges: list[float] = []
    """Ascending; a value belongs to the bin after the last edge that is not above it."""
    reference: list[int] = []
    window: list[int] = []
    shift: Shift | None = None
    last: list[int] = []
    """The newest whole window; empty: none was whole yet."""


class _Windowed:
    """What `Psi` and `KolmogorovSmirnov` have in common."""

    bins = PSI_BINS

    def __init__(self, between: int, reference: int, window: int) -> None:
        """Nothing seen.

        Args:
            between: values between false alarms.
            reference: values to learn what is usual from; they are in memory only until there are enough.
            window: values compared with it at a time.
        """
        self._level = min(0.5, window / between)
        self._needed, self._size = reference, window
        self._first: list[float] = []
        self.counts = Binned()

    @property
    def shift(self) -> Shift | None:
        return self.counts.shift

    def add(self, value: float) -> None:
        counts = self.counts
        if not counts.edges:
            self._first.append(value)
            if len(self._first) >= self._needed:
                self._learn()
            return
        counts.window[bisect_right(counts.edges, value)] += 1
        if sum(counts.window) >= self._size:
            found = self.compare(counts.reference, counts.window)
            counts.shift = found if found.value >= found.threshold else None
            counts.last, counts.window = counts.window, [0] * len(counts.window)

    def _learn(self) -> None:
        first = sorted(self._first)
        self._first = []
        edges = sorted({first[len(first) * n // self.bins] for n in range(1, self.bins)})
        reference = [0] * (len(edges) + 1)
        for value in first:
            reference[bisect_right(edges, value)] += 1
        self.counts = Binned(edges, reference, [0] * len(reference))

    def compare(self, reference: list[int], window: list[int]) -> Shift:
        """The figure of a whole window."""
        raise NotImplementedError

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self.counts)

    def restore(self, packed: bytes) -> None:
        counts = msgspec.msgpack.decode(packed, type=Binned)
        if counts.edges and not len(counts.edges) + 1 == len(counts.reference) == len(counts.window):
            raise msgspec.ValidationError("counts that do not fit their edges")
        if counts.last and len(counts.last) != len(counts.window):
            raise msgspec.ValidationError("a last window that does not fit the edges")
        self.counts = counts


class Psi(_Windowed):
    """Population stability index."""

    def compare(self, reference: list[int], window: list[int]) -> Shift:
        n, m, bins = sum(reference), sum(window), len(reference)
        figure = 0.0
        for was, now in zip(reference, window, strict=True):
            # Half a value more in each bin: an empty one has no logarithm.
            p, q = (was + 0.5) / (n + 0.5 * bins), (now + 0.5) / (m + 0.5 * bins)
            figure += (q - p) * math.log(q / p)
        limit = (1.0 / n + 1.0 / m) * chi_square(1.0 - self._level, bins - 1) if bins > 1 else math.inf
        return Shift(figure, max(PSI_MIN, limit))


class KolmogorovSmirnov(_Windowed):
    """Largest distance of two distribution functions."""

    bins = KS_BINS

    def compare(self, reference: list[int], window: list[int]) -> Shift:
        n, m = sum(reference), sum(window)
        figure = p = q = 0.0
        for was, now in zip(reference, window, strict=True):
            p, q = p + was / n, q + now / m
            figure = max(figure, abs(p - q))
        return Shift(figure, math.sqrt(-math.log(self._level / 2.0) / 2.0 * (n + m) / (n * m)))


class Sums(Struct, array_like=True):
    """State of Page-Hinkley."""

    count: int = 0
    """Of the reference so far."""
    mean: float = 0.0
    squares: float = 0.0
    """Σ (value - mean)² of the reference."""
    up: float = 0.0
    down: float = 0.0
    shift: Shift | None = None


class PageHinkley:
    """Two-sided sums against the reference's mean; after an alarm a new reference is learnt, then the alarm is over."""

    def __init__(self, between: int, reference: int) -> None:
        """Nothing seen.

        Args:
            between: values between false alarms.
            reference: values to learn mean and standard deviation from.
        """
        self._needed = max(2, reference)
        self.limit = sum_limit(2.0 * between, ALLOWANCE)
        self.sums = Sums()

    @property
    def shift(self) -> Shift | None:
        return self.sums.shift

    def add(self, value: float) -> None:
        sums = self.sums
        if sums.count < self._needed:  # Welford 1962
            sums.count += 1
            off = value - sums.mean
            sums.mean += off / sums.count
            sums.squares += off * (value - sums.mean)
            if sums.count == self._needed:
                sums.shift = None
            return
        scale = math.sqrt(sums.squares / (sums.count - 1)) or max(abs(sums.mean), 1.0) * 1e-9
        off = (value - sums.mean) / scale
        sums.up, sums.down = max(0.0, sums.up + off - ALLOWANCE), max(0.0, sums.down - off - ALLOWANCE)
        if (most := max(sums.up, sums.down)) >= self.limit:
            self.sums = Sums(shift=Shift(most, self.limit))

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self.sums)

    def restore(self, packed: bytes) -> None:
        self.sums = msgspec.msgpack.decode(packed, type=Sums)


class Bucket(Struct, array_like=True):
    """2^row values."""

    total: float
    squares: float
    """Σ (value - mean of the bucket)²."""


class Window(Struct, array_like=True):
    """State of ADWIN."""

    low: float = math.inf
    high: float = -math.inf
    seen: int = 0
    """Since the scale was learnt, or since the last cut."""
    rows: list[list[Bucket]] = []
    """Row n holds buckets of 2^n values, the newest first."""
    shift: Shift | None = None


class Adwin:
    """Adaptive window; after a cut, as many values as the reference has without another one end the alarm."""

    def __init__(self, between: int, reference: int) -> None:
        """Nothing seen.

        Args:
            between: values between false alarms.
            reference: values to learn the scale from, and to call a new level usual.
        """
        self._level = min(0.5, LOOK_EVERY / between)
        self._needed = max(PART_MIN, reference)
        self._learnt = 0
        self.window = Window()

    @property
    def shift(self) -> Shift | None:
        return self.window.shift

    def add(self, value: float) -> None:
        window = self.window
        if self._learnt < self._needed and not window.rows:
            # The bounds want values in [0, 1]: what is far outside the first ones' range counts as at its edge.
            window.low, window.high = min(window.low, value), max(window.high, value)
            self._learnt += 1
            if self._learnt < self._needed:
                return
        span = (window.high - window.low) or 1.0
        self._put(min(1.0, max(0.0, (value - window.low + 0.5 * span) / (2.0 * span))))
        window.seen += 1
        if window.seen % LOOK_EVERY == 0:
            self._cut()
        if window.shift is not None and window.seen >= self._needed:
            window.shift = None

    def _put(self, value: float) -> None:
        rows = self.window.rows
        moved: Bucket | None = Bucket(value, 0.0)
        for n in range(len(rows) + 1):
            if moved is None:
                return
            if n == len(rows):
                rows.append([])
            rows[n].insert(0, moved)
            moved = _joined(rows[n].pop(), rows[n].pop(), 2**n) if len(rows[n]) > BUCKETS_A_ROW else None

    def _cut(self) -> None:
        """Drop old buckets for as long as the two sides of some cut differ."""
        window, worst = self.window, None
        while (found := self._difference()) is not None:
            worst = found
            window.rows[-1].pop()
            while window.rows and not window.rows[-1]:
                window.rows.pop()
        if worst is not None:
            window.shift, window.seen = worst, 0

    def _difference(self) -> Shift | None:
        """The first cut, from the oldest on, whose sides differ too much."""
        buckets = [(2**n, one) for n, row in enumerate(self.window.rows) for one in row]
        count = sum(size for size, _ in buckets)
        total = sum(one.total for _, one in buckets)
        if count < 2 * PART_MIN:
            return None
        mean = total / count
        variance = sum(one.squares + size * (one.total / size - mean) ** 2 for size, one in buckets) / count
        level = math.log(2.0 * math.log(count) / self._level)
        old = old_total = 0.0
        for size, one in reversed(buckets):
            old, old_total = old + size, old_total + one.total
            new = count - old
            if new < PART_MIN:
                return None
            if old < PART_MIN:
                continue
            weight = 1.0 / old + 1.0 / new
            bound = math.sqrt(2.0 * weight * variance * level) + 2.0 / 3.0 * weight * level
            apart = abs(old_total / old - (total - old_total) / new)
            if apart >= bound:
                return Shift(apart, bound)
        return None

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self.window if self.window.rows else Window())

    def restore(self, packed: bytes) -> None:
        self.window = msgspec.msgpack.decode(packed, type=Window)


def _joined(older: Bucket, old: Bucket, size: int) -> Bucket:
    """Two buckets of one size as one of twice the size."""
    apart = (older.total - old.total) / size
    return Bucket(older.total + old.total, older.squares + old.squares + apart * apart * size / 2.0)


def chi_square(level: float, degrees: int) -> float:
    """The quantile of the chi-square distribution (Wilson & Hilferty 1931), or up to 3 % above it far out."""
    from statistics import NormalDist  # it brings decimals and fractions along

    part = 2.0 / (9.0 * degrees)
    return float(degrees * (1.0 - part + NormalDist().inv_cdf(level) * math.sqrt(part)) ** 3)


def sum_limit(between: float, allowance: float) -> float:
    """Limit of a one-sided sum of standard normal values with `between` values between false alarms, on average.

    Source: Siegmund 1985, (2.50): (e^(2kb) - 2kb - 1) / 2k² values, b the limit and its overshoot.
    """
    low, high = 0.0, 1_000.0
    for _ in range(100):
        middle = (low + high) / 2.0
        x = 2.0 * allowance * (middle + OVERSHOOT)
        if x > 700.0 or (math.exp(x) - x - 1.0) / (2.0 * allowance**2) > between:
            high = middle
        else:
            low = middle
    return high
