"""`python -m tests.benchmarks.bandit --json [--obd DIR] [--campaign NAME]`.

Two questions, each to the very code that decides on a device and to Vowpal Wabbit:

- On classic sets, turned into bandits: how much reward does it earn while it learns? (`sets_at_or_above_vw`)
- On Open Bandit's uniform log: what would it have earned there, by IPS, SNIPS and DR? (`obd`)

Needs the [bench] extra (vowpalwabbit, scikit-learn, river). Protocol, grids and what was settled beforehand are in the
modules beside this one.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.offpolicy.confidence import Confidence
from tests.benchmarks.bandit import obd, ours, vw
from tests.benchmarks.bandit.conversion import Side, measured
from tests.benchmarks.bandit.sets import BESIDE, COUNTED, ClassSet
from tests.benchmarks.bandit.sides import Setting

TUNING_SEEDS = range(2)
SEEDS = range(10)
PACKAGES = ("numpy", "scikit-learn", "river", "vowpalwabbit")


def main() -> None:
    given = _arguments()
    missing = [name for name in PACKAGES if not _version(name)]
    if missing:
        sys.exit(f"error: {', '.join(missing)} not installed\n  fix: pip install 'edgeward[bench]'")
    seeds, tuning = range(given.seeds), TUNING_SEEDS
    sets: dict[str, dict[str, Any]] = {}
    for make in (*COUNTED, *BESIDE):
        one = make()
        sets[one.name] = compared(one, tuning, seeds)
        _print_set(one.name, sets[one.name])
    replayed = on_open_bandit(given.campaign, given.obd)
    _print_obd(replayed)
    counted = [make().name for make in COUNTED]
    result = {
        "sets_at_or_above_vw": sum(sets[name]["difference"] >= 0.0 for name in counted),
        "sets_counted": counted,
        "obd": replayed,
        "us_per_decision": {
            "edgeward": {name: found["edgeward"]["decide_us"] for name, found in sets.items()},
            "vowpalwabbit": {name: found["vowpalwabbit"]["decide_us"] for name, found in sets.items()},
        },
        "sets": sets,
        "settings_tried": {"edgeward": len(list(ours.grid())), "vowpalwabbit": len(list(vw.grid()))},
        "seeds": list(seeds),
        "tuning_seeds": list(tuning),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }
    print(json.dumps(result))


def compared(given: ClassSet, tuning: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    """Both sides on one set, and each family of ours by itself."""
    theirs = measured(list(vw.grid()), given, tuning, seeds)
    defaults = measured([next(vw.grid())], given, tuning[:1], seeds)
    families: dict[str, list[Setting]] = {}
    for setting in ours.grid():
        families.setdefault(setting.family, []).append(setting)
    own = {family: measured(settings, given, tuning, seeds) for family, settings in families.items()}
    best = max(own.values(), key=lambda side: max(side.tuning.values()))
    gap = np.array(best.rewards) - np.array(theirs.rewards)
    return {
        "rows": len(given.x),
        "columns": given.x.shape[1],
        "actions": given.actions,
        "source": given.source,
        "edgeward": msgspec.to_builtins(best),
        "vowpalwabbit": msgspec.to_builtins(theirs),
        "vowpalwabbit_defaults": _short(defaults),
        "families": {family: _short(side) for family, side in own.items()},
        "difference": round(float(gap.mean()), 5),
        "difference_error": round(float(gap.std(ddof=1) / np.sqrt(len(gap))), 5) if len(gap) > 1 else None,
        "shuffles_at_or_above": int((gap >= 0.0).sum()),
    }


def on_open_bandit(campaign: str, folder: Path | None) -> dict[str, Any]:
    """Everybody on the uniform log; what counts was settled beforehand: our SquareCB at its defaults."""
    settings = [*ours.defaults(), Setting(name="vowpalwabbit", family="squarecb", make=next(vw.grid()).make)]
    found = obd.replay(campaign, folder, settings, Confidence())
    told: dict[str, Any] = msgspec.to_builtins(found)
    policies = {policy.pop("name"): policy for policy in told.pop("policies")}
    headline = policies[ours.HEADLINE]
    return {
        "relative_value_snips": headline["relative_value_snips"],
        "relative_interval": headline["relative_interval"],
        "policy": ours.HEADLINE,
        "data": str(folder) if folder else "open-bandit, where data is looked for",
        **told,
        "policies": policies,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bandit", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object last (it always is; nothing else then)"
    )
    parser.add_argument("--obd", type=Path, help="a copy of the Open Bandit Dataset, with random/ and bts/")
    parser.add_argument("--campaign", default="men", help="men, or women or all where the folder has them")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="shuffles that are reported")
    return parser.parse_args()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _short(side: Side) -> dict[str, Any]:
    return {
        "setting": side.setting,
        "reward": round(side.reward, 4),
        "spread": round(side.spread, 4),
        "decide_us": side.decide_us,
        "learn_us": side.learn_us,
    }


def _print_set(name: str, found: dict[str, Any]) -> None:
    print(
        f"{name}: {found['rows']} rows, {found['columns']} features, {found['actions']} actions",
        file=sys.stderr,
        flush=True,
    )
    sides = {"vowpalwabbit": found["vowpalwabbit"], "edgeward": found["edgeward"], **found["families"]}
    for side, told in sides.items():
        line = (
            f"  {side:<16} {told['reward']:.4f} ± {told['spread']:.4f}  {told['decide_us']:6.1f} µs  {told['setting']}"
        )
        print(line, file=sys.stderr)


def _print_obd(told: dict[str, Any]) -> None:
    print(
        f"Open Bandit, {told['campaign']}: {told['impressions']} impressions, {told['clicks']} clicks", file=sys.stderr
    )
    for name, policy in told["policies"].items():
        ends = policy["relative_interval"]
        values = "  ".join(f"{kind} {value['value']:.5f}" for kind, value in policy["estimates"].items())
        ratio = f"{policy['relative_value_snips']:.2f} [{ends['low']:.2f}, {ends['high']:.2f}]"
        print(f"  {name:<16} {ratio} of uniform; {values}", file=sys.stderr)


if __name__ == "__main__":
    main()
