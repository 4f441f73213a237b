"""How far a fleet's values have moved from what was usual on each device: a secret sum of tenths, and what it says.

Each device tells, of its newest window, the share in each tenth of its own reference (`edge_agent.tenths`), so the mean
over devices is a tenth everywhere while nothing changes. The population stability index of the mean against that is
the fleet's drift. Shifts of opposite directions on two halves of a fleet meet in the outer tenths and are seen; which
device moved is not.

The noise has made the sum longer than it was, in a direction of its own. So the length of the shift is estimated, as
the noncentrality of a chi-square variable, and the index is taken at that length in the direction that was seen.
"""

from math import sqrt
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from firmware_configs.fleet_drift import TENTHS, DriftShape

F64 = NDArray[np.float64]
LIMIT = 0.1
"""Below it a shift is no matter (the usual reading of the index); a detector on a device has the same."""
CONFIDENCE = 0.95
CLEAR = 4.0
"""Standard deviations of its noise that the number of devices must be above, to be divided by."""
DRAWS = 4_000
FLOOR = 1e-3
"""The least share of a tenth: an empty one has no logarithm."""
Verdict = Literal["moved", "as usual", "not known"]


class Moved(Struct, frozen=True, kw_only=True):
    """What the sum says of one detector."""

    name: str
    what: str
    """`FIELD of SOURCE`, or what of which placement."""
    devices: float
    """That had something to tell, with the noise."""
    shares: tuple[float, ...]
    """Of the newest windows, by tenth of the reference; each with the noise."""
    psi: float
    low: float
    high: float | None
    """None: it may be anything."""
    verdict: Verdict


def moved(total: F64, shape: DriftShape, clip_norm: float, deviation: float, dice: np.random.Generator) -> list[Moved]:
    """What a sum says of each detector.

    Args:
        total: the devices' vectors added up, with the noise; float64 (shape.size,).
        clip_norm: that the devices' vectors were scaled to.
        deviation: standard deviation of the noise on each number; 0: none.
        dice: for the intervals.
    """
    scale = clip_norm / sqrt(len(shape.detectors))
    # X is chi-square of TENTHS - 1 degrees, noncentral: one of them takes the whole shift.
    rest, first = dice.chisquare(TENTHS - 2, DRAWS), dice.normal(size=DRAWS)
    found = []
    for n, detector in enumerate(shape.detectors):
        own = total[n * TENTHS : (n + 1) * TENTHS] / scale
        noise = deviation / scale
        devices = float(own.sum())
        what = f"{detector.field} of {detector.source}" if detector.watch == "input" else ""
        what = what or f"{detector.watch} of {detector.placement}"
        if devices <= max(0.5, CLEAR * noise * sqrt(TENTHS)):
            found.append(
                Moved(
                    name=detector.name,
                    what=what,
                    devices=devices,
                    shares=(),
                    psi=0.0,
                    low=0.0,
                    high=None,
                    verdict="not known",
                )
            )
            continue
        shares = own / devices
        # Windows and references are samples: with independent values each adds a multinomial's scatter.
        sampling = (1.0 / detector.window + 1.0 / detector.reference) / devices / TENTHS
        error = sqrt((noise / devices) ** 2 + sampling)
        seen = float(((shares - 1.0 / TENTHS) ** 2).sum()) / error**2
        low, middle, high = _lengths(seen, rest, first)
        psi, least, most = (_psi_at(shares, length / sqrt(seen) if seen else 0.0) for length in (middle, low, high))
        verdict: Verdict = "moved" if least >= LIMIT else "as usual" if most < LIMIT else "not known"
        found.append(
            Moved(
                name=detector.name,
                what=what,
                devices=devices,
                shares=tuple(float(one) for one in shares),
                psi=psi,
                low=least,
                high=most,
                verdict=verdict,
            )
        )
    return found


def _lengths(seen: float, rest: F64, first: F64) -> tuple[float, float, float]:
    """The lengths of a shift, in standard deviations, at which what was seen is high, likely, and low."""
    tail = (1.0 - CONFIDENCE) / 2.0
    likely = sqrt(max(0.0, seen - (TENTHS - 1)))
    return _length(seen, 1.0 - tail, rest, first), likely, _length(seen, tail, rest, first)


def _length(seen: float, level: float, rest: F64, first: F64) -> float:
    """The length at which a share of `level` of what might be seen is below what was; 0: none is that short."""
    low, high = 0.0, sqrt(seen) + 10.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if float(np.mean(rest + (first + middle) ** 2 <= seen)) > level:
            low = middle
        else:
            high = middle
    return low


def _psi_at(shares: F64, part: float) -> float:
    """The index of a shift in the direction of `shares`, `part` as long."""
    usual = 1.0 / TENTHS
    there = np.maximum(usual + part * (shares - usual), FLOOR)
    there /= there.sum()
    return float(((there - usual) * np.log(there / usual)).sum())
