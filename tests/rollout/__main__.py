"""`python -m tests.rollout --json`: bad versions on real agents; the last thing it prints is one JSON object."""

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks.load import workplace
from tests.rollout.story import tell

BAD = ("slow", "worse", "crash")


def main() -> None:
    """Exit code 1 when a bad version got out, a good one did not, or a decision failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1.0, help="events a second and device")
    parser.add_argument("--versions", nargs="+", default=[*BAD, "good"], choices=[*BAD, "good"])
    parser.add_argument("--json", action="store_true", help="indented, as everywhere")
    parser.add_argument("--dir", help="work there, and leave the logs; default: a folder that is gone afterwards")
    given = parser.parse_args()
    with workplace() as spare:
        folder = Path(given.dir) if given.dir else spare
        told = tell(folder.resolve(), given.agents, given.rate, tuple(given.versions))
    print(json.dumps(told, indent=2 if given.json else None))
    sys.exit(0 if held(told) else 1)


def held(told: dict[str, object]) -> bool:
    """Whether everything is as it should be."""
    outcomes = told["rollouts"]
    assert isinstance(outcomes, dict)
    return told["failed_decisions"] == 0 and all(
        one["still_running"] == 0
        and (
            one["state"] == "done"
            if name == "good"
            else (one["state"], one["cohort"], one["strangers"]) == ("rolled-back", "first", 0)
        )
        for name, one in outcomes.items()
    )


if __name__ == "__main__":
    main()
