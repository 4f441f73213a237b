"""`make sim SEEDS=1000`, or `make sim SEED=17` for one. Prints the books as JSON; exit code 1 when a seed fails."""

import argparse
import dataclasses
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.sim.world import Books, live


def attempt(seed: int) -> tuple[int, Books | None, str]:
    """A seed's books, or what broke."""
    try:
        return seed, live(seed), ""
    except Exception as error:  # noqa: BLE001 - whatever broke is the finding
        return seed, None, f"{type(error).__name__}: {error}"


def main() -> None:
    """Run the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=32, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="only this one, with its traceback")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if given.seed is not None:
        print(json.dumps(dataclasses.asdict(live(given.seed))))
        return
    total: Counter[str] = Counter()
    boundaries: Counter[str] = Counter()
    failed: dict[int, str] = {}
    started = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    with ProcessPoolExecutor(given.jobs) as pool:
        for done, (seed, books, why) in enumerate(pool.map(attempt, seeds, chunksize=4), 1):
            if books is None:
                failed[seed] = why
                print(f"seed {seed}: {why}", file=sys.stderr)
                continue
            figures: dict[str, Any] = dataclasses.asdict(books)
            boundaries.update(figures.pop("boundaries"))
            total.update(figures)
            if done % 50 == 0:
                print(f"{done}/{given.seeds} seeds, {time.monotonic() - started:.0f} s", file=sys.stderr)
    found = {"seeds": given.seeds, "failed": len(failed), **total, "cut_at": dict(boundaries)}
    print(json.dumps({**found, "failures": failed} if failed else found))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
