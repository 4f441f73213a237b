"""`python -m tests.crash --loops 200`: prints the books of all storms; the last line is one JSON object."""

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks.load import workplace
from tests.crash.storm import storm

KILLS = 4


def main() -> None:
    """Run storms; exit code 1 when anything was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, default=10, help="how many kills in all, about")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names = ("kills", "events", "undecided", "unheard", "repeated", "redelivered")
    total = dict.fromkeys(names, 0)
    for number in range(max(1, given.loops // KILLS)):
        with workplace() as folder:
            books = storm(Path(folder), KILLS, given.seed + number)
        for name in names:
            total[name] += getattr(books, name)
        print(f"storm {given.seed + number}: {books}", file=sys.stderr)
    total["lost"] = total["undecided"] + total["unheard"]
    print(json.dumps(total))
    sys.exit(1 if total["lost"] or total["repeated"] else 0)


if __name__ == "__main__":
    main()
