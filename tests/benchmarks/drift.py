"""`python -m tests.benchmarks.drift --json`: how soon a shift is found and how often none is, beside river's detectors.

UCI Occupancy (10,808 minutes of a real room: temperature, humidity, light, CO2, humidity ratio). Every detector gets
each series standardised by its first 1,000 values, one a minute. Three ways:

- `shuffled`: the minutes in random order, so that nothing changes and values are independent, which is what all tests
  assume: alarms a day are false ones;
- `in_order`: the room as it was. Its days differ, so an alarm may be right; none of the tests is made for it;
- `shifted`: shuffled, and from a random minute on (3,000 to 6,000) higher by `shift` standard deviations: the share
  found before the end without an alarm before, and the median delay, in minutes.

Ours are given a million values between false alarms (their default); river's their own defaults.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from edge_agent.shift_tests import Adwin, KolmogorovSmirnov, PageHinkley, Psi, ShiftTest
from models.datasets import read_occupancy

REFERENCE, WINDOW, BETWEEN = 1_000, 200, 1_000_000
DAY = 1_440
SHIFTS = (0.5, 1.0, 2.0)


class Stream(Protocol):
    """A detector as the benchmark drives it."""

    def take(self, value: float) -> bool:
        """Whether an alarm begins with this value."""


class Ours:
    """One of the agent's."""

    def __init__(self, test: ShiftTest) -> None:
        self._test, self._was = test, False

    def take(self, value: float) -> bool:
        self._test.add(value)
        now = self._test.shift is not None
        begins, self._was = now and not self._was, now
        return begins


class Rivers:
    """One of river's: an alarm each time it says so."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def take(self, value: float) -> bool:
        self._detector.update(value)
        return bool(self._detector.drift_detected)


def makers(seed: int) -> dict[str, Callable[[], Stream]]:
    """Name → a new detector."""
    from river import drift

    return {
        "psi": lambda: Ours(Psi(BETWEEN, REFERENCE, WINDOW)),
        "ks": lambda: Ours(KolmogorovSmirnov(BETWEEN, REFERENCE, WINDOW)),
        "page-hinkley": lambda: Ours(PageHinkley(BETWEEN, REFERENCE)),
        "adwin": lambda: Ours(Adwin(BETWEEN, REFERENCE)),
        "river ADWIN": lambda: Rivers(drift.ADWIN()),
        "river KSWIN": lambda: Rivers(drift.KSWIN(seed=seed)),
        "river PageHinkley": lambda: Rivers(drift.PageHinkley()),
    }


def series() -> dict[str, np.ndarray]:
    """Column → float64 (minutes,), standardised by the first values."""
    rows = [*read_occupancy("training"), *read_occupancy("test")]
    found = {}
    for column in ("temperature", "humidity", "light", "co2"):
        values = np.array([getattr(row, column) for row in rows], np.float64)
        first = values[:REFERENCE]
        found[column] = (values - first.mean()) / (first.std() or 1.0)
    return found


def _alarms(detector: Stream, values: list[float]) -> list[int]:
    return [n for n, value in enumerate(values) if detector.take(value)]


def measured(make: Callable[[], Stream], columns: dict[str, np.ndarray], seeds: int) -> dict[str, Any]:
    """One detector, over all columns."""
    begun = time.perf_counter()
    order = [len(_alarms(make(), values.tolist())) / len(values) * DAY for values in columns.values()]
    quiet: list[float] = []
    late: dict[float, list[int]] = {shift: [] for shift in SHIFTS}
    tries = taken = 0
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        for values in columns.values():
            mixed = draw.permutation(values)
            mixed = (mixed - mixed[:REFERENCE].mean()) / mixed[:REFERENCE].std()
            quiet.append(len(_alarms(make(), mixed.tolist())) / len(mixed) * DAY)
            at = int(draw.integers(3_000, 6_000))
            tries += 1
            for shift in SHIFTS:
                moved = mixed + shift * (np.arange(len(mixed)) >= at)
                alarms = _alarms(make(), moved.tolist())
                taken += len(moved)
                if alarms and alarms[0] >= at:
                    late[shift].append(alarms[0] - at)
    return {
        "false_alarms_per_day_shuffled": round(statistics.fmean(quiet), 4),
        "alarms_per_day_in_order": round(statistics.fmean(order), 3),
        "shifted": {
            str(shift): {
                "found": round(len(found) / tries, 3),
                "delay_minutes_p50": statistics.median(found) if found else None,
            }
            for shift, found in late.items()
        },
        "us_per_value": round((time.perf_counter() - begun) / (taken + len(quiet) * len(values)) * 1e6, 2),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object (it always does)")
    asked = parser.parse_args()
    columns = series()
    found = {name: measured(make, columns, asked.seeds) for name, make in makers(0).items()}
    print(
        json.dumps(
            {
                "detectors": found,
                "stated_false_alarms_per_day": DAY / BETWEEN,
                "columns": list(columns),
                "minutes": len(next(iter(columns.values()))),
                "seeds": asked.seeds,
                "versions": {"river": version("river"), "python": platform.python_version()},
            }
        )
    )


if __name__ == "__main__":
    main()
