"""`python -m tests.chaos --agents 30 --seed 1 --json`: a fleet's bad week; the last thing it prints is one JSON object.

Real agents, `edge-coordinator up` and mosquitto as processes, each device in a network namespace of its own behind a
link that is slow, loses packets, forgets connections or is cut; disks that fill up, clocks that leap, kill -9 of agents
and coordinator, restarts of the broker, and a rollout in the midst of it. Needs root, a C compiler, and Debian's
`iproute2` and `mosquitto`; nothing of it reaches the machine's own network. The same seed plans the same faults; when
packets meet them is the machine's.
"""

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks.load import workplace
from tests.chaos.apart import go_inside, lacking
from tests.chaos.story import held, tell


def main() -> None:
    """Exit code 0: all is well; 1: something was lost, left unsaid or stayed wrong; 2: it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wakes", type=int, default=4, help="waking stretches a day; clocks step forward between them")
    parser.add_argument("--wake-s", type=float, default=6.0, help="real seconds of each")
    parser.add_argument("--rate", type=float, default=1.0, help="events a second and device")
    parser.add_argument("--json", action="store_true", help="indented, as everywhere")
    parser.add_argument(
        "--dir", help="work there, and leave logs and databases; default: a folder that is gone afterwards"
    )
    given = parser.parse_args()
    if missing := lacking():
        print("cannot run here, for want of:\n  " + "\n  ".join(missing), file=sys.stderr)
        sys.exit(2)
    go_inside(sys.argv[1:])
    with workplace() as spare:
        folder = (Path(given.dir) if given.dir else spare).resolve()
        told = tell(folder, given.agents, given.seed, given.wakes, given.wake_s, given.rate)
    print(json.dumps(told, indent=2 if given.json else None))
    sys.exit(0 if held(told) else 1)


if __name__ == "__main__":
    main()
