"""`python -m tests.fuzz --payloads 100000`: prints the books; the last line is one JSON object."""

import argparse
import json
import sys

import msgspec

from tests.fuzz.payloads import run

SHARE = 10_000


def main() -> None:
    """Send damaged payloads from seeds; exit code 1 when the agent raised or miscounted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first share")
    given = parser.parse_args()
    crashes: list[str] = []
    miscounted: list[str] = []
    total = {"payloads": 0, "taken": 0, "rejected": 0, "other": 0}
    left, seed = given.payloads, given.seed
    while left > 0:
        books = run(seed, min(SHARE, left))
        total = {
            "payloads": total["payloads"] + books.sent,
            "taken": total["taken"] + books.taken,
            "rejected": total["rejected"] + books.rejected,
            "other": total["other"] + books.other,
        }
        crashes += books.crashes
        miscounted += books.miscounted
        print(f"seed {seed}: {msgspec.json.encode(books.by_code).decode()}", file=sys.stderr)
        left, seed = left - SHARE, seed + 1
    for line in [*crashes, *miscounted]:
        print(line, file=sys.stderr)
    print(json.dumps({**total, "crashes": len(crashes), "miscounted": len(miscounted)}))
    sys.exit(1 if crashes or miscounted else 0)


if __name__ == "__main__":
    main()
