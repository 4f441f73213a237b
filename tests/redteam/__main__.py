"""`python -m tests.redteam --json`: every attack, its figures as one JSON object.

`--only NAME` runs one of them again; `--quick` takes made-up people and few rounds, to see that it runs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.redteam import bundles, events, items, membership, replay, sybil, texts, trait
from tests.redteam.people import people


def _demands(_seed: int, _quick: bool) -> Any:
    from tests.coordinator.fleet import coordinator
    from tests.redteam.demands import attack

    with tempfile.TemporaryDirectory() as folder, coordinator(Path(folder)) as place:
        return attack(place, Path(folder))


def _snooping(_seed: int, _quick: bool) -> Any:
    from tests.redteam.snooping import attack

    with tempfile.TemporaryDirectory() as folder:
        return attack(Path(folder))


def _items(seed: int, quick: bool) -> Any:
    return items.attack(people(seed, 150 if quick else 0, made_up=quick), seed, 10 if quick else 100)


def _trait(seed: int, quick: bool) -> Any:
    return trait.attack(people(seed, 150 if quick else 0, made_up=quick), seed)


def _membership(seed: int, quick: bool) -> Any:
    crowd = people(seed, 150 if quick else 0, made_up=quick)
    return membership.attack(crowd, seed, rounds=4 if quick else 20, targets=60 if quick else 235)


def _texts(_seed: int, _quick: bool) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return texts.attack(Path(folder))


def _bundles(_seed: int, _quick: bool) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return bundles.attack(Path(folder))


ATTACKS: dict[str, Callable[[int, bool], Any]] = {
    "items": _items,
    "trait": _trait,
    "membership": _membership,
    "sybil": lambda seed, _quick: sybil.attack(seed),
    "demands": _demands,
    "replay": lambda seed, _quick: replay.attack(seed),
    "bundles": _bundles,
    "events": lambda _seed, _quick: events.attack(),
    "snooping": _snooping,
    "texts": _texts,
}


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(ATTACKS), action="append", help="repeat for several")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="the same: figures are always JSON")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for name in given.only or ATTACKS:
        began = time.monotonic()
        found[name] = msgspec.to_builtins(ATTACKS[name](given.seed, given.quick))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(json.dumps(found, ensure_ascii=False, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
